"""Files that say one thing to who judges them and another to who runs them, and files that take for ever to read."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

from bmzpack.bundle.archive import NoYaml, read_description
from bmzpack.bundle.contents import Contents
from bmzpack.bundle.hdf5 import foreign_part
from bmzpack.bundle.protobuf import Unreadable, fields
from bmzpack.bundle.references import onnx_references, tensorflow_operations
from bmzpack.bundle.specification import local, remote_files
from bmzpack.consumers.conditions.metadata import _has_validation
from bmzpack.consumers.conditions.tensor_data import unfit_test_tensors
from bmzpack.errors import UserError, harmless
from bmzpack.files import cell
from bmzpack.weights import torchscript

# protocol buffers


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (bytes([0x92, 0x80, 0x80, 0x80, 0x10, 1, 65]), "field 2 for who cuts the tag to 32 bits"),
        (b"\x8a\x00\x01a", "a tag that is longer than it is"),
        (b"\x0a\x81\x00a", "a length that is longer than it is"),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "a number of more than 64 bits"),
        (b"\x02\x01a", "field 0"),
        (b"\x0b\x0c", "a group"),
    ],
)
def test_what_is_read_in_two_ways_is_no_protocol_buffer(content, name):
    with pytest.raises(Unreadable):
        list(fields(content))


def test_an_operation_cannot_be_hidden_by_its_tag():
    """The field of the operation with bit 32 set in its tag."""

    def message(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    hidden = bytes([0x92, 0x80, 0x80, 0x80, 0x10, 9]) + b"WriteFile"
    for node in (message(1, b"a") + hidden, message(1, b"a") + message(2, b"NoOp") + hidden):
        with pytest.raises(Unreadable):
            tensorflow_operations(message(2, message(2, message(1, node))))


def outside(**changes) -> TensorProto:
    tensor = TensorProto(name="gain", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    for key, value in ({"location": "../secret.bin"} | changes).items():
        tensor.external_data.append(onnx.StringStringEntryProto(key=key, value=value))
    return tensor


def onnx_file(**parts) -> bytes:
    ends = [helper.make_tensor_value_info(name, 1, [1]) for name in ("raw", "probability")]
    node = helper.make_node("Identity", ["raw"], ["probability"])
    graph = helper.make_graph([node], "graph", ends[:1], ends[1:], initializer=parts.get("initializer", []))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], functions=parts.get("functions", []))
    if "training" in parts:
        model.training_info.append(onnx.TrainingInfoProto(algorithm=parts["training"]))
    return model.SerializeToString()


def test_every_tensor_outside_is_found():
    function = helper.make_function("own", "F", ["a"], ["b"], [], [helper.make_opsetid("", 15)])
    function.attribute_proto.append(helper.make_attribute("gain", outside()))
    training = helper.make_graph([], "training", [], [], initializer=[outside()])
    location_alone = outside()
    location_alone.data_location = TensorProto.DEFAULT
    for content in (
        onnx_file(initializer=[outside()]),
        onnx_file(initializer=[outside(offset="4", length="4")]),
        onnx_file(initializer=[location_alone]),
        onnx_file(functions=[function]),
        onnx_file(training=training),
    ):
        assert onnx_references(content)[0] == {"../secret.bin"}
    without_place = outside()
    del without_place.external_data[:]
    assert onnx_references(onnx_file(initializer=[without_place]))[0] == {""}
    assert onnx_references(onnx_file())[0] == set()


# TorchScript


def program(path: Path, code: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/constants.pkl", b"\x80\x02).")
        archive.writestr("archive/code/__torch__.py", code)
    return path


@pytest.mark.parametrize(
    "code",
    [
        r'getattr(torch, "s\141ve")(x, "/tmp/mark")',
        r'getattr(torch, "from_fil\145")(x)',
        r'getattr(torch, "\x73ave")(x)',
        'torch.save(x, "/tmp/mark")',
        "ops\\\n.stranger.op(x)",
        "o = ops\no.stranger.op(x)",
        'getattr(ops, "stranger").op(x)',
        'getattr(ops.aten, "stranger")(x)',
        "ops.stranger.op(x)",
    ],
)
def test_words_of_a_program_are_seen_however_they_are_written(code, tmp_path):
    assert "--trust" in refusal(program(tmp_path / "weights.pt", code), tmp_path)


def test_ordinary_programs_are_not_refused(tmp_path):
    code = 'def forward(self, x):\n  _0 = ops.prim.data(x)\n  return torch.relu(x, "a\\nb")\n'
    assert refusal(program(tmp_path / "weights.pt", code), tmp_path) is None


def refusal(path: Path, folder: Path) -> str | None:
    (folder / "rdf.yaml").write_text(yaml.safe_dump({"weights": {"torchscript": {"source": path.name}}}))
    return torchscript.refusal(Contents(folder, folder / "rdf.yaml"), path, False)


def test_torch_gets_the_zip_that_was_judged(tmp_path):
    """Readers differ in where they look for the directory of one with two."""
    evil, good = (program(tmp_path / f"{name}.pt", f"# {name}") for name in ("evil", "good"))
    both = tmp_path / "weights.pt"
    both.write_bytes(evil.read_bytes() + good.read_bytes())
    torchscript.canonical(both, tmp_path / "new.pt")
    with zipfile.ZipFile(tmp_path / "new.pt") as archive:
        assert archive.read("archive/code/__torch__.py") == b"# good"
    assert b"# evil" not in (tmp_path / "new.pt").read_bytes()


def test_names_that_differ_in_capitals_are_one_for_torch(tmp_path):
    path = program(tmp_path / "weights.pt", "# good")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/CODE/__torch__.py", "# evil")
    with pytest.raises(UserError, match="two files of one name"):
        torchscript.canonical(path, tmp_path / "new.pt")


# HDF5


def link(file):
    file["weights"] = h5py.ExternalLink("/etc/hostname", "/weights")


def storage(file):
    file.create_dataset("weights", (10,), "u1", external=[("/etc/hostname", 0, 10)])


def virtual(file):
    layout = h5py.VirtualLayout((10,), "u1")
    layout[:] = h5py.VirtualSource("/etc/hostname", "weights", (10,))
    file.create_group("inner").create_virtual_dataset("weights", layout)


def unwritten(file):
    file.create_dataset("weights", (10**12,), "f4", chunks=(10**6,))


HDF5 = {link: "another file", storage: "other files", virtual: "other files", unwritten: "as a bomb does"}


@pytest.mark.parametrize("kind", HDF5)
def test_hdf5_that_refers_to_other_files(kind, tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        kind(file)
        file["itself"] = h5py.SoftLink("/")
        file["again"] = file["/"]
    assert HDF5[kind] in str(foreign_part(tmp_path / "weights.h5"))


def test_ordinary_hdf5(tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.create_group("layer").create_dataset("kernel", data=np.zeros((3, 3)), compression="gzip")
    assert foreign_part(tmp_path / "weights.h5") is None


@pytest.mark.parametrize("kind", HDF5)
def test_such_weights_in_a_keras_file(kind, tmp_path):
    from bmzpack.weights import keras_v3

    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        kind(file)
    path = tmp_path / "weights.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "config": {}}))
        archive.write(tmp_path / "model.weights.h5", "model.weights.h5")
    (tmp_path / "rdf.yaml").write_text(yaml.safe_dump({"weights": {"keras_v3": {"source": path.name}}}))
    reason = keras_v3.refusal(Contents(tmp_path, tmp_path / "rdf.yaml"), path, False)
    assert HDF5[kind] in str(reason)


# plain reading


SPACE = [{"type": "space", "id": axis, "size": 1} for axis in "zyx"]


def contents(folder: Path) -> Contents:
    tensor = {"id": "raw", "axes": [{"type": "batch"}, *SPACE], "test_tensor": {"source": "raw.npy"}}
    rdf = {"format_version": "0.5.4", "type": "model", "documentation": "README.md", "inputs": [tensor]}
    (folder / "rdf.yaml").write_text(yaml.safe_dump(rdf))
    return Contents(folder, folder / "rdf.yaml")


@pytest.mark.parametrize("text", [b"#" * 10**6, b"# " * 5 * 10**5, b"#\n" * 5 * 10**5])
def test_a_readme_without_end(text, tmp_path):
    (tmp_path / "README.md").write_bytes(text)
    start = time.process_time()
    assert not _has_validation(tmp_path / "README.md")
    assert time.process_time() - start < 3


def test_an_array_of_many_rows(tmp_path):
    np.save(tmp_path / "raw.npy", np.zeros((10**7, 1, 1, 1), np.float32))
    start = time.process_time()
    assert [*unfit_test_tensors(contents(tmp_path))] == []
    assert time.process_time() - start < 3


def test_a_value_that_is_not_finite_is_found_behind_the_first_part(tmp_path):
    array = np.zeros((5 * 10**6, 1, 1, 1), np.float16)
    array[-1] = np.nan
    np.save(tmp_path / "raw.npy", array)
    (found,) = unfit_test_tensors(contents(tmp_path))
    assert "NaN" in found.found


@pytest.mark.parametrize("number", ["1" + ":1" * 10**5, "1" + ":1" * 10**5 + ".5", "9" * 10**6, "0x" + "f" * 10**5])
def test_numbers_without_end(number, tmp_path):
    (tmp_path / "rdf.yaml").write_text(f"a: {number}\n")
    start = time.process_time()
    with pytest.raises((NoYaml, UserError)):
        read_description(tmp_path / "rdf.yaml")
    assert time.process_time() - start < 3


# what is shown


def test_messages_control_no_terminal():
    message = str(UserError("\x1b]0;faked\x07\x1b[2J \u202eevil\r\nnext \ud800"))
    assert message == "]0;faked[2J evil  next "
    assert harmless("µ é 数 –") == "µ é 数 –"


def test_no_cell_is_a_formula():
    texts = ("=A1", "@SUM(1)", "-1", "nucleus", "\x1b=A1", "\t=A1")
    assert [*map(cell, texts)] == ["'=A1", "'@SUM(1)", "'-1", "nucleus", "'=A1", " =A1"]


def test_what_lies_elsewhere_is_left_out():
    rdf = {
        "name": "x",
        "attachments": [{"source": "HTTP://127.0.0.1/a"}],
        "covers": ["cover.png"],
        "inputs": [
            {"id": "raw", "sample_tensor": {"source": "http://127.0.0.1/s"}, "test_tensor": {"source": "t.npy"}}
        ],
    }
    assert remote_files(rdf) == ["http://127.0.0.1/s", "HTTP://127.0.0.1/a"]
    assert local(rdf) == {
        "name": "x",
        "covers": ["cover.png"],
        "inputs": [{"id": "raw", "test_tensor": {"source": "t.npy"}}],
    }
