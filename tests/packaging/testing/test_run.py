"""The matrix of engines: what passes, what fails and why, and what a verdict takes from it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import yaml
from corpus import BASES, SAVED_MODEL, Bundle, Network, clean
from onnx import TensorProto, helper

import bmzpack
from bmzpack import check
from bmzpack.bundle.contents import Contents
from bmzpack.consumers.findings import Report, Verdict
from bmzpack.engines import old
from bmzpack.engines.matrix import Cell, Matrix
from bmzpack.engines.rows import CORE, OLD_ONNX, OLD_TENSORFLOW, ONNX, ROWS, TENSORFLOW, TODAY, TORCH
from bmzpack.errors import UserError
from bmzpack.testing import run
from bmzpack.testing.evidence import with_matrix
from bmzpack.testing.inputs import INSIDE, plan, sizes_at
from bmzpack.testing.run import run_engines
from bmzpack.weights import FORMATS


@pytest.fixture
def bundle(tmp_path):
    bundle = clean(tmp_path / "bundle")
    bundle.only("onnx")
    return bundle


def contents(bundle: Bundle) -> Contents:
    folder = bundle.finish()
    return Contents(folder, folder / "rdf.yaml")


def cell(bundle: Bundle, row: str = ONNX, name: str = "onnx") -> Cell:
    return run_engines(contents(bundle), rows=[row]).cells[row, name]


def test_clean(bundle):
    found = cell(bundle)
    assert found.status == "passed"
    assert found.message == ""
    assert found.max_abs_error < 1e-6
    assert found.seam < 1e-6
    assert 0 < found.seconds < 1


def test_format_of_2021(tmp_path):
    bundle = BASES["old"](tmp_path / "bundle")
    bundle.only("onnx")
    matrix = run_engines(contents(bundle), rows=[CORE, ONNX])
    assert {key: (cell.status, cell.message) for key, cell in matrix.cells.items()} == {
        (CORE, "onnx"): ("passed", ""),
        (ONNX, "onnx"): ("passed", ""),
    }
    assert all(cell.seam < 1e-6 for cell in matrix.cells.values())


# what is tried


def test_sizes_and_tiles(bundle):
    trial = plan(contents(bundle), {"raw": np.zeros((1, 64, 64, 2), np.float32)})
    shapes = [entry["raw"].shape[1:3] for entry in trial.entries]
    assert shapes[:3] == [(64, 64), (32, 32), (48, 48)]  # and two steps above the smallest size is the test input's
    whole, tile = shapes[trial.whole], shapes[trial.tiles[0].entry]
    assert tile == (32, 32)
    assert whole == (64, 64)
    assert [tile.starts for tile in trial.tiles] == [
        {("raw", "y"): 0, ("raw", "x"): 0},
        {("raw", "y"): 30, ("raw", "x"): 30},
    ]
    assert tile[0] - 2 >= INSIDE


def test_fixed_sizes_stay(bundle):
    bundle.axis("inputs", "y")["size"] = 64
    trial = plan(contents(bundle), {"raw": np.zeros((1, 64, 64, 2), np.float32)})
    assert {entry["raw"].shape[1] for entry in trial.entries} == {64}
    assert {entry["raw"].shape[2] for entry in trial.entries} >= {32, 48, 64}
    for name in ("x", "y"):
        bundle.axis("inputs", name)["size"] = 64
    assert len(plan(contents(bundle), {"raw": np.zeros((1, 64, 64, 2), np.float32)}).entries) == 1


def test_sizes_that_follow_another_input(bundle):
    second = json.loads(json.dumps(bundle.rdf["inputs"][0])) | {"id": "coarse"}
    for name in ("y", "x"):
        axis = next(axis for axis in second["axes"] if axis["id"] == name)
        axis |= {"scale": 2.0, "size": {"tensor_id": "raw", "axis_id": name}}
    bundle.rdf["inputs"].append(second)
    sizes = sizes_at(contents(bundle), None, 1)
    assert (sizes["raw", "y"], sizes["coarse", "y"]) == (48, 24)
    tensors = {"raw": np.zeros((1, 64, 64, 2), np.float32), "coarse": np.zeros((1, 32, 32, 2), np.float32)}
    trial = plan(contents(bundle), tensors)
    assert trial.tiles[1].starts[("raw", "y")] == 2 * trial.tiles[1].starts[("coarse", "y")]


# what is found


def test_other_output(bundle):
    path = bundle.file("test_probability.npy")
    expected = np.load(path)
    expected[0, 0, 0, 0] += 0.01 * np.ptp(expected)
    np.save(path, expected)
    found = cell(bundle)
    assert found.status == "failed"
    assert found.max_abs_error == pytest.approx(0.01, rel=0.01)
    assert "differs from the test tensor by 1.0e-02 of its range" in found.message


def test_output_that_is_no_number(bundle):
    graph(bundle, [helper.make_node("Sqrt", ["raw"], ["probability"])])
    found = cell(bundle)
    assert found.status == "failed"
    assert np.isnan(found.max_abs_error)


def graph(bundle: Bundle, nodes, initializer=(), inputs=("raw",), shape=(None, None, None, 2), dtype=1) -> None:
    ends = [
        [helper.make_tensor_value_info(name, kind, list(shape)) for name in names]
        for names, kind in ((inputs, dtype), (["probability"], 1))
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "graph", *ends, initializer=list(initializer)),
        opset_imports=[helper.make_opsetid("", 15)],
        ir_version=8,
    )
    bundle.write("weights.onnx", model.SerializeToString())


def test_halo_that_is_too_small(bundle):
    """A window of 9 pixels behind the halo of 1."""
    bundle.write("weights.onnx", Network(window=9).as_onnx())
    raw = bundle.file("test_raw.npy")
    bundle.array("test_probability.npy", mean_of(np.load(raw), 9))
    found = cell(bundle)
    assert found.status == "passed"
    assert found.seam > 0.01
    assert "the halo is too small" in found.message
    for name in ("y", "x"):
        bundle.axis("outputs", name)["halo"] = 4
    assert cell(bundle).seam < 1e-6


def mean_of(raw: np.ndarray, window: int) -> np.ndarray:
    from scipy.ndimage import uniform_filter

    image = (raw - raw.mean(dtype=np.float64)) / (raw.std(dtype=np.float64) + 1e-6)
    return uniform_filter(image, (1, window, window, 1), mode="constant").astype(np.float32)


def test_network_of_one_size(bundle):
    """It reproduces the test output, but takes none of the other sizes that are described."""
    bundle.write("weights.onnx", Network(inputs={"raw": (1, 64, 64, 2)}).as_onnx())
    found = cell(bundle)
    assert found.status == "failed"
    assert found.max_abs_error < 1e-6
    assert "raw of 1x32x32x2" in found.message


def test_other_names(bundle):
    """Tensors are found by their place then."""
    bundle.write(
        "weights.onnx", Network(inputs={"input.1": (None,) * 3 + (2,)}, outputs={"42": (None,) * 3 + (2,)}).as_onnx()
    )
    assert cell(bundle).status == "passed"


def test_another_number_of_outputs(bundle):
    bundle.write("weights.onnx", Network(outputs={"a": (None,) * 3 + (2,), "b": (None,) * 3 + (2,)}).as_onnx())
    assert "it has the tensors a, b where probability are described" in cell(bundle).message


def test_several_inputs(bundle):
    second = json.loads(json.dumps(bundle.rdf["inputs"][0])) | {"id": "gain", "preprocessing": []}
    second["test_tensor"] = {"source": "gain.npy", "sha256": None}
    bundle.rdf["inputs"].append(second)
    raw = np.load(bundle.file("test_raw.npy"))
    bundle.array("gain.npy", np.full_like(raw, 3))
    bundle.array("test_probability.npy", mean_of(raw, 1) * 3)
    graph(bundle, [helper.make_node("Mul", ["raw", "gain"], ["probability"])], inputs=("raw", "gain"))
    matrix = run_engines(contents(bundle), rows=[CORE, ONNX])
    assert {cell.status for cell in matrix.cells.values()} == {"passed"}, matrix.as_dict()
    assert all(cell.seam < 1e-6 for cell in matrix.cells.values())


def test_integers_stay_integers(bundle):
    bundle.rdf["inputs"][0] |= {
        "data": {"type": "uint8"},
        "preprocessing": [{"id": "ensure_dtype", "kwargs": {"dtype": "uint8"}}],
    }
    raw = np.load(bundle.file("test_raw.npy")).clip(0, 255).astype(np.uint8)
    bundle.array("test_raw.npy", raw)
    bundle.array("test_probability.npy", raw.astype(np.float32))
    graph(bundle, [helper.make_node("Cast", ["raw"], ["probability"], to=1)], dtype=TensorProto.UINT8)
    assert cell(bundle).status == "passed"


def test_files_that_are_missing(bundle):
    bundle.rdf["weights"]["torchscript"] = {"source": "weights.pt", "sha256": "0" * 64, "pytorch_version": "2.1.0"}
    bundle.rdf["weights"]["tensorflow_js"] = {"source": "model.json", "sha256": "0" * 64, "tensorflow_version": "2.1.0"}
    matrix = run_engines(contents(bundle), rows=[CORE, ONNX, TORCH])
    said = {key: (cell.status, cell.message) for key, cell in matrix.cells.items()}
    assert said == {
        (CORE, "onnx"): ("passed", ""),
        (CORE, "torchscript"): ("unsupported", "weights.pt is not in the bundle."),
        (CORE, "tensorflow_js"): ("unsupported", "bioimageio.core does not run tensorflow_js."),
        (ONNX, "onnx"): ("passed", ""),
        (TORCH, "torchscript"): ("unsupported", "weights.pt is not in the bundle."),
    }
    bundle.file("test_raw.npy").unlink()
    assert "The test tensor of raw, test_raw.npy, is not in the bundle." in cell(bundle).message


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": None},
        {"inputs": []},
        {"outputs": [{"id": "x"}]},
        {"inputs": [{"id": "raw", "axes": [1, 2]}]},
        {"weights": {"onnx": 3}},
        {"weights": {}},
    ],
)
def test_descriptions_that_say_nothing(change, bundle):
    folder = bundle.finish()
    (folder / "rdf.yaml").write_text(yaml.safe_dump(bundle.rdf | change))
    matrix = run_engines(Contents(folder, folder / "rdf.yaml"), rows=ROWS)
    assert not matrix.passed
    assert all(cell.status == "unsupported" and cell.message.endswith(".") for cell in matrix.cells.values())


def test_processing_that_is_not_known(bundle):
    bundle.rdf["inputs"][0]["preprocessing"] = [{"id": "zero_mean_unit_variance", "kwargs": {"axes": ["w"]}}]
    found = cell(bundle)
    assert found.status == "unsupported"
    assert found.message.startswith("The test tensors cannot be processed: ")


# engines that are not there


def test_old_engine_without_python(bundle, monkeypatch, tmp_path):
    shim = tmp_path / "python3.10"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("BMZPACK_PYTHON310", str(shim))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = cell(bundle, OLD_ONNX)
    assert found.status == "absent"
    assert "BMZPACK_PYTHON310" in found.message


def test_old_engine_that_cannot_be_installed(bundle, monkeypatch, tmp_path):
    broken = tmp_path / "python3.10"
    broken.write_text('#!/bin/sh\nif [ "$1" = -c ]; then echo True; else echo no space left >&2; exit 1; fi\n')
    broken.chmod(0o755)
    monkeypatch.setenv("BMZPACK_PYTHON310", str(broken))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = cell(bundle, OLD_ONNX)
    assert found.status == "absent"
    assert "no space left" in found.message


def test_format_that_is_not_known(bundle, monkeypatch):
    """It has a process of its own, and a cell: also one that somebody has just told an engine of."""
    bundle.rdf["weights"]["new_format"] = dict(bundle.rdf["weights"]["onnx"])
    matrix = run_engines(contents(bundle), rows=[CORE, ONNX])
    assert matrix.cells[CORE, "new_format"] == Cell("unsupported", message="bioimageio.core does not run new_format.")
    assert (ONNX, "new_format") not in matrix.cells
    monkeypatch.setitem(FORMATS, "new_format", dataclasses.replace(FORMATS["onnx"], name="new_format", process="new"))
    matrix = run_engines(contents(bundle), rows=[ONNX])
    assert {name: cell.status for (_, name), cell in matrix.cells.items()} == {"onnx": "passed", "new_format": "passed"}


def test_without_torch(tmp_path, monkeypatch):
    bundle = clean(tmp_path / "bundle")
    bundle.only("torchscript")
    monkeypatch.setattr(run, "refused", lambda *_: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    found = cell(bundle, TORCH, "torchscript")
    assert found.status == "absent"
    assert "pip install" in found.message


# verdicts


def verdicts(*cells: tuple[str, str, Cell]) -> dict[str, list[tuple[str, str]]]:
    formats = list(dict.fromkeys(name for _, name, _ in cells))
    matrix = Matrix(ROWS, formats, {(row, name): cell for row, name, cell in cells})
    entries = {name: SimpleNamespace(content={}) for name in formats}
    contents: Any = SimpleNamespace(weights=entries, weights_file=lambda name: name)
    empty = Report("", "", {name: Verdict([]) for name in ("fiji", "ilastik", "qupath", "core")})
    report = with_matrix(empty, matrix, contents)
    assert report.matrix is matrix
    return {
        name: [(finding.rule, str(finding.severity)) for finding in verdict.findings]
        for name, verdict in report.consumers.items()
        if verdict.findings
    }


PASSED = Cell("passed", 1e-7, 0.1, seam=0.0)
WRONG = Cell("failed", 0.3, 0.1, "The engine's output differs.", 0.0)
BROKEN = Cell("failed", message="It cannot be loaded.")
SEAMS = Cell("passed", 1e-7, 0.1, seam=0.02)
ABSENT = Cell("absent", message="There is no Python 3.10.")


def test_what_passes_adds_nothing():
    assert verdicts(*((row, "onnx", PASSED) for row in (CORE, ONNX, OLD_ONNX))) == {}


def test_the_engine_inside_fiji_speaks_for_fiji():
    found = verdicts((OLD_TENSORFLOW, SAVED_MODEL, BROKEN), (TENSORFLOW, SAVED_MODEL, PASSED))
    assert found == {"fiji": [("E1", "cannot open")]}
    found = verdicts((OLD_TENSORFLOW, SAVED_MODEL, ABSENT), (TENSORFLOW, SAVED_MODEL, WRONG))
    assert found == {"fiji": [("E1", "wrong result")], "qupath": [("E1", "wrong result")]}


def test_formats_that_come_later_are_advice():
    found = verdicts((OLD_ONNX, "onnx", BROKEN), (ONNX, "onnx", BROKEN), (TORCH, "torchscript", PASSED))
    assert found == {"fiji": [("E1", "cannot open")], "qupath": [("E1", "advice")]}


def test_core_goes_on_to_the_next_format():
    assert verdicts((CORE, SAVED_MODEL, BROKEN), (CORE, "onnx", PASSED)) == {"core": [("E1", "advice")]}
    assert verdicts((CORE, SAVED_MODEL, BROKEN)) == {"core": [("E1", "cannot open")]}
    assert verdicts((CORE, SAVED_MODEL, PASSED), (CORE, "onnx", WRONG)) == {"core": [("E1", "advice")]}


def test_seams():
    found = verdicts((TORCH, "torchscript", SEAMS), (CORE, "torchscript", SEAMS))
    assert found == {name: [("R7", "degraded")] for name in ("fiji", "ilastik", "qupath", "core")}


def test_a_check_that_runs(bundle, monkeypatch):
    """From the bundle's zip to the verdict, with the engines of today."""
    monkeypatch.setattr(run, "ROWS", [CORE, ONNX])
    np.save(bundle.file("test_probability.npy"), np.load(bundle.file("test_probability.npy")) + 1)
    folder = bundle.finish()
    path = Path(shutil.make_archive(str(folder), "zip", folder))
    report = check(path, run=True)
    assert report.matrix is not None
    assert not report.matrix.passed
    assert [finding.rule for finding in report.consumers["core"].findings][:1] == ["E1"]
    assert report.consumers["core"].verdict == "fails"
    assert json.loads(json.dumps(report.as_dict()))["run"]["engines"][ONNX]["onnx"]["status"] == "failed"


# all engines


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A small U-Net in all formats."""
    keras.utils.set_random_seed(1)
    raw = keras.Input((None, None, 1), name="raw")
    skip = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(raw)
    x = keras.layers.Conv2D(12, 3, padding="same", activation="relu")(keras.layers.MaxPooling2D()(skip))
    x = keras.layers.Concatenate()([skip, keras.layers.Conv2DTranspose(8, 2, strides=2)(x)])
    model = keras.Model(raw, keras.layers.Conv2D(2, 3, padding="same", name="classes")(x))
    image = np.random.default_rng(0).gamma(2, 20, (96, 112)).astype(np.float32)
    content = {"name": "Small", "inputs": [{"test_image": image, "preprocessing": ["zero_mean_unit_variance"]}]}
    return bmzpack.pack(model, content, tmp_path_factory.mktemp("packed") / "small.zip").path


@pytest.mark.slow
def test_all_engines_of_today(packed, monkeypatch):
    monkeypatch.setattr(run, "ROWS", TODAY)
    report = check(packed, run=True)
    assert report.matrix is not None
    cells = report.matrix.cells
    assert len(cells) == 10
    assert {key: cell.status for key, cell in cells.items()} == dict.fromkeys(cells, "passed"), report.matrix.as_dict()
    assert all(cell.max_abs_error < 1e-5 and cell.seam < 1e-5 for cell in cells.values())
    assert not [f for verdict in report.consumers.values() for f in verdict.findings if f.rule in ("E1", "R7")]


@pytest.mark.slow
def test_halo_of_a_real_network(packed, tmp_path):
    """The halo that the packer measures is enough, and half of it is not."""
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path)
    content = yaml.safe_load((tmp_path / "rdf.yaml").read_text())
    seams = {}
    for share in (1, 2, 4):
        changed = json.loads(json.dumps(content))
        for axis in changed["outputs"][0]["axes"]:
            if "halo" in axis:
                axis["halo"] //= share
        (tmp_path / "rdf.yaml").write_text(yaml.safe_dump(changed))
        seams[share] = run_engines(Contents(tmp_path, tmp_path / "rdf.yaml"), rows=[ONNX]).cells[ONNX, "onnx"].seam
    assert seams[1] < 1e-6
    assert seams[4] > 1e-3


@pytest.mark.engines
def test_engines_inside_fiji(packed):
    try:
        for engine in old.REQUIREMENTS:
            old.python(*engine)
    except UserError as error:
        pytest.skip(str(error))
    with bmzpack.bundle.archive.unpacked(packed) as folder:
        matrix = run_engines(Contents(folder, folder / "rdf.yaml"), rows=[OLD_TENSORFLOW, OLD_ONNX])
    assert {key: cell.status for key, cell in matrix.cells.items()} == {
        (OLD_TENSORFLOW, SAVED_MODEL): "passed",
        (OLD_ONNX, "onnx"): "passed",
    }
    assert all(cell.max_abs_error < 1e-5 and cell.seam < 1e-5 for cell in matrix.cells.values())


@pytest.mark.engines
def test_opset_that_fiji_does_not_know(bundle):
    bundle.network(opset=18, ir_version=9)
    report = check(bundle.finish(), run=True)
    assert ("E1", "cannot open") in [(f.rule, str(f.severity)) for f in report.consumers["fiji"].findings]
    assert not [f for f in report.consumers["core"].findings if f.rule == "E1"]


@pytest.mark.slow
def test_the_zoos_own_example(data_folder, monkeypatch):
    """Its ONNX file is right; its other weights are not in the folder."""
    monkeypatch.setattr(run, "ROWS", TODAY)
    report = check(data_folder("bioimageio_example_unet2d_nuclei"), run=True)
    assert report.matrix is not None
    cells = report.matrix.cells
    assert cells[CORE, "onnx"].status == cells[ONNX, "onnx"].status == "passed"
    assert cells[CORE, "onnx"].max_abs_error < 1e-5
    assert {cells[TORCH, "torchscript"].status, cells[CORE, "pytorch_state_dict"].status} == {"unsupported"}
