"""Results as TIFF files that Fiji opens with the right axes and pixel size."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from bmzpack.errors import UserError
from kerazoo.files.legend import image_info, lookup_table

_IMAGEJ_ORDER = "TZCYX"
_IMAGEJ_TYPES = (np.uint8, np.uint16, np.float32)
_ROWS = 512


def create_tiff(
    path: str | Path,
    axes: str,
    shape: tuple[int, ...],
    dtype: Any,
    pixel_size: tuple[float, float] | None = None,
    metadata: dict[str, Any] | None = None,
    classes: Sequence[str] | None = None,
) -> np.ndarray:
    """Create an uncompressed ImageJ TIFF on disk, to be filled part by part through the array that is returned.

    Parameters
    ----------
    path
        The file; it is replaced. Write within `bmzpack.files.new_file`, so that only a complete file appears.
    axes
        The axes of the array in the caller's order: ``Y``, ``X`` and any of ``T``, ``Z``, ``C``. The file has them in
        ImageJ's order.
    shape
        One length per axis.
    dtype
        uint8, uint16 or float32; ImageJ has no others.
    pixel_size
        (y, x) in micrometres.
    metadata
        `spacing` in micrometres and `finterval` in seconds, as `kerazoo.files.read.Stack` gives them.
    classes
        Of a class map: the names of its values from 0 on. The file gets them and their colours.

    Returns
    -------
    np.ndarray
        A view of the file, its axes in the caller's order; the file is complete when the array is deleted.

    Raises
    ------
    UserError
        The type or an axis is not one of ImageJ's.
    OSError
        The disk is full: its space is claimed at once.
    """
    if np.dtype(dtype) not in [np.dtype(known) for known in _IMAGEJ_TYPES]:
        raise UserError(f"{path}: ImageJ TIFFs hold uint8, uint16 or float32 values, not {np.dtype(dtype)}.")
    if not {"Y", "X"} <= set(axes) <= set(_IMAGEJ_ORDER):
        raise UserError(f"{path}: the axes {axes} cannot be written; use T, Z, C, Y and X, state them with --axes.")
    order = sorted(range(len(axes)), key=lambda place: _IMAGEJ_ORDER.index(axes[place]))
    described: dict[str, Any] = {"axes": "".join(axes[place] for place in order), **(metadata or {})}
    resolution = None
    if pixel_size is not None:
        described["unit"] = "um"
        resolution = (1 / pixel_size[1], 1 / pixel_size[0])
    elif "spacing" in described:
        del described["spacing"]
    if classes is not None:
        described |= image_info(classes)
    stored = tifffile.memmap(
        path,
        shape=tuple(shape[place] for place in order),
        dtype=dtype,
        imagej=True,
        metadata=described,
        resolution=resolution,
        colormap=None if classes is None else lookup_table(len(classes)),
    )
    if hasattr(os, "posix_fallocate"):  # a full disk is an error now; later, writing to the map would kill the process
        with Path(path).open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, Path(path).stat().st_size)
    return stored.transpose(np.argsort(order))


def fill(part: np.ndarray, values: np.ndarray) -> None:
    """Write into a file that `create_tiff` made, and hold no more than some rows of it in memory.

    Parameters
    ----------
    part
        The array that `create_tiff` returned, or a part of it.
    values
        What is written there, of the same shape.
    """
    file = part
    while isinstance(file, np.ndarray):
        file = file.base
    for top in range(0, len(part), _ROWS):
        part[top : top + _ROWS] = values[top : top + _ROWS]
        # pages of a map count as memory of the process for as long as it is open; Windows cannot give them back
        if isinstance(file, mmap.mmap) and hasattr(file, "madvise"):
            file.madvise(mmap.MADV_DONTNEED)


def label_dtype(largest: int) -> type[np.generic]:
    """The ImageJ type that holds so many labels: uint16, else float32 (exact up to 16,777,216)."""
    return np.uint16 if largest < 1 << 16 else np.float32
