"""Tensors from PyTorch files, and what is refused: everything else."""

import collections
import contextlib
import io
import pickle
import pickletools
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from bmzpack.errors import UserError
from kerazoo.files.torch_file import read_torch_file

WRITE = """
import sys, collections, numpy as np, torch
folder = sys.argv[1]
torch.manual_seed(1)
base = torch.arange(24.0).reshape(4, 6)
tensors = {
    "float32": torch.randn(3, 4), "float64": torch.randn(5).double(), "float16": torch.randn(7).half(),
    "bfloat16": torch.randn(2, 3).bfloat16(), "int64": torch.arange(-3, 4), "int32": torch.arange(3).int(),
    "int16": torch.arange(3).short(), "int8": torch.arange(-2, 3).char(), "uint8": torch.arange(5).byte(),
    "bool": torch.tensor([True, False, True]), "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3),
    "transposed": base.T, "part": base[1:3, ::2], "shared": base,
    "parameter": torch.nn.Parameter(torch.randn(2, 2)),
}
model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
for legacy in (False, True):
    options = {"_use_new_zipfile_serialization": not legacy}
    torch.save(tensors, f"{folder}/tensors{int(legacy)}.pth", **options)
    torch.save(model.state_dict(), f"{folder}/state{int(legacy)}.pth", **options)
    torch.save(model, f"{folder}/model{int(legacy)}.pth", **options)
    torch.save({"epoch": 3, "state": model.state_dict()}, f"{folder}/training{int(legacy)}.pth", **options)
    torch.save([base], f"{folder}/list{int(legacy)}.pth", **options)
torch.jit.save(torch.jit.script(model), f"{folder}/script.pth")
expected = {name: value.detach().float().numpy() if name == "bfloat16" else value.detach().numpy()
            for name, value in tensors.items()}
np.savez(f"{folder}/tensors.npz", **expected)
np.savez(f"{folder}/state.npz", **{name: value.numpy() for name, value in model.state_dict().items()})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files that PyTorch has written, in a process of its own: it and TensorFlow do not go together."""
    folder = tmp_path_factory.mktemp("torch")
    done = subprocess.run([sys.executable, "-c", WRITE, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("legacy", [0, 1])
@pytest.mark.parametrize("name", ["tensors", "state"])
def test_tensors_are_read_as_torch_has_written_them(folder, name, legacy):
    found = read_torch_file(folder / f"{name}{legacy}.pth")
    with np.load(folder / f"{name}.npz") as expected:
        assert list(found) == list(expected)
        for key, array in expected.items():
            assert found[key].dtype == array.dtype, key
            assert found[key].flags.c_contiguous
            np.testing.assert_array_equal(found[key], array, err_msg=key)


@pytest.mark.parametrize("legacy", [0, 1])
@pytest.mark.parametrize(
    ("name", "reason"),
    [("model", "whole model"), ("training", "epoch"), ("list", "state dict")],
)
def test_what_is_more_than_tensors_is_refused(folder, name, legacy, reason):
    with pytest.raises(UserError, match=reason):
        read_torch_file(folder / f"{name}{legacy}.pth")


def test_programs_are_refused(folder):
    with pytest.raises(UserError, match=r"TorchScript|no tensor"):
        read_torch_file(folder / "script.pth")


class Call:
    def __init__(self, function, *arguments):
        self.answer = function, arguments

    def __reduce__(self):
        return self.answer


@pytest.fixture
def archive(tmp_path):
    """A function that writes a zip file with a pickle as PyTorch does, and parts beside it."""

    def write(content, compression=zipfile.ZIP_STORED, **parts):
        path = tmp_path / "file.pth"
        with zipfile.ZipFile(path, "w", compression) as file:
            file.writestr("archive/data.pkl", content)
            for name, part in parts.items():
                file.writestr(f"archive/data/{name.removeprefix('_')}", part)
        return path

    return write


def test_no_foreign_function_is_called(archive, tmp_path):
    trace = tmp_path / "trace"
    for function, arguments in (
        (eval, (f"open({str(trace)!r}, 'w')",)),
        (exec, (f"open({str(trace)!r}, 'w')",)),
        (open, (str(trace), "w")),
        (subprocess.run, (["touch", str(trace)],)),
        (getattr, (collections.OrderedDict, "update")),
        (np.load, ("x",)),
    ):
        for protocol in (2, 4):
            content = pickle.dumps({"a": Call(function, *arguments)}, protocol)
            with pytest.raises(UserError, match=r"file\.pth is refused|plain\.pth is refused"):
                read_torch_file(archive(content))
            path = tmp_path / "plain.pth"
            path.write_bytes(content)
            with pytest.raises(UserError, match=r"file\.pth is refused|plain\.pth is refused"):
                read_torch_file(path)
    assert not trace.exists()


def tensor(offset=0, shape=(2,), strides=(1,), count=2, kind="FloatStorage", extra=b""):
    """The pickle of {"a": tensor}, instruction by instruction."""

    def numbers(values):
        return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"

    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text("0") + text("cpu")
    storage += b"J" + struct.pack("<i", count) + b"tQ"
    arguments = b"(" + storage + b"J" + struct.pack("<i", offset) + numbers(shape) + numbers(strides)
    arguments += b"\x89ccollections\nOrderedDict\n)Rt"
    return b"\x80\x02}" + text("a") + b"ctorch._utils\n_rebuild_tensor_v2\n" + extra + arguments + b"Rs."


FLOATS = np.array([1.5, -2.0], "<f4").tobytes()


def test_a_file_by_hand(archive):
    pickletools.dis(tensor(), out=io.StringIO())
    np.testing.assert_array_equal(read_torch_file(archive(tensor(), _0=FLOATS))["a"], np.float32([1.5, -2]))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"offset": 1}, "beyond its memory"),
        ({"shape": (3,)}, "beyond its memory"),
        ({"strides": (2,)}, "beyond its memory"),
        ({"strides": (-1,)}, "malformed"),
        ({"offset": -1}, "malformed"),
        ({"shape": (2, 2)}, "cannot be read"),
        ({"shape": (2_000_000_000, 2_000_000_000), "strides": (0, 0)}, "beyond its memory"),
        ({"count": 4}, "shorter"),
        ({"count": -1}, "no memory"),
        ({"kind": "ComplexFloatStorage"}, "ComplexFloatStorage"),
        ({"kind": "load"}, "torch.load"),
        # what is called gets another default value
        ({"extra": b"N}X\x0c\x00\x00\x00__defaults__K\x01\x85s\x86b"}, "no business"),
        # a place in the memo that needs 16 GB
        ({"extra": b"r\xff\xff\xff\x7f"}, "numbers"),
        # an object by its class
        ({"extra": b"(ios\nsystem\n0"}, "INST"),
    ],
)
def test_malformed_tensors_are_refused(archive, arguments, reason):
    with pytest.raises(UserError, match=reason):
        read_torch_file(archive(tensor(**arguments), _0=FLOATS))


def test_compressed_parts_are_refused(archive):
    with pytest.raises(UserError, match="compressed"):
        read_torch_file(archive(tensor(count=10**9), zipfile.ZIP_DEFLATED, _0=bytes(10**7)))


def test_missing_parts_are_refused(archive):
    with pytest.raises(UserError, match="data/0 is missing"):
        read_torch_file(archive(tensor()))


@pytest.mark.parametrize("name", ["tensors0", "tensors1"])
def test_any_damage_is_refused_or_read(folder, tmp_path, name):
    """Cut anywhere, or with a byte changed: an error for users, and no other."""
    whole = (folder / f"{name}.pth").read_bytes()
    random = np.random.default_rng(1)
    path = tmp_path / "damaged.pth"
    for length in random.integers(0, len(whole), 60):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError):
            read_torch_file(path)
    for place in random.integers(0, len(whole), 300):
        damaged = bytearray(whole)
        damaged[place] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        with contextlib.suppress(UserError):
            read_torch_file(path)


def test_other_files(tmp_path):
    with pytest.raises(UserError, match=r"no file .*nothing.pth"):
        read_torch_file(tmp_path / "nothing.pth")
    for content in (b"", b"\x89PNG", b"\x80", b"\x80\x02N."):
        path = tmp_path / "other.pth"
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"other\.pth"):
            read_torch_file(path)


def pickled(path, *parts):
    """An archive with a pickle of these instructions, and a storage of 1 MB."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"".join(parts) + b".")
        archive.writestr("archive/data/0", bytes(2**20))
    return path


@pytest.mark.parametrize("setting", [b"s", b"u"])
def test_keys_that_take_for_ever(tmp_path, setting):
    key = b"X\x01\x00\x00\x00a" + b"".join(b"q%ch%c\x86" % (n, n) for n in range(60))
    begin = b"}" + (b"(" if setting == b"u" else b"")
    with pytest.raises(UserError, match="a tuple where tensors have names"):
        read_torch_file(pickled(tmp_path / "keys.pth", begin, key, b"K\x01", setting))


def test_memory_that_is_shared_without_end(tmp_path):
    storage = b"(X\x07\x00\x00\x00storagectorch\nByteStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ\x00\x00\x10\x00tQ"
    call = (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + b"K\x00J\x00\x00\x10\x00\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
    )
    entries = [b"X\x04\x00\x00\x00%04d" % n + (call + b"q\x01" if n == 0 else b"h\x01") for n in range(100)]
    with pytest.raises(UserError, match="share their memory so often"):
        read_torch_file(pickled(tmp_path / "shared.pth", b"}(", *entries, b"u"))
    assert len(read_torch_file(pickled(tmp_path / "twice.pth", b"}(", *entries[:2], b"u"))) == 2


def test_a_pickle_without_end(tmp_path):
    with pytest.raises(UserError, match="too large"):
        read_torch_file(pickled(tmp_path / "long.pth", b"]" * 2**24))
