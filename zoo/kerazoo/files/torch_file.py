"""Reading the tensors of a PyTorch file without PyTorch, and without running what a stranger has put into it.

Such a file is a pickle, and a pickle is a program. Here its instructions are looked through before it runs, and it may
call nothing but what builds tensors and dicts.
"""

from __future__ import annotations

import collections
import io
import math
import os
import pickle
import pickletools
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bmzpack.errors import UserError

_STORAGES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
_INSTRUCTIONS = {
    *("PROTO", "FRAME", "STOP", "MARK", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
    *("BINPERSID", "MEMOIZE", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "EMPTY_DICT", "EMPTY_LIST"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "SETITEM", "SETITEMS", "APPEND"),
    *("APPENDS", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1"),
    *("BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_PICKLE_LIMIT = 8 * 2**20
"""Bytes of a pickle: it names the tensors, which lie beside it, in about a hundred bytes each."""
_MOST_SHARED = 4
"""Times that all memory of the file may be given to tensors: some share theirs, in honest files two by two."""
_SMALL = 2**20
"""Bytes of tensors that may share as they like."""


def read_torch_file(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read a file that `torch.save` has written of a dict of tensors, such as a state dict.

    Parameters
    ----------
    path
        A `.pth` or `.pt` file, a zip archive (since PyTorch 1.6) or of the older format.

    Returns
    -------
    dict
        Arrays by name, in the file's order; bfloat16 becomes float32. Those of a state dict within another have the
        names of both, `model_state/encoder.weight`.

    Raises
    ------
    UserError
        There is no such file, it is damaged, or holds anything else than tensors by name.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no file {path}: check the name.")
    try:
        with path.open("rb") as file:
            content = _read_archive(path) if zipfile.is_zipfile(file) else _read_legacy(file)
        return _arrays(content)
    except UserError as error:
        raise UserError(f"{path} is refused: {error}") from error
    except Exception as error:  # whatever a damaged pickle makes of itself
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read as a PyTorch file ({reason}): get it again.") from error


def _arrays(content: Any) -> dict[str, np.ndarray]:
    tensors = _tensors(content)
    storages = {id(tensor.storage): tensor.storage for tensor in tensors.values()}
    held = sum(storage.count * storage.dtype.itemsize for storage in storages.values())
    if sum(tensor.nbytes for tensor in tensors.values()) > _SMALL + _MOST_SHARED * held:
        raise UserError("its tensors share their memory so often that they would fill this computer's.")
    return {name: tensor.array() for name, tensor in tensors.items()}


def _tensors(content: Any, within: str = "") -> dict[str, _Tensor]:
    """Tensors by name, of a state dict and of those in it."""
    if not isinstance(content, dict) or not content:
        raise UserError(f"it holds a {type(content).__name__}, not tensors by name: save the model's state dict.")
    tensors = {}
    for name, value in content.items():
        if isinstance(value, dict) and isinstance(name, str) and value and within == "":
            tensors |= _tensors(value, f"{name}/")
        elif isinstance(value, _Tensor) and isinstance(name, str):
            tensors[within + name] = value
        else:
            raise UserError(
                f"it holds more than tensors by name ({str(name)[:60]!r} is a {type(value).__name__.strip('_')}): "
                "save the model's state dict alone."
            )
    return tensors


class _Storage:
    """The memory of tensors; in the older format it comes after them."""

    __slots__ = ("count", "dtype", "values")

    def __init__(self, dtype: np.dtype, count: int) -> None:
        self.dtype, self.count = dtype, count
        self.values: np.ndarray | None = None

    def fill(self, content: bytes) -> None:
        if len(content) < self.count * self.dtype.itemsize:
            raise UserError("it is shorter than it says; get it again.")
        self.values = np.frombuffer(content, self.dtype, self.count)

    def __setstate__(self, state: object) -> None:
        raise UserError("it changes what it has no business to change.")


class _Tensor:
    """A view of a storage."""

    __slots__ = ("offset", "shape", "storage", "strides")

    def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> None:
        whole = [offset, *shape, *strides]
        if not (isinstance(storage, _Storage) and all(type(number) is int and number >= 0 for number in whole)):
            raise UserError("one of its tensors is malformed.")
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        # A view that repeats itself could be larger than any memory.
        if math.prod(shape) > storage.count or (math.prod(shape) and last >= storage.count):
            raise UserError("one of its tensors reaches beyond its memory.")
        self.storage, self.offset, self.shape, self.strides = storage, offset, tuple(shape), tuple(strides)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.storage.dtype.itemsize

    def array(self) -> np.ndarray:
        values = self.storage.values
        if values is None:
            raise UserError("the memory of a tensor is missing.")
        steps = [stride * values.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, steps, writeable=False)
        if self.storage.dtype == _STORAGES["BFloat16Storage"]:
            return (view.astype(np.uint32) << 16).view(np.float32)
        return np.array(view, dtype=view.dtype.newbyteorder("="), order="C")

    def __setstate__(self, state: object) -> None:
        raise UserError("it changes what it has no business to change.")


class _Dict(collections.OrderedDict):
    """A state dict, without the remarks that PyTorch adds to it."""

    def __setstate__(self, state: object) -> None:
        pass


class _Call:
    """What a pickle may call; nothing can be set on it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise UserError("it changes what it has no business to change.")


class _Kind:
    """A type of storage."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype

    def __setstate__(self, state: object) -> None:
        raise UserError("it changes what it has no business to change.")


def _dict(*pairs: Any) -> _Dict:
    filled = _Dict()
    for key, value in pairs[0] if pairs else ():
        filled[_name(key)] = value
    return filled


def _name(key: Any) -> str:
    """A key that may go into a dict: of nested tuples, a few bytes take for ever to be looked up."""
    if not isinstance(key, str):
        raise UserError(f"it has a {type(key).__name__} where tensors have names: save the model's state dict alone.")
    return key


def _parameter(data: Any, *_: Any) -> _Tensor:
    if not isinstance(data, _Tensor):
        raise UserError("one of its parameters is malformed.")
    return data


_ALLOWED: dict[tuple[str, str], _Call | _Kind] = {
    ("collections", "OrderedDict"): _Call(_dict),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_Tensor),
    ("torch._utils", "_rebuild_parameter"): _Call(_parameter),
    **{("torch", name): _Kind(dtype) for name, dtype in _STORAGES.items()},
}


# that in Python can look at keys before they are hashed
_Base: Any = pickle._Unpickler  # pyright: ignore[reportAttributeAccessIssue]


class _Unpickler(_Base):
    def __init__(self, content: bytes, storage_of: Callable[[_Kind, str, int], _Storage]) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8")
        self._storage_of = storage_of

    def load_setitem(self) -> None:
        _name(self.stack[-2])
        super().load_setitem()

    def load_setitems(self) -> None:
        for key in self.stack[::2]:
            _name(key)
        super().load_setitems()

    dispatch = _Base.dispatch | {
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise UserError(
                f"it asks for {module}.{name}, which is no tensor; a file of weights needs nothing else. Save the "
                "model's state dict alone."
            )
        return _ALLOWED[module, name]

    def persistent_load(self, identity: Any) -> _Storage:
        what, kind, key, _, count = identity[:5]
        valid = what == "storage" and isinstance(kind, _Kind) and isinstance(key, str)
        if not valid or type(count) is not int or count < 0 or any(extra is not None for extra in identity[5:]):
            raise UserError("one of its tensors has no memory of a known kind.")
        return self._storage_of(kind, key, count)


def _load(content: bytes, storage_of: Callable[[_Kind, str, int], _Storage] | None = None) -> Any:
    """What a pickle builds, judged by its instructions."""
    if len(content) > _PICKLE_LIMIT:
        raise UserError("its pickle is larger than the names of tensors are.")
    for instruction, argument, _ in pickletools.genops(content):
        if instruction.name not in _INSTRUCTIONS:
            raise UserError(
                f"its pickle builds more than tensors ({instruction.name}), such as a whole model: save the model's "
                "state dict alone."
            )
        # The memo is an array: a large number in a small file would take all memory.
        if instruction.name == "LONG_BINPUT" and (argument or 0) > len(content):
            raise UserError("its pickle numbers what it does not hold.")

    def none(kind: _Kind, key: str, count: int) -> _Storage:
        raise UserError("a tensor stands where there should be none.")

    return _Unpickler(content, storage_of or none).load()


def _read_archive(path: Path) -> Any:
    storages: dict[str, _Storage] = {}
    with zipfile.ZipFile(path) as archive:
        members = {entry.filename: entry for entry in archive.infolist()}
        roots = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise UserError("it is a zip archive, but not of PyTorch's `torch.save`.")
        root = roots[0]
        if f"{root}constants.pkl" in members:
            raise UserError("it is TorchScript, a program: save the model's state dict instead.")

        def read(name: str, limit: int = sys.maxsize) -> bytes:
            entry = members.get(root + name)
            if entry is None:
                raise UserError(f"its part {name} is missing; get it again.")
            # PyTorch compresses nothing; what is compressed may be larger than any memory.
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > limit:
                raise UserError(f"its part {name} is compressed or too large, which PyTorch's never are.")
            return archive.read(entry)

        if f"{root}byteorder" in members and read("byteorder", 16) != b"little":
            raise UserError("it was written on a big-endian machine: write it anew on another.")

        def storage_of(kind: _Kind, key: str, count: int) -> _Storage:
            if key not in storages:
                storages[key] = _Storage(kind.dtype, count)
                storages[key].fill(read(f"data/{key}"))
            return _same(storages[key], kind, count)

        return _load(read("data.pkl", _PICKLE_LIMIT), storage_of)


def _read_legacy(file: BinaryIO) -> Any:
    storages: dict[str, _Storage] = {}

    def storage_of(kind: _Kind, key: str, count: int) -> _Storage:
        return _same(storages.setdefault(key, _Storage(kind.dtype, count)), kind, count)

    file.seek(0)
    if file.read(1) != b"\x80":
        raise UserError("it is not a file of PyTorch's `torch.save`.")
    file.seek(0)
    if _load(_next_pickle(file)) != _LEGACY_MAGIC:
        raise UserError("it is a pickle, but not of PyTorch's `torch.save`.")
    _load(_next_pickle(file))
    machine = _load(_next_pickle(file))
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise UserError("it was written on a big-endian machine: write it anew on another.")
    content = _load(_next_pickle(file), storage_of)
    for key in _load(_next_pickle(file)):
        count = int.from_bytes(file.read(8), "little")
        storage = storages.get(_name(key))
        if storage is None or storage.count != count:
            raise UserError("the memory of its tensors is not what they say; get it again.")
        storage.fill(file.read(count * storage.dtype.itemsize))
    return content


def _next_pickle(file: BinaryIO) -> bytes:
    """The bytes of the pickle at the file's position, and the position after it."""
    start = file.tell()
    for _ in pickletools.genops(file):
        if file.tell() - start > _PICKLE_LIMIT:
            raise UserError("its pickle is larger than the names of tensors are.")
    length = file.tell() - start
    file.seek(start)
    return file.read(length)


def _same(storage: _Storage, kind: _Kind, count: int) -> _Storage:
    if storage.dtype != kind.dtype or storage.count != count:
        raise UserError("two of its tensors disagree about their memory.")
    return storage
