"""Objects from masks: touching objects are separated where a neck is narrower than what it joins."""

from __future__ import annotations

import cv2
import numpy as np
from skimage.segmentation import watershed

SMOOTHING = 1.0
"""Standard deviation in pixels of the blur that takes the pixel grid out of the distances."""


def separate(interior: np.ndarray, foreground: np.ndarray, neck: float = 0.8) -> np.ndarray:
    """Find objects in an interior mask, separate those that touch, and grow them over the foreground.

    The landscape is the distance to the interior's edge, positive inside and negative outside. Its hills are found by
    one watershed; two hills whose saddle is nearly as high as the lower one are the same object, which is the
    h-maxima transform of the logarithm of the distance and does not depend on the size of the objects. The same
    watershed gives every foreground pixel outside the interior to the object that is nearest to it within the
    foreground. Foreground without any interior is an object of its own.

    Parameters
    ----------
    interior
        Where objects surely are, bool (y, x), inside the foreground.
    foreground
        Where objects may be, bool (y, x).
    neck
        Two bodies are one object where the neck between them is at least this part of the smaller one's width.

    Returns
    -------
    numpy.ndarray
        Positive labels, with gaps, 0 elsewhere, int32 (y, x).
    """
    height = _distance(interior)
    cv2.GaussianBlur(height, (0, 0), SMOOTHING, dst=height)
    height[~interior] = 0
    # Equal neighbours on a slope are peaks too here; merging takes them away again.
    peaks = interior & (height == cv2.dilate(height, np.ones((3, 3), np.uint8)))
    count, seeds = components(peaks, connectivity=8)
    count, seeds = _add_unseeded(foreground, seeds, count)
    hills = watershed(_distance(~interior) - height, seeds, mask=foreground)
    return _merge(hills, height, count, neck)


def fill_holes(labels: np.ndarray) -> np.ndarray:
    """Fill every hole that lies within a single object.

    Parameters
    ----------
    labels
        Label image, int32 (y, x).

    Returns
    -------
    numpy.ndarray
        A label image of the same shape and dtype.
    """
    count, parts = components(labels == 0, connectivity=4)
    inside = np.ones(count, bool)
    inside[0] = False
    for rim in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        inside[rim] = False
    y, x = np.nonzero(inside[parts])
    if not y.size:
        return labels
    part = parts[y, x]
    lowest, highest = np.full(count, np.iinfo(np.int32).max), np.zeros(count, np.int64)
    for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        neighbour = labels[y + dy, x + dx]
        touching = neighbour > 0
        np.minimum.at(lowest, part[touching], neighbour[touching])
        np.maximum.at(highest, part[touching], neighbour[touching])
    filled = labels.copy()
    filled[y, x] = np.where(lowest == highest, highest, 0)[part]
    return filled


ROWS = 512
"""Rows of an image that are searched together where memory matters."""


def remove_small(labels: np.ndarray, minimum_size: int, out: np.ndarray | None = None) -> np.ndarray:
    """Remove objects of fewer pixels than ``minimum_size``; the other labels become 1, 2, ... in their order.

    The result goes into ``out``, which may be ``labels``, or into a new array, int32 (y, x).
    """
    out = np.empty(labels.shape, np.int32) if out is None else out
    # row by row, for `bincount` and indexing make arrays of eight bytes per pixel
    parts = [slice(top, top + ROWS) for top in range(0, len(labels), ROWS)]
    area = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    for rows in parts:
        area += np.bincount(labels[rows].ravel(), minlength=len(area))
    keep = area >= max(minimum_size, 1)
    keep[0] = False
    table = np.zeros(len(keep), np.int32)
    table[keep] = np.arange(1, keep.sum() + 1)
    for rows in parts:
        out[rows] = table[labels[rows]]
    return out


def components(mask: np.ndarray, connectivity: int) -> tuple[int, np.ndarray]:
    """Number the connected parts of a mask: their count, the rest of the image included, and labels from 0, int32."""
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=connectivity)
    return count, np.asarray(parts, np.int32)


def _distance(mask: np.ndarray) -> np.ndarray:
    """Distance of every pixel of the mask to the next pixel outside, float32; where there is none: all equal."""
    if mask.all():
        return np.ones(mask.shape, np.float32)
    # OpenCV's rounding varies from call to call, which moves peaks; squared distances are whole numbers.
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.sqrt(np.rint(np.square(distance)))


def _add_unseeded(foreground: np.ndarray, seeds: np.ndarray, count: int) -> tuple[int, np.ndarray]:
    parts_count, parts = components(foreground, connectivity=4)
    unseeded = np.ones(parts_count, bool)
    unseeded[0] = False
    unseeded[parts[seeds > 0]] = False
    table = np.zeros(parts_count, np.int32)
    table[unseeded] = np.arange(count, count + unseeded.sum())
    return count + int(unseeded.sum()), np.maximum(seeds, table[parts])


def _merge(hills: np.ndarray, height: np.ndarray, count: int, neck: float) -> np.ndarray:
    peak = np.zeros(count, np.float32)
    np.maximum.at(peak, hills.ravel(), height.ravel())
    root = np.arange(count)

    def find(hill: int) -> int:
        while root[hill] != hill:
            root[hill] = root[root[hill]]
            hill = root[hill]
        return hill

    for first, second, saddle in zip(*_saddles(hills, height, peak, neck), strict=True):
        a, b = find(first), find(second)
        if a != b and saddle >= neck * min(peak[a], peak[b]):
            low, high = (a, b) if peak[a] < peak[b] else (b, a)
            root[low] = high
    return np.array([find(hill) for hill in range(count)], np.int32)[hills]


def _saddles(
    hills: np.ndarray, height: np.ndarray, peak: np.ndarray, neck: float
) -> tuple[list[int], list[int], list[float]]:
    """Pairs of neighbouring hills that may be one object, with the height of the pass between them, highest first."""
    pairs, passes = [], []
    for one, other in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:-1, :-1], np.s_[1:, 1:]),
        (np.s_[:-1, 1:], np.s_[1:, :-1]),
    ):
        meet = np.nonzero((hills[one] != hills[other]) & (height[one] > 0) & (height[other] > 0))
        a, b = hills[one][meet], hills[other][meet]
        pairs.append(np.minimum(a, b).astype(np.int64) * len(peak) + np.maximum(a, b))
        passes.append(np.minimum(height[one][meet], height[other][meet]))
    pair, height_of = np.concatenate(pairs), np.concatenate(passes)
    order = np.lexsort((-height_of, pair))
    pair, first = np.unique(pair[order], return_index=True)
    saddle = height_of[order][first]
    a, b = np.divmod(pair, len(peak))
    # Hills only grow by merging, so a pass that is too low now stays so.
    wide = saddle >= neck * np.minimum(peak[a], peak[b])
    a, b, saddle = a[wide], b[wide], saddle[wide]
    order = np.argsort(-saddle, kind="stable")
    return a[order].tolist(), b[order].tolist(), saddle[order].tolist()
