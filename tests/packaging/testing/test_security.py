"""A bundle is a stranger's: what would do more than compute is not run, and a sentence says why.

The files are real ones: each would leave a mark in the file system if it were run.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
import yaml
from corpus import SAVED_MODEL, Bundle, clean, with_state_dict, zipped
from endless import counting_for_ever
from keras import layers
from onnx import TensorProto, helper
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import bmzpack
from bmzpack import engines
from bmzpack.bundle.contents import Contents
from bmzpack.engines.rows import CORE, ENGINES, KERAS, ONNX, TENSORFLOW, TORCH
from bmzpack.testing import guard, run
from bmzpack.testing.run import run_engines

v1 = tf.compat.v1


@pytest.fixture
def mark(tmp_path):
    """A file that hostile code writes."""
    return tmp_path / "mark"


@pytest.fixture
def bundle(tmp_path):
    return clean(tmp_path / "bundle")


@pytest.fixture
def no_engine(monkeypatch):
    """Fails where an engine is started."""

    def start(*_, **__):
        raise AssertionError("an engine was started")

    monkeypatch.setattr("bmzpack.engines.jobs.run_python", start)


def cells(bundle: Bundle, *rows: str, trust: bool = False):
    """Cells of the only format that the bundle has, by engine."""
    folder = bundle.finish()
    matrix = run_engines(Contents(folder, folder / "rdf.yaml"), rows=rows, trust=trust)
    return {row: cell for (row, _), cell in matrix.cells.items()}


def refused(bundle: Bundle, *rows: str) -> str:
    """The sentence with which all engines refuse."""
    found = cells(bundle, *rows)
    assert set(found) == set(rows)
    assert {cell.status for cell in found.values()} == {"unsupported"}
    (message,) = {cell.message for cell in found.values()}
    assert message.endswith(".")
    assert len(message) < 400
    return message


# Keras


def lambda_model(mark: Path) -> keras.Model:
    raw = keras.Input((None, None, 2), name="raw")
    code = f"__import__('pathlib').Path({str(mark)!r}).write_text('done')"
    evil = layers.Lambda(eval(f"lambda x: ({code}, x)[1]"), output_shape=(None, None, 2), name="evil")
    inner = keras.Model(raw, evil(raw), name="inner")
    return keras.Model(raw, inner(raw), name="outer")


@keras.saving.register_keras_serializable(package="stranger")
class Custom(layers.Layer):
    def call(self, x):
        return x


def keras_bundle(bundle: Bundle, model: keras.Model, name: str = "keras_v3") -> None:
    if name == "keras_v3":
        bundle.only("keras_v3")
        model.save(bundle.file("weights.keras"))
        return
    bundle.only("onnx")
    bundle.rdf["weights"] = {"keras_hdf5": {"source": "weights.h5", "sha256": None, "tensorflow_version": "2.21.0"}}
    model.save(bundle.file("weights.h5"))


@pytest.mark.parametrize("name", ["keras_v3", "keras_hdf5"])
def test_lambda_layers(name, bundle, mark, no_engine):
    keras_bundle(bundle, lambda_model(mark), name)
    mark.unlink(missing_ok=True)
    message = refused(bundle, CORE, KERAS)
    assert "'evil'" in message
    assert "Lambda" in message
    assert "--trust" in message
    assert not mark.exists()


@pytest.mark.slow
def test_lambda_layers_are_executed_with_trust(bundle, mark):
    keras_bundle(bundle, lambda_model(mark))
    for row in (KERAS, CORE):
        mark.unlink(missing_ok=True)
        cell = cells(bundle, row, trust=True)[row]
        assert mark.exists(), cell


@pytest.mark.parametrize("name", ["keras_v3", "keras_hdf5"])
def test_custom_layers(name, bundle, no_engine):
    raw = keras.Input((None, None, 2), name="raw")
    keras_bundle(bundle, keras.Model(raw, Custom(name="own")(raw)), name)
    assert "'own' in weights." in refused(bundle, CORE, KERAS)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"class_name": "TFSMLayer", "config": {"name": "x", "filepath": "/tmp/x"}}, "a saved model outside the file"),
        ({"class_name": "TorchModuleWrapper", "config": {"name": "x", "module": ""}}, "a pickle"),
        ({"class_name": "StringLookup", "config": {"name": "x", "vocabulary": "/etc/passwd"}}, "/etc/passwd"),
        ({"class_name": "function", "config": "system", "module": "os", "registered_name": "system"}, "os.function"),
        ({"class_name": "__lambda__", "config": {"value": ["", None, None]}}, "Python code"),
    ],
)
def test_other_things_in_keras_files(layer, words, bundle, no_engine):
    bundle.only("keras_v3")
    nested = {"class_name": "Functional", "config": {"layers": [{"class_name": "Dense", "config": {"inner": layer}}]}}
    bundle.write("weights.keras", zipped({"config.json": json.dumps(nested).encode()}))
    assert words in refused(bundle, CORE, KERAS)


def test_keras_file_under_another_name(bundle, mark, no_engine):
    """Keras would take the zip in it for the file."""
    keras_bundle(bundle, lambda_model(mark))
    hidden = io.BytesIO()
    with h5py.File(hidden, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": {}})
    both = hidden.getvalue() + bundle.file("weights.keras").read_bytes()
    bundle.rdf["weights"] = {"keras_hdf5": {"source": "weights.keras", "sha256": None, "tensorflow_version": "2.21.0"}}
    bundle.write("weights.keras", both)
    assert "not an HDF5 file" in refused(bundle, CORE, KERAS)


# saved models


def save_graph(folder: Path, build, main=None, restore=None) -> bytes:
    """A v1 saved model; ``build`` gives its output, ``main`` an operation that initialises it."""
    with tf.Graph().as_default(), v1.Session() as session:
        raw = v1.placeholder(tf.float32, (None, None, None, 2), name="raw")
        weight = v1.get_variable("weight", initializer=1.0)
        output = tf.identity(build(raw) * weight, name="probability")
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        signature = v1.saved_model.predict_signature_def({"raw": raw}, {"probability": output})
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": signature},
            main_op=main() if main else None,
        )
        builder.save()
    return pack_folder(folder)


def pack_folder(folder: Path) -> bytes:
    return zipped(
        {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    )


def saved(bundle: Bundle, content: bytes) -> Bundle:
    bundle.only(SAVED_MODEL)
    bundle.write("saved_model.zip", content)
    return bundle


def write_file(mark: Path):
    return lambda: tf.raw_ops.WriteFile(filename=str(mark), contents="done")


def after(operation, value):
    with tf.control_dependencies([operation]):
        return tf.identity(value)


def save_variable(mark: Path):
    return lambda: tf.raw_ops.SaveV2(
        prefix=str(mark), tensor_names=["x"], shape_and_slices=[""], tensors=[tf.constant(1.0)]
    )


GRAPHS = {
    "in the network": (lambda mark: {"build": lambda raw: after(write_file(mark)(), raw)}, "WriteFile"),
    "when loaded": (lambda mark: {"build": lambda raw: raw, "main": write_file(mark)}, "WriteFile"),
    "checkpoint in the network": (lambda mark: {"build": lambda raw: after(save_variable(mark)(), raw)}, "SaveV2"),
    "checkpoint when loaded": (lambda mark: {"build": lambda raw: raw, "main": save_variable(mark)}, "SaveV2"),
    "Python": (
        lambda mark: {"build": lambda raw: tf.reshape(v1.py_func(np.copy, [raw], tf.float32), tf.shape(raw))},
        "PyFunc",
    ),
    "reads": (
        lambda mark: {"build": lambda raw: raw + tf.cast(tf.strings.length(tf.io.read_file("/etc/passwd")), "float32")},
        "ReadFile",
    ),
    "in a function": (
        lambda mark: {"build": lambda raw: tf.function(lambda x: after(save_variable(mark)(), x))(raw)},
        "SaveV2",
    ),
    "in a loop": (
        lambda mark: {
            "build": lambda raw: tf.while_loop(
                lambda n, x: n < 2, lambda n, x: (n + 1, after(save_variable(mark)(), x)), (0, raw)
            )[1]
        },
        "SaveV2",
    ),
}


@pytest.mark.parametrize("kind", GRAPHS)
def test_graphs_that_reach_outside(kind, bundle, mark, no_engine, tmp_path):
    make, operation = GRAPHS[kind]
    saved(bundle, save_graph(tmp_path / "saved", **make(mark)))
    message = refused(bundle, CORE, TENSORFLOW)
    assert f"operation {operation}" in message
    assert "--trust" in message
    assert not list(tmp_path.glob("mark*"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["in the network", "when loaded", "checkpoint when loaded", "in a function"])
def test_these_graphs_would_have_left_a_mark(kind, bundle, mark, tmp_path):
    saved(bundle, save_graph(tmp_path / "saved", **GRAPHS[kind][0](mark)))
    cells(bundle, TENSORFLOW, trust=True)
    assert list(tmp_path.glob("mark*"))


def test_checkpoint_where_variables_are_restored(bundle, mark, no_engine, tmp_path):
    """What restores the variables is run when a graph is loaded."""
    content = save_graph(tmp_path / "saved", build=lambda raw: raw)
    model = SavedModel.FromString(zipfile.ZipFile(io.BytesIO(content)).read("saved_model.pb"))
    graph = model.meta_graphs[0]
    saving = next(node.name for node in graph.graph_def.node if node.op == "SaveV2")
    restoring = next(node for node in graph.graph_def.node if node.name == graph.saver_def.restore_op_name)
    restoring.input.append(f"^{saving}")
    (tmp_path / "saved" / "saved_model.pb").write_bytes(model.SerializeToString())
    saved(bundle, pack_folder(tmp_path / "saved"))
    assert "operation SaveV2, which writes files" in refused(bundle, CORE, TENSORFLOW)


def test_checkpoint_in_a_function_of_an_object(bundle, mark, no_engine, tmp_path):
    """TensorFlow 2 calls functions of objects when it loads them."""
    module = tf.Module()
    module.weight = tf.Variable(1.0)
    module.save = tf.function(lambda: after(save_variable(mark)(), 0.0), input_signature=[])
    run = tf.function(lambda raw: {"probability": raw * module.weight})
    run = run.get_concrete_function(tf.TensorSpec((None, None, None, 2), tf.float32, name="raw"))
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": run})
    saved(bundle, pack_folder(tmp_path / "saved"))
    assert "operation SaveV2, which writes files" in refused(bundle, CORE, TENSORFLOW)


def test_variables_are_no_danger(tmp_path):
    """Every graph with variables can save and restore checkpoints; neither is refused."""
    raw = keras.Input((None, None, 2), name="raw")
    model = keras.Model(raw, layers.BatchNormalization(name="probability")(layers.Conv2D(2, 3, padding="same")(raw)))
    model.export(tmp_path / "exported", verbose=False)
    for n, content in enumerate(
        (pack_folder(tmp_path / "exported"), save_graph(tmp_path / "saved", build=lambda raw: raw))
    ):
        folder = saved(clean(tmp_path / f"bundle{n}"), content).finish()
        assert guard.refused(Contents(folder, folder / "rdf.yaml"), SAVED_MODEL, False) is None


def test_operation_that_is_named_twice(bundle, mark, no_engine, tmp_path):
    """Protocol buffers take the last of several; so does a second graph, which is joined to the first."""
    content = save_graph(tmp_path / "saved", build=lambda raw: after(write_file(mark)(), raw))
    proto = zipfile.ZipFile(io.BytesIO(content)).read("saved_model.pb")
    hidden = proto.replace(b"\x12\tWriteFile", b"\x12\x02No\x12\x05Const", 1)
    assert hidden != proto  # and of the same length: this is what a reader of the first name would see
    evil = proto.replace(b"\x12\tWriteFile", b"\x12\tWriteFile", 1) + hidden
    saved(bundle, zipped({"saved_model.pb": evil, "variables/": b""}))
    assert "WriteFile" in refused(bundle, TENSORFLOW)


@pytest.mark.parametrize("name", ["saved_model.cpb", "saved_model.pbtxt"])
def test_second_graph(name, bundle, no_engine):
    with zipfile.ZipFile(bundle.file("saved_model.zip")) as archive:
        files = {entry: archive.read(entry) for entry in archive.namelist()}
    saved(bundle, zipped(files | {name: b""}))
    assert "the graph twice" in refused(bundle, CORE, TENSORFLOW)


@pytest.mark.parametrize("name", ["../mark", "/tmp/mark", "variables/../../mark"])
def test_saved_model_that_leads_out(name, bundle, mark, no_engine):
    with zipfile.ZipFile(bundle.file("saved_model.zip")) as archive:
        proto = archive.read("saved_model.pb")
    saved(bundle, zipped({"saved_model.pb": proto, name: b"done"}))
    assert "leads out of it" in refused(bundle, CORE, TENSORFLOW)


def test_saved_model_that_is_a_bomb(bundle, no_engine):
    saved(bundle, b"")
    with zipfile.ZipFile(bundle.file("saved_model.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("variables/variables.data", bytes(2**28))
    assert "zip bomb" in refused(bundle, CORE, TENSORFLOW)


def test_engines_do_not_unpack_what_leads_out(bundle, tmp_path):
    """Whoever calls them."""
    path = tmp_path / "evil.zip"
    path.write_bytes(zipped({"saved_model.pb": b"", "../mark": b"done"}))
    names = engines.TensorNames(["raw"], ["probability"])
    (attempt,) = engines.attempt_files([("tensorflow", path)], [{"raw": np.zeros((1, 4, 4, 1), np.float32)}], names)
    assert "leads out of it" in str(attempt.result())


# torch


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_pickles(bundle, mark, no_engine):
    bundle.only("torchscript")
    plain = pickle.dumps(Evil(mark))
    for content in (plain, zipped({"archive/data.pkl": plain, "archive/version": b"3"}), b"PTMF0000"):
        bundle.write("weights.pt", content)
        message = refused(bundle, CORE, TORCH)
        assert "pickle" in message
    pickle.loads(plain)
    assert mark.exists()  # it would have


@pytest.fixture(scope="module")
def torchscript(tmp_path_factory):
    """Programs that write and read files; torch and TensorFlow do not go together."""
    folder = tmp_path_factory.mktemp("torchscript")
    program = """
import sys, torch
class Writes(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, "MARK")
        return x
class Reads(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.from_file("/etc/passwd", False, 10, dtype=torch.uint8).sum()
class Computes(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.relu(x)
for module in (Writes, Reads, Computes):
    torch.jit.script(module()).save(f"{sys.argv[1]}/{module.__name__}.pt")
"""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    script = folder / "write.py"
    script.write_text(program.replace("MARK", str(folder / "mark")))
    subprocess.run([sys.executable, script, folder], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(("name", "words"), [("Writes", "calls save"), ("Reads", "calls from_file")])
def test_torchscript_that_reaches_outside(name, words, bundle, torchscript, no_engine):
    bundle.only("torchscript")
    shutil.copy(torchscript / f"{name}.pt", bundle.file("weights.pt"))
    assert words in refused(bundle, CORE, TORCH)
    assert not (torchscript / "mark").exists()


def test_torchscript_that_computes_is_run(bundle, torchscript):
    bundle.only("torchscript")
    shutil.copy(torchscript / "Computes.pt", bundle.file("weights.pt"))
    assert cells(bundle, TORCH)[TORCH].status == "failed"  # it is no mean


def test_operators_of_others(bundle, torchscript, no_engine):
    bundle.only("torchscript")
    with zipfile.ZipFile(torchscript / "Computes.pt") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    code = next(name for name in files if name.endswith("functional.py"))
    files[code] = files[code].replace(b"torch.relu", b"ops.image.read_file")
    bundle.write("weights.pt", zipped(files))
    assert "image::read_file" in refused(bundle, CORE, TORCH)


def test_network_in_python(tmp_path, mark, no_engine):
    bundle = with_state_dict("onnx")(tmp_path / "bundle")
    bundle.write("network.py", f"open({str(mark)!r}, 'w')\nclass Mean: ...".encode())
    bundle.rdf["weights"].pop("onnx")
    bundle.rdf["weights"]["pytorch_state_dict"].pop("parent")
    message = refused(bundle, CORE)
    assert "Python code" in message
    assert "--trust" in message
    assert not mark.exists()


@pytest.mark.slow
def test_network_in_python_is_executed_with_trust(tmp_path, mark):
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    bundle = with_state_dict("onnx")(tmp_path / "bundle")
    program = f"""
import torch
open({str(mark)!r}, "w").close()
class Mean(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.mean = torch.nn.Conv2d(2, 2, 3, padding=1, groups=2, bias=False)
    def forward(self, x):
        return self.mean(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
"""
    bundle.write("network.py", program.encode())
    write = "state = {'mean.weight': torch.full((2, 1, 3, 3), 1 / 9)}; torch.save(state, 'weights.pth')"
    subprocess.run([sys.executable, "-c", f"import torch; {write}"], check=True, cwd=bundle.folder)
    bundle.rdf["weights"].pop("onnx")
    bundle.rdf["weights"]["pytorch_state_dict"].pop("parent")
    found = cells(bundle, CORE, trust=True)[CORE]
    assert found.status == "passed", found
    assert found.max_abs_error < 1e-6
    assert mark.exists()


# ONNX


def outside(place: str) -> TensorProto:
    return TensorProto(
        name="gain",
        data_type=TensorProto.FLOAT,
        dims=[1],
        data_location=TensorProto.EXTERNAL,
        external_data=[onnx.StringStringEntryProto(key="location", value=place)],
    )


def onnx_bundle(bundle: Bundle, nodes, initializer=(), functions=(), opsets=()) -> Bundle:
    bundle.only("onnx")
    ends = [helper.make_tensor_value_info(name, 1, [None, None, None, 2]) for name in ("raw", "probability")]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], initializer=list(initializer))
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 15), *opsets], functions=list(functions), ir_version=8
    )
    bundle.write("weights.onnx", model.SerializeToString())
    return bundle


@pytest.mark.parametrize("where", ["weights", "constant", "branch", "function"])
@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "*/_ORT_MEM_ADDR_/*", "absent.bin"])
def test_onnx_weights_outside(where, place, bundle, no_engine, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(4))
    multiply = helper.make_node("Mul", ["raw", "gain"], ["probability"])
    constant = helper.make_node("Constant", [], ["gain"], value=outside(place))
    if where == "weights":
        onnx_bundle(bundle, [multiply], [outside(place)])
    elif where == "constant":
        onnx_bundle(bundle, [constant, multiply])
    elif where == "branch":
        value = helper.make_tensor_value_info("gain", 1, [1])
        branch = helper.make_graph([constant], "branch", [], [value])
        yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
        either = helper.make_node("If", ["yes"], ["gain"], then_branch=branch, else_branch=branch)
        onnx_bundle(bundle, [yes, either, multiply])
    else:
        function = helper.make_function(
            "own", "F", ["raw"], ["probability"], [constant, multiply], [helper.make_opsetid("", 15)]
        )
        call = helper.make_node("F", ["raw"], ["probability"], domain="own")
        onnx_bundle(bundle, [call], functions=[function], opsets=[helper.make_opsetid("own", 1)])
    assert "no file of the bundle" in refused(bundle, CORE, ONNX)


def test_onnx_operators_of_others(bundle, no_engine):
    call = helper.make_node("F", ["raw"], ["probability"], domain="stranger")
    onnx_bundle(bundle, [call], opsets=[helper.make_opsetid("stranger", 1)])
    assert "operators of stranger" in refused(bundle, CORE, ONNX)


def test_onnx_functions_of_its_own_are_run(bundle):
    copy = helper.make_node("Identity", ["raw"], ["probability"])
    function = helper.make_function("own", "F", ["raw"], ["probability"], [copy], [helper.make_opsetid("", 15)])
    call = helper.make_node("F", ["raw"], ["probability"], domain="own")
    onnx_bundle(bundle, [call], functions=[function], opsets=[helper.make_opsetid("own", 1)])
    assert "differs from the test tensor" in cells(bundle, ONNX)[ONNX].message


def test_graph_without_an_end(bundle, monkeypatch):
    """Counts for ever."""
    monkeypatch.setattr(run, "LONGEST", 4.0)
    cell = cells(onnx_bundle(bundle, counting_for_ever()), ONNX)[ONNX]
    assert cell.status == "failed"
    assert "stopped after 4 seconds" in cell.message


def test_graph_that_fills_the_memory(bundle, monkeypatch):
    monkeypatch.setattr("bmzpack.engines.process.memory", lambda: 2**31)
    shape = helper.make_tensor("shape", TensorProto.INT64, [4], [2**10, 2**10, 2**10, 2])
    expand = helper.make_node("Expand", ["sum", "shape"], ["probability"])
    total = helper.make_node("ReduceSum", ["raw"], ["sum"])
    cell = cells(onnx_bundle(bundle, [total, expand], [shape]), ONNX)[ONNX]
    assert cell.status == "failed"
    assert "onnxruntime cannot run weights.onnx" in cell.message


# sizes


def sparse_array(path: Path, shape: tuple[int, ...], whole: bool) -> None:
    """An array of zeros that takes no place on the disk."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        file.truncate(file.tell() + (4 * int(np.prod(shape)) if whole else 0))


@pytest.mark.parametrize("whole", [True, False])
def test_huge_test_tensors(whole, bundle, no_engine):
    bundle.only("onnx")
    sparse_array(bundle.file("test_raw.npy"), (1, 2**14, 2**14, 2), whole)
    bundle.rdf["inputs"][0]["test_tensor"]["sha256"] = "0" * 64
    assert ("2.0 GiB" if whole else "cannot be read") in refused(bundle, CORE, ONNX)


@pytest.mark.parametrize(
    "size", [{"min": 2**20, "step": 16}, {"min": 32, "step": 2**20}, {"min": 2**60, "step": 2**60}]
)
def test_huge_sizes(size, bundle, no_engine):
    bundle.only("onnx")
    bundle.axis("inputs", "y")["size"] = size
    bundle.axis("inputs", "x")["size"] = size
    assert "nothing of that size is made" in refused(bundle, CORE, ONNX)


def test_pickled_test_tensors(bundle, mark, no_engine):
    bundle.only("onnx")
    np.save(bundle.file("test_raw.npy"), np.array([Evil(mark)], object), allow_pickle=True)
    assert "cannot be read" in refused(bundle, CORE, ONNX)
    assert not mark.exists()


# the rest of a bundle


def test_processing_in_python(bundle, mark, no_engine):
    """bioimageio.core would import it, even to test an ONNX file."""
    bundle.only("onnx")
    bundle.write("own.py", f"open({str(mark)!r}, 'w')\ndef make(**_): return lambda x: x".encode())
    bundle.rdf["inputs"][0]["preprocessing"] = [
        {"id": "custom", "callable": "make", "source": "own.py", "sha256": None, "kwargs": {}}
    ]
    message = refused(bundle, CORE, ONNX)
    assert "Python code" in message
    assert not mark.exists()


def test_another_model_is_not_fetched(bundle, no_engine):
    bundle.only("onnx")
    bundle.rdf["inputs"][0]["output_of"] = "some-model"
    assert "another model" in refused(bundle, CORE, ONNX)


@pytest.mark.parametrize("source", ["../weights.onnx", "/etc/passwd", "https://example.invalid/weights.onnx"])
def test_weights_outside(source, bundle, no_engine, tmp_path):
    bundle.only("onnx")
    shutil.copy(bundle.file("weights.onnx"), tmp_path)
    folder = bundle.finish()
    bundle.rdf["weights"]["onnx"]["source"] = source
    (folder / "rdf.yaml").write_text(yaml.safe_dump(bundle.rdf))
    found = run_engines(Contents(folder, folder / "rdf.yaml"), rows=[CORE, ONNX])
    assert {cell.message for cell in found.cells.values()} == {f"{source} is not in the bundle."}


def test_modules_in_the_bundle(bundle, mark, monkeypatch):
    """A command that is called in the folder of a bundle does not import what lies there."""
    bundle.only("onnx")
    for name in ("numpy.py", "json.py", "bmzpack.py", "onnxruntime.py", "bioimageio.py"):
        bundle.write(name, f"open({str(mark)!r}, 'w')\nraise ImportError".encode())
    monkeypatch.chdir(bundle.folder)
    found = cells(bundle, CORE, ONNX)
    assert {row: cell.status for row, cell in found.items()} == {CORE: "passed", ONNX: "passed"}
    assert not mark.exists()


def test_the_old_command_is_as_careful(bundle, mark, no_engine):
    keras_bundle(bundle, lambda_model(mark))
    mark.unlink(missing_ok=True)
    report = bmzpack.test(bundle.finish())
    assert not report.passed
    assert (report.formats["keras_v3"].core, report.formats["keras_v3"].engine) == ("unsupported", "unsupported")
    assert not mark.exists()


def test_every_engine_is_guarded():
    assert set(ENGINES.values()) == set(engines.ENGINES)
