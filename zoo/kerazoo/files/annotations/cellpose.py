"""The files `_seg.npy` of the Cellpose interface: a pickled dict, of which the masks are read and nothing is run."""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from bmzpack.errors import UserError
from kerazoo.files.pictures import decoding


def read_seg(path: Path) -> np.ndarray:
    """The masks of a `_seg.npy` file.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    numpy.ndarray
        Label image, integer (y, x).

    Raises
    ------
    UserError
        The file is damaged, holds no dict with `masks`, or masks of a stack.
    """
    with decoding(path), path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        content = _load(file.read()) if read_header(file)[2].hasobject else None
        if isinstance(content, _Array) and isinstance(content.content, list) and len(content.content) == 1:
            content = content.content[0]
        masks = content.get("masks") if isinstance(content, dict) else None
        if not isinstance(masks, _Array):
            raise UserError(f"{path} holds no masks: save it in the Cellpose interface, or export its masks as PNG.")
        labels = masks.array()
    if labels.ndim != 2:
        raise UserError(
            f"{path} holds the masks of a stack ({' x '.join(map(str, labels.shape))}): save single planes."
        )
    return labels


class _Ignored:
    """Stands for whatever a pickle asks for that is no array: made of anything, it does nothing."""

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _Type:
    """The type of an array's values."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        self._code, self._order = str(code), "="

    def __setstate__(self, state: Any) -> None:
        self._order = str(state[1])

    def dtype(self) -> np.dtype:
        dtype = np.dtype(self._code)
        if dtype.kind not in "biuf":
            raise UserError(f"its masks have values of type {self._code}.")
        return dtype.newbyteorder("=" if self._order == "|" else self._order)  # type: ignore[arg-type]


class _Array:
    """An array that is not built before it is asked for."""

    content: Any = None

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        _, self._shape, self._type, self._by_columns, self.content = state

    def array(self) -> np.ndarray:
        values = np.frombuffer(self.content, self._type.dtype())
        if math.prod(self._shape) != values.size:
            raise UserError("its masks are not as large as they say.")
        return values.reshape(self._shape, order="F" if self._by_columns else "C")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in ("_reconstruct", "dtype"):
            return _Array if name == "_reconstruct" else _Type
        return _Ignored

    def persistent_load(self, identity: Any) -> Any:
        return None


def _load(content: bytes) -> Any:
    for instruction, argument, _ in pickletools.genops(content):
        # The memo is an array: a large number in a small file would take all memory.
        if instruction.name == "LONG_BINPUT" and (argument or 0) > len(content):
            raise UserError("its pickle numbers what it does not hold.")
    return _Unpickler(io.BytesIO(content), encoding="latin1").load()
