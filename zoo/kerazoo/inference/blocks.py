"""Objects of images that are too large to be decoded at once: block by block, joined where blocks overlap."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

BLOCK = 2048
"""Side of the blocks in pixels."""
CONTEXT = 256
"""So many pixels around a block are decoded with it. Objects smaller than this come out as if decoded at once."""


def objects_in_blocks(
    shape: tuple[int, int], objects: Callable[[slice, slice], np.ndarray], block: int = BLOCK, context: int = CONTEXT
) -> np.ndarray:
    """Find objects with the memory of one block.

    Each block is decoded together with its surroundings, part of which has been decided by the blocks before it. An
    object that shares there more than half of its pixels with a known one, and more than half of the known one's, is
    that object, however large it is.

    Parameters
    ----------
    shape
        Height and width of the image in pixels.
    objects
        From rows and columns of the image to the label image of this part, int32 without gaps.
    block, context
        Pixels, see `BLOCK` and `CONTEXT`.

    Returns
    -------
    numpy.ndarray
        Labels without gaps, int32 (y, x).
    """
    height, width = shape
    if height * width <= (block + 2 * context) ** 2:
        return objects(slice(0, height), slice(0, width))
    labels = np.zeros(shape, np.int32)
    count = 0
    for top, left in itertools.product(range(0, height, block), range(0, width, block)):
        y, x = max(top - context, 0), max(left - context, 0)
        found = objects(slice(y, min(top + block + context, height)), slice(x, min(left + block + context, width)))
        core = np.s_[top - y : top - y + block, left - x : left - x + block]
        decided = [np.s_[: top - y], np.s_[top - y : top - y + block, : left - x]]
        known = labels[y:, x:][: found.shape[0], : found.shape[1]]
        table = _same(
            np.concatenate([found[part].ravel() for part in decided]),
            np.concatenate([known[part].ravel() for part in decided]),
            int(found.max()),
        )
        new = np.setdiff1d(found[core], np.append(np.nonzero(table)[0], 0))
        table[new] = np.arange(count + 1, count + 1 + len(new))
        count += len(new)
        known[core] = table[found[core]]
    return labels


def _same(found: np.ndarray, known: np.ndarray, largest: int) -> np.ndarray:
    """The known label of every found one, 0 where there is none."""
    table = np.zeros(largest + 1, np.int32)
    shared, sizes = np.unique(np.stack([found, known])[:, (found > 0) & (known > 0)], axis=1, return_counts=True)
    values, totals = np.unique(known, return_counts=True)
    known_sizes = totals[np.searchsorted(values, shared[1])]
    found_sizes = np.bincount(found)[shared[0]]
    same = 2 * sizes > np.maximum(found_sizes, known_sizes)
    table[shared[0][same]] = shared[1][same]
    return table
