"""What the values of masks look like: in how many pieces they lie, how thin these are, which sides they touch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

_TABLE = 1 << 20
"""Up to this value, values are counted in a table."""
WHOLE = 0.8
"""A value is one object if its largest piece has at least this part of its pixels."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pieces:
    """The values of one mask, ascending; one entry of every array belongs to one of them."""

    values: np.ndarray
    counts: np.ndarray
    """Pixels."""
    number: np.ndarray
    """Pieces, connected by sides and corners."""
    largest: np.ndarray
    """Part of the pixels that the largest piece has."""
    interior: np.ndarray
    """Part of the pixels of which all eight neighbours have the same value."""
    sides: np.ndarray
    """How many of the four sides of the image it touches."""

    def of(self, value: int) -> int | None:
        """The place of a value; None where it does not occur."""
        place = int(np.searchsorted(self.values, value))
        return place if place < len(self.values) and self.values[place] == value else None


def counted(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of a mask, ascending, and how many pixels have each.

    Parameters
    ----------
    mask
        Integer or bool, of any shape.
    """
    if mask.dtype.kind == "b" or (mask.size and mask.min() >= 0 and mask.max() < _TABLE):
        counts = np.bincount(mask.ravel())
        values = np.flatnonzero(counts)
        return values, counts[values]
    return np.unique(mask, return_counts=True)


def pieces_of(mask: np.ndarray) -> Pieces:
    """Measure a mask.

    Parameters
    ----------
    mask
        Integer or bool (y, x).
    """
    from skimage.measure import label

    values, counts = counted(mask)
    numbers = np.searchsorted(values, mask).astype(np.int32)
    parts = np.asarray(label(numbers, background=-1, connectivity=2)) - 1
    sizes = np.bincount(parts.ravel())
    owner = np.zeros(len(sizes), np.int64)
    owner[parts.ravel()] = numbers.ravel()
    largest = np.zeros(len(values), np.int64)
    np.maximum.at(largest, owner, sizes)
    # float32 holds all numbers that occur, and OpenCV filters it
    plane, kernel = numbers.astype(np.float32), np.ones((3, 3), np.uint8)
    inner = cv2.erode(plane, kernel) == cv2.dilate(plane, kernel)
    interior = np.bincount(numbers[inner], minlength=len(values))
    edges = (numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1])
    sides = np.sum([np.bincount(edge, minlength=len(values)) > 0 for edge in edges], axis=0)
    number = np.bincount(owner, minlength=len(values))
    return Pieces(values, counts, number, largest / counts, interior / counts, sides)


def whole_share(pieces: Sequence[Pieces], without: Sequence[int] = (0,)) -> float:
    """Part of the values, of all masks together, that are in one piece, specks apart; 1 where there is none.

    Parameters
    ----------
    pieces
        Pieces of each mask.
    without
        Values that do not count.
    """
    kept = [~np.isin(mask.values, without) for mask in pieces]
    whole = np.concatenate([mask.largest[keep] >= WHOLE for mask, keep in zip(pieces, kept, strict=True)])
    return float(whole.mean()) if len(whole) else 1.0
