"""How a picture is shown: its orientation, whether zero is white, and the colours of its palette."""

from __future__ import annotations

from typing import Any

import numpy as np
import tifffile

ORIENTATION = 274
"""The tag of TIFF and Exif."""


def turned(plane: np.ndarray, orientation: int) -> np.ndarray:
    """A plane as viewers show it.

    Parameters
    ----------
    plane
        (y, x) or (y, x, channel).
    orientation
        1 to 8, as the tag `Orientation` of TIFF 6.0 and Exif has it; others count as 1.
    """
    if orientation in (5, 6, 7, 8):
        plane = np.swapaxes(plane, 0, 1)
    if orientation in (2, 3, 6, 7):
        plane = plane[:, ::-1]
    if orientation in (3, 4, 7, 8):
        plane = plane[::-1]
    return plane


def is_on_its_side(orientation: int) -> bool:
    """Whether height and width change places."""
    return orientation in (5, 6, 7, 8)


def page_orientation(page: Any) -> int:
    """That of a TIFF page; 1 where it states none."""
    tag = page.tags.get(ORIENTATION)
    return int(tag.value) if tag is not None else 1


def black_is_zero(values: np.ndarray, page: Any) -> np.ndarray:
    """The values of a TIFF page, inverted where its zero is white; float values are left as they are."""
    if page.photometric != tifffile.PHOTOMETRIC.MINISWHITE or values.dtype.kind not in "bu":
        return values
    if values.dtype == bool:
        # tifffile calls every bool array so unless told otherwise: what was True must stay so
        return values if page.software == "tifffile.py" else ~values
    return (1 << page.bitspersample) - 1 - values


def palette_of(page: Any) -> np.ndarray | None:
    """The colours of a TIFF page's palette, uint8 (entry, 3).

    None where it has none, or where it is a lookup table that only tints intensities: red, green and blue rise with
    them.
    """
    if page.photometric != tifffile.PHOTOMETRIC.PALETTE or page.colormap is None:
        return None
    colours = np.asarray(page.colormap).T
    if (np.diff(colours.astype(np.int64), axis=0) >= 0).all():
        return None
    return (colours >> 8 if colours.dtype == np.uint16 else colours).astype(np.uint8)
