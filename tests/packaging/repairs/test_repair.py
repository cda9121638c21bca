"""Repair: a clean bundle is broken in one way and mended; the verdicts are those of the clean one again."""

import importlib.util
import io
import re
import shutil
import zipfile

import keras
import numpy as np
import onnx
import pytest
import yaml
from keras import layers
from onnx import TensorProto, helper
from rich.console import Console

import bmzpack
from bmzpack import check
from bmzpack.bundle import archive as bundle
from bmzpack.describe.rdf import sha256
from bmzpack.engines import TensorNames, old
from bmzpack.errors import UserError
from bmzpack.repairs.repair import repair, show
from running import run

# without torch there is one more thing to be mended in every bundle: TorchScript for ilastik
pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")

NAMES = TensorNames(["raw"], ["probability"])
SAVED_MODEL = "tensorflow_saved_model_bundle"


def network():
    """Stride 4, batch normalisation that is not the identity."""
    keras.utils.set_random_seed(1)
    raw = keras.Input((None, None, 1), name="raw")
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(raw)
    skip = layers.BatchNormalization()(x)
    x = layers.MaxPooling2D(4)(skip)
    x = layers.UpSampling2D(4)(layers.Conv2D(4, 3, padding="same", activation="relu")(x))
    x = layers.Concatenate()([skip, x])
    model = keras.Model(raw, layers.Conv2D(1, 1, activation="sigmoid", name="probability")(x))
    generator = np.random.default_rng(0)
    for weight in model.weights:
        spread = (0.5, 1.5) if "variance" in weight.path else (-0.5, 0.5)
        weight.assign(generator.uniform(*spread, weight.shape))
    return model


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The folder of a bundle that opens everywhere."""
    folder = tmp_path_factory.mktemp("clean")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        image = np.random.default_rng(1).random((64, 64)).astype(np.float32)
        bmzpack.pack(
            network(),
            {
                "name": "Small network",
                "authors": [{"name": "Ada Example"}],
                "licence": "CC-BY-4.0",
                "inputs": [{"test_image": image, "preprocessing": ["zero_mean_unit_variance"]}],
            },
            folder / "clean.zip",
            formats=["keras_v3", SAVED_MODEL, "onnx", "torchscript"],
        )
    with zipfile.ZipFile(folder / "clean.zip") as archive:
        archive.extractall(folder / "bundle")
    return folder / "bundle"


@pytest.fixture
def broken(clean, tmp_path):
    """A copy of the clean bundle, to be broken."""
    return shutil.copytree(clean, tmp_path / "broken")


def change(folder, edit, name="rdf.yaml"):
    """Edit the description of an unpacked bundle."""
    content = yaml.safe_load((folder / name).read_text(encoding="utf-8"))
    edit(content)
    (folder / name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def renewed(folder):
    """Correct the checksums of the weights."""

    def edit(content):
        for entry in content["weights"].values():
            entry["sha256"] = sha256(folder / entry["source"])

    change(folder, edit)


def verdicts(report):
    return {name: verdict.verdict for name, verdict in report.consumers.items()}


def mended(folder, clean, *rules):
    """Repair a bundle; the new one has the verdicts of the clean one, and these rules were mended."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    output = folder.with_name("repaired.zip")
    repaired = repair(folder, output)
    assert {change.rule for change in repaired.changes} == set(rules)
    assert verdicts(repaired.after) == verdicts(check(output)) == verdicts(check(clean))
    assert not repaired.unmended
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    with bundle.unpacked(output) as opened:
        return yaml.safe_load((opened / "rdf.yaml").read_text(encoding="utf-8")), repaired


# the description


def test_clean_bundle_needs_nothing(clean, tmp_path):
    repaired = repair(clean, tmp_path / "new.zip")
    assert repaired.path is None
    assert not repaired.changes
    assert repaired.after is repaired.before
    assert not list(tmp_path.iterdir())


def test_documentation_and_covers_in_mappings(broken, clean):
    def edit(content):
        content["format_version"] = "0.5.12"
        content["documentation"] = {"source": "README.md", "sha256": sha256(broken / "README.md")}
        content["covers"] = [{"source": "cover.png", "sha256": sha256(broken / "cover.png")}]

    change(broken, edit)
    assert verdicts(check(broken))["fiji"] == "fails"
    rdf, repaired = mended(broken, clean, "R1")
    assert (rdf["format_version"], rdf["documentation"], rdf["covers"]) == ("0.5.10", "README.md", ["cover.png"])
    assert len(repaired.changes) == 3


def test_plain_texts_under_a_new_version(broken, clean):
    change(broken, lambda content: content.update(format_version="0.5.12"))
    rdf, _ = mended(broken, clean, "R1")
    assert rdf["format_version"] == "0.5.10"


def test_nickname(broken, clean):
    change(broken, lambda content: content["config"]["bioimageio"].pop("nickname"))
    rdf, _ = mended(broken, clean, "R2")
    original = yaml.safe_load((clean / "rdf.yaml").read_text(encoding="utf-8"))
    assert rdf["config"]["bioimageio"]["nickname"] == original["config"]["bioimageio"]["nickname"]


def test_own_id(broken, clean):
    def edit(content):
        content["id"] = "An id!"
        del content["config"]["bioimageio"]["nickname"]

    change(broken, edit)
    rdf, _ = mended(broken, clean, "R2")
    assert "id" not in rdf
    assert re.fullmatch("[a-z]+-[a-z]+", rdf["config"]["bioimageio"]["nickname"])


def test_a_model_from_the_zoo_keeps_its_id(broken):
    change(broken, lambda content: content.update(id="affable-shark"))
    repaired = repair(broken, broken.with_name("repaired.zip"))
    assert repaired.path is None
    assert not repaired.changes


def test_the_original_stays_as_it_is(broken):
    before = sorted(broken.iterdir())
    with pytest.raises(UserError, match="inside the bundle"):
        repair(broken, broken / "repaired.zip")
    assert sorted(broken.iterdir()) == before


def test_versions_as_they_were_written(broken, clean):
    text = (broken / "rdf.yaml").read_text(encoding="utf-8")
    version = yaml.safe_load(text)["weights"][SAVED_MODEL]["tensorflow_version"]
    written = f"tensorflow_version: {version}"
    assert text.count(written) == 1
    (broken / "rdf.yaml").write_text(text.replace(written, "tensorflow_version: 2.10"), encoding="utf-8")
    rdf, _ = mended(broken, clean, "R4")
    assert rdf["weights"][SAVED_MODEL]["tensorflow_version"] == "2.10.0"


def test_axis_without_an_id(broken, clean):
    def edit(content):
        axis = next(axis for axis in content["inputs"][0]["axes"] if axis["id"] == "x")
        del axis["id"]

    change(broken, edit)
    rdf, _ = mended(broken, clean, "R5")
    assert [axis["id"] for axis in rdf["inputs"][0]["axes"]] == ["batch", "y", "x", "channel"]


def test_samples_that_differ(broken, clean):
    np.save(broken / "sample.npy", np.zeros((1, 4, 4, 1), np.float32))
    sample = {"source": "sample.npy", "sha256": sha256(broken / "sample.npy")}
    change(broken, lambda content: content["inputs"][0].update(sample_tensor=sample))
    rdf, _ = mended(broken, clean, "R8")
    assert "sample_tensor" not in rdf["inputs"][0]


def test_links_of_programs_that_open_it(broken, clean):
    change(broken, lambda content: content.pop("links"))
    rdf, _ = mended(broken, clean, "R9")
    assert rdf["links"] == ["deepimagej/deepimagej", "ilastik/ilastik", "bioimageio/qupath"]


def test_parents(broken, clean):
    def edit(content):
        del content["weights"]["onnx"]["parent"]
        content["weights"][SAVED_MODEL]["parent"] = "pytorch_state_dict"

    change(broken, edit)
    rdf, _ = mended(broken, clean, "W5")
    assert [entry.get("parent") for entry in rdf["weights"].values()] == [None, *["keras_v3"] * 3]


def test_lists_of_one(broken, clean):
    change(broken, lambda content: content.update(covers="cover.png", authors=content["authors"][0]))
    rdf, _ = mended(broken, clean, "D1")
    assert rdf["covers"] == ["cover.png"]


# files


def test_other_name(broken, clean):
    (broken / "rdf.yaml").rename(broken / "bioimageio.yaml")
    mended(broken, clean, "R3")


def test_files_in_a_folder(clean, tmp_path):
    folder = tmp_path / "zipped"
    shutil.copytree(clean, folder / "my_model")
    bundle.write(folder, tmp_path / "folder.zip")
    repaired = repair(tmp_path / "folder.zip", tmp_path / "repaired.zip")
    assert [change.rule for change in repaired.changes] == ["F1"]
    assert verdicts(repaired.after) == verdicts(check(clean))
    with zipfile.ZipFile(tmp_path / "repaired.zip") as archive:
        assert archive.namelist()[0] == "rdf.yaml"
        assert set(archive.namelist()) == {path.name for path in clean.iterdir()}


def test_dead_references(broken, clean):
    missing = {"source": "missing.pt", "sha256": "0" * 64}

    def edit(content):
        content["covers"].append("other.png")
        content["inputs"][0]["sample_tensor"] = missing
        content["weights"]["pytorch_state_dict"] = {
            **missing,
            "pytorch_version": "2.3.1",
            "parent": "keras_v3",
            "architecture": {"callable": "UNet", "source": "missing.py"},
        }

    change(broken, edit)
    repaired = repair(broken, broken.with_name("repaired.zip"))
    assert {change.where for change in repaired.changes if change.rule == "F2"} == {
        "covers.1",
        "inputs.0.sample_tensor",
        "weights.pytorch_state_dict",
    }
    assert verdicts(repaired.after) == verdicts(check(clean))


def test_missing_weights_without_others_stay(broken):
    def edit(content):
        content["weights"] = {"onnx": {**content["weights"]["onnx"], "source": "gone.onnx"}}

    change(broken, edit)
    repaired = repair(broken, broken.with_name("repaired.zip"))
    assert "weights.onnx" in [change.where for change in repaired.unmended]
    assert verdicts(repaired.after)["fiji"] == "fails"


def test_wrong_files_are_never_taken_for_right_ones(broken):
    array = np.load(broken / "test_probability.npy")
    np.save(broken / "test_probability.npy", array + 1)
    (broken / "README.md").write_text("another one", encoding="utf-8")

    def edit(content):
        content["format_version"] = "0.5.12"
        content["documentation"] = {"source": "README.md", "sha256": "0" * 64}

    change(broken, edit)
    repaired = repair(broken, broken.with_name("repaired.zip"))
    assert [(change.rule, change.where) for change in repaired.unmended] == [
        ("F3", "documentation"),
        ("F3", "outputs.0.test_tensor"),
        ("R1", "documentation"),
    ]
    assert {"fails"} == {repaired.after.consumers[name].verdict for name in ("fiji", "core")}


# sizes


def sizes_of(content, **size):
    for axis in content["inputs"][0]["axes"]:
        if axis["id"] in ("x", "y"):
            axis["size"] = size


def test_smallest_size_is_raised_where_the_network_takes_it(broken, clean):
    """The network takes multiples of 4, as the test tensor is one."""
    own = yaml.safe_load((clean / "rdf.yaml").read_text(encoding="utf-8"))["inputs"][0]["axes"][1]["size"]
    assert own["step"] == 4
    change(broken, lambda content: sizes_of(content, min=own["min"] - 2, step=4))
    assert verdicts(check(broken))["fiji"] == "fails"
    rdf, _ = mended(broken, clean, "R6")
    assert rdf["inputs"][0]["axes"][1]["size"] == own


@pytest.mark.slow
def test_sizes_that_the_network_does_not_take_stay(broken):
    # 64 is 10 + 9 x 6; a step of 2 would divide, but the network takes multiples of 4
    change(broken, lambda content: sizes_of(content, min=10, step=6))
    repaired = repair(broken, broken.with_name("repaired.zip"))
    assert [change.rule for change in repaired.unmended] == ["R6", "R6"]
    assert "does not take an input" in repaired.unmended[0].what
    assert not repaired.changes


# weights


def rezipped(path, rename):
    """Rename the entries of a zip file."""
    with zipfile.ZipFile(path) as archive:
        entries = {rename(name): archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            if name is not None:
                archive.writestr(name, content)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rename",
    [
        lambda name: f"inner/{name}",
        lambda name: None if name == "variables/" else name,
    ],
    ids=["in a folder", "without variables"],
)
def test_saved_model_of_another_layout(broken, clean, rename):
    rezipped(broken / "saved_model.zip", rename)
    renewed(broken)
    mended(broken, clean, "W1")
    with bundle.unpacked(broken.with_name("repaired.zip")) as opened, zipfile.ZipFile(opened / "saved_model.zip") as a:
        assert a.namelist() == ["saved_model.pb", "variables/"]


def exported(folder):
    """Write the saved model as `model.export()` does: with variables, and names that are no tensor ids."""
    saved = folder.with_name("exported")
    network().export(saved, verbose=False)
    with zipfile.ZipFile(folder / "saved_model.zip", "w") as archive:
        for path in [path for path in saved.rglob("*") if path.is_file()]:
            archive.write(path, path.relative_to(saved))
    renewed(folder)


@pytest.mark.slow
def test_exported_saved_model_is_frozen(broken, clean):
    exported(broken)
    mended(broken, clean, "W1", "W2")
    with bundle.unpacked(broken.with_name("repaired.zip")) as opened:
        assert reproduces(opened, "tensorflow", "saved_model.zip") < 1e-5


@pytest.mark.engines
def test_exported_saved_model_runs_in_the_tensorflow_of_fiji(broken):
    try:
        old.python("tensorflow", "2.10.1")
    except UserError as error:
        pytest.skip(str(error))
    exported(broken)
    repair(broken, broken.with_name("repaired.zip"))
    with bundle.unpacked(broken.with_name("repaired.zip")) as opened:
        assert reproduces(opened, "tensorflow-2.10.1", "saved_model.zip") < 1e-5


def test_onnx_of_the_newest_opset_with_names_of_its_own(broken, clean):
    model = onnx.load(broken / "weights.onnx")
    model = onnx.version_converter.convert_version(model, 20)
    model.ir_version = 10
    for node in model.graph.node:
        node.input[:] = ["input.1" if name == "raw" else name for name in node.input]
        node.output[:] = ["82" if name == "probability" else name for name in node.output]
    model.graph.input[0].name, model.graph.output[0].name = "input.1", "82"
    onnx.save(model, broken / "weights.onnx")
    renewed(broken)
    rdf, _ = mended(broken, clean, "W3")
    assert rdf["weights"]["onnx"]["opset_version"] == 17
    with bundle.unpacked(broken.with_name("repaired.zip")) as opened:
        assert reproduces(opened, "onnxruntime", "weights.onnx") < 1e-5


@pytest.mark.slow
def test_onnx_that_computes_something_else_is_not_taken(broken):
    """Its names have to be changed; what it computes is not the test output."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in ("in", "out")]
    graph = helper.make_graph([helper.make_node("Sigmoid", ["in"], ["out"])], "g", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, broken / "weights.onnx")
    renewed(broken)
    repaired = repair(broken, broken.with_name("repaired.zip"))
    assert not repaired.changes
    assert "differs from the test output" in repaired.unmended[0].what


@pytest.mark.slow
def test_formats_are_made_from_the_keras_file(broken, clean):
    def edit(content):
        content["weights"] = {"keras_v3": content["weights"]["keras_v3"]}

    for name in ("saved_model.zip", "weights.onnx", "weights.pt"):
        (broken / name).unlink()
    change(broken, edit)
    output = broken.with_name("repaired.zip")
    repaired = repair(broken, output)
    assert [(change.rule, change.where) for change in repaired.changes] == [
        ("N1", f"weights.{name}") for name in (SAVED_MODEL, "onnx", "torchscript")
    ]
    assert verdicts(repaired.after) == verdicts(check(clean))
    assert bmzpack.test(output).passed


@pytest.mark.slow
def test_onnx_from_the_saved_model(broken):
    def edit(content):
        content["weights"] = {SAVED_MODEL: content["weights"][SAVED_MODEL]}
        del content["weights"][SAVED_MODEL]["parent"]

    for name in ("weights.keras", "weights.onnx", "weights.pt"):
        (broken / name).unlink()
    change(broken, edit)
    repaired = repair(broken, broken.with_name("repaired.zip"))
    assert [(change.rule, change.where) for change in repaired.changes] == [("N2", "weights.onnx")]
    with bundle.unpacked(broken.with_name("repaired.zip")) as opened:
        assert reproduces(opened, "onnxruntime", "weights.onnx") < 1e-5


def reproduces(folder, engine, name):
    """Error of a weights file on the test tensors, relative to their range."""
    raw = np.load(folder / "test_raw.npy")
    given = ((raw - raw.mean()) / (raw.std() + 1e-6)).astype(np.float32)
    result = run(engine, folder / name, [{"raw": given}], NAMES)
    expected = np.load(folder / "test_probability.npy")
    return np.abs(result.outputs[0]["probability"] - expected).max() / np.ptp(expected)


# untrusted networks


def test_lambda_is_never_loaded(broken, tmp_path):
    raw = keras.Input((None, None, 1), name="raw")
    model = keras.Model(raw, layers.Lambda(lambda x: x * 2, name="probability")(raw))
    model.save(broken / "weights.keras")

    def edit(content):
        content["weights"] = {"keras_v3": content["weights"]["keras_v3"]}

    change(broken, edit)
    renewed(broken)
    repaired = repair(broken, tmp_path / "new.zip")
    assert not repaired.changes
    assert "Lambda" in repaired.unmended[0].what


# what is written


def test_dry_run_writes_nothing(broken, tmp_path):
    change(broken, lambda content: content.pop("links"))
    repaired = repair(broken, tmp_path / "new" / "new.zip", dry_run=True)
    assert repaired.path is None
    assert repaired.changes
    assert verdicts(repaired.after)["fiji"] == "opens"
    assert not (tmp_path / "new").exists()


def test_nothing_half_written(broken, tmp_path, monkeypatch):
    def interrupted(folder, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    change(broken, lambda content: content.pop("links"))
    monkeypatch.setattr(bundle, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        repair(broken, tmp_path / "new" / "new.zip")
    assert not (tmp_path / "new").exists()


def test_original_and_existing_files_stay(broken, tmp_path):
    bundle.write(broken, tmp_path / "a.zip")
    for output, overwrite in (("a.zip", True), ("a.zip", False)):
        with pytest.raises(UserError, match=r"a\.zip"):
            repair(tmp_path / "a.zip", tmp_path / output, overwrite=overwrite)
    (tmp_path / "b.zip").write_bytes(b"mine")
    with pytest.raises(UserError, match="exists already"):
        repair(tmp_path / "a.zip", tmp_path / "b.zip")
    with pytest.raises(UserError, match=r"name it new\.zip"):
        repair(tmp_path / "a.zip", tmp_path / "new")


def test_links_out_of_the_bundle_are_not_followed(broken, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (broken / "inner").mkdir()
    (broken / "inner" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match="leads out of the bundle"):
        repair(broken, tmp_path / "new.zip")


def test_what_is_shown(broken):
    change(broken, lambda content: content.update(format_version="0.5.12", id="[bold]own[/bold]"))
    console = Console(record=True, width=200, file=io.StringIO())
    show(repair(broken, broken.with_name("repaired.zip")), console)
    text = console.export_text()
    assert "R1  format_version: The format is 0.5.10, it was 0.5.12." in text
    assert "[bold]own[/bold]" in text
    assert "Python (bioimageio.core): opens (before: fails)" in text


# the specification's own example


@pytest.fixture(scope="module")
def example(data_folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("example") / "repaired.zip"
    return repair(data_folder("bioimageio_example_unet2d_nuclei"), output)


def test_example_of_the_specification(example):
    assert verdicts(example.before) == dict.fromkeys(("fiji", "ilastik", "qupath", "core"), "fails")
    assert verdicts(example.after) == {"fiji": "opens", "ilastik": "fails", "qupath": "opens", "core": "opens"}
    with bundle.unpacked(example.path) as folder:
        assert example_error(folder, "onnxruntime") < 1e-5


@pytest.mark.slow
def test_example_passes_the_test_of_core(example):
    assert bmzpack.test(example.path).passed


@pytest.mark.engines
def test_example_runs_in_the_runtime_of_fiji(example):
    try:
        old.python("onnxruntime", "1.13.1")
    except UserError as error:
        pytest.skip(str(error))
    with bundle.unpacked(example.path) as folder:
        assert example_error(folder, "onnxruntime-1.13.1") < 1e-5


def example_error(folder, engine):
    raw, expected = (np.load(folder / f"test_{name}.npy") for name in ("input", "output"))
    given = ((raw - raw.mean()) / (raw.std() + 1e-6)).astype(np.float32)
    result = run(engine, folder / "weights.onnx", [{"raw": given}], NAMES)
    logits = result.outputs[0]["probability"]
    return np.abs(1 / (1 + np.exp(-logits)) - expected).max() / np.ptp(expected)
