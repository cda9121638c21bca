"""Test tensors and sample tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bmzpack.bundle.contents import Contents
from bmzpack.bundle.data_files import load_array, opened_picture
from bmzpack.bundle.described import DescribedTensor
from bmzpack.consumers.findings import Occurrence

SAME = 1e-5
"""Sample and test tensors that differ by less of the range are the same."""
DTYPES = {"bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "float32", "float64"}
"""Data types of the specification."""
LARGEST_SORTED = 2**22
"""Values that are compared at once."""
MOST_PIECES = 16
"""So many such pieces of an array are looked at."""
LARGEST_PICTURE = 2**25
"""Pixels of a sample picture that is compared."""


def sample_tensors_that_differ(contents: Contents) -> Iterator[Occurrence]:
    """Sample tensors that hold other data than the test tensors."""
    for tensor in contents.tensors:
        sample, test = contents.local(tensor.sample), contents.local(tensor.test)
        if sample is None or test is None or sample == test:
            continue
        one, other = read_picture(sample), load_array(test)
        if one is None or not isinstance(other, np.ndarray) or other.dtype.kind not in "uifb":
            continue
        if not _same_values(one, other):
            yield Occurrence(f"{tensor.place}.sample_tensor", f"{sample.name} holds other values than {test.name}.")


def _same_values(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays hold the same, axes of length 1 aside; pictures may have their axes in another order."""
    one, other = np.squeeze(one), np.squeeze(other)
    if one.size != other.size:
        return False
    if one.shape != other.shape:
        if one.size > LARGEST_SORTED:
            return True
        one, other = np.sort(one, None), np.sort(other, None)
    one, other = one.reshape(-1), other.reshape(-1)
    pieces = [*_pieces(one.size)]
    allowed = SAME * max(
        max((float(np.ptp(np.asarray(other[piece], np.float64))) for piece in pieces), default=0), 1e-12
    )
    return all(
        bool((np.abs(np.subtract(one[piece], other[piece], dtype=np.float64)) <= allowed).all()) for piece in pieces
    )


def read_picture(path: Path) -> np.ndarray | None:
    """An ``.npy`` file or a picture, as numbers; None where it is neither, or too large a picture."""
    if path.suffix == ".npy":
        array = load_array(path)
        return array if isinstance(array, np.ndarray) and array.dtype.kind in "uifb" else None
    with opened_picture(path) as picture:
        if picture is None or picture.width * picture.height > LARGEST_PICTURE:
            return None
        try:
            return np.asarray(picture)
        except (OSError, ValueError, SyntaxError):
            return None


def unfit_test_tensors(contents: Contents) -> Iterator[Occurrence]:
    """Test tensors that are missing, cannot be read, are not finite or do not fit the axes."""
    for tensor in contents.tensors:
        place = f"{tensor.place}.test_tensor"
        if tensor.test is None:
            yield Occurrence(place, f"{tensor.id} has no test tensor.")
            continue
        array = contents.array(tensor)
        if isinstance(array, str):
            yield Occurrence(place, f"{tensor.test} cannot be read: {array}.")
        elif array is not None:
            yield from _misfits(contents, tensor, array, place)


def _sizes(contents: Contents, tensor: DescribedTensor, shape: Sequence[int], place: str) -> Iterator[Occurrence]:
    """Sizes of a test output that do not follow those of the test input."""
    for axis, size in zip(tensor.axes, shape, strict=True):
        found = contents.referred(axis)
        other = contents.array(found[0]) if found else None
        if found is None or not isinstance(other, np.ndarray) or other.ndim != len(found[0].axes):
            continue
        expected = int(other.shape[found[0].axes.index(found[1])] * contents.ratio(axis) + axis.offset + 1e-6)
        if size != expected:
            yield Occurrence(place, f"{tensor.test} has {size} along {axis.id}, where {expected} are to be expected.")


def _pieces(size: int) -> Iterator[slice]:
    """Pieces of a flat array: all of it, or of a very large one some that are spread evenly."""
    count = -(-size // LARGEST_SORTED)
    for n in np.unique(np.linspace(0, max(count - 1, 0), min(count, MOST_PIECES)).astype(int)):
        yield slice(int(n) * LARGEST_SORTED, (int(n) + 1) * LARGEST_SORTED)


def _is_finite(array: np.ndarray) -> bool:
    """Whether no value is NaN or infinite."""
    flat = array.reshape(-1, order="A")
    return all(bool(np.isfinite(flat[piece]).all()) for piece in _pieces(flat.size))


def _misfits(contents: Contents, tensor: DescribedTensor, array: np.ndarray, place: str) -> Iterator[Occurrence]:
    if array.ndim != len(tensor.axes):
        yield Occurrence(
            place, f"{tensor.test} has {array.ndim} axes, but {tensor.id} has {len(tensor.axes)}: {tensor.ids}."
        )
        return
    for axis, size in zip(tensor.axes, array.shape, strict=True):
        if axis.size is not None and size != axis.size:
            yield Occurrence(place, f"{tensor.test} has {size} along {axis.id}, where {axis.size} is declared.")
        elif axis.minimum is not None and (size < axis.minimum or (axis.step and (size - axis.minimum) % axis.step)):
            yield Occurrence(
                place, f"{tensor.test} has {size} along {axis.id}, which is not {axis.minimum} + n x {axis.step}."
            )
    yield from _sizes(contents, tensor, array.shape, place)
    if array.dtype.kind not in "uifb":
        yield Occurrence(place, f"{tensor.test} holds no numbers, but {array.dtype}.")
    elif array.size == 0:
        yield Occurrence(place, f"{tensor.test} holds no values.")
    elif array.dtype.kind == "f" and not _is_finite(array):
        yield Occurrence(place, f"{tensor.test} holds NaN or infinite values.")
    elif tensor.dtype in DTYPES and array.dtype != np.dtype(tensor.dtype):
        yield Occurrence(place, f"{tensor.test} is {array.dtype}, but {tensor.id} is declared as {tensor.dtype}.")
