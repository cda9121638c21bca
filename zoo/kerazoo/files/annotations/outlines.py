"""Outlines of the objects of a label image, along the edges of its pixels: drawn again, they give the same pixels."""

from __future__ import annotations

import numpy as np
import scipy.ndimage

_AHEAD = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
"""Steps (x, y) to the right, down, left and up: an object lies on the right hand."""

Outlines = dict[int, list[list[np.ndarray]]]
"""By label its parts, each an outer ring and those of its holes; see `outlines`."""


def outlines(labels: np.ndarray) -> Outlines:
    """The outlines of all objects.

    Parameters
    ----------
    labels
        Integer (y, x); 0 is background.

    Returns
    -------
    dict
        By label, ascending: parts that are connected by the sides of pixels, each its outer ring and those of its
        holes, int (corner, 2) with x and y of the corners, without the first one again. Outer rings run clockwise on
        the screen, holes the other way.
    """
    found = {}
    values = np.unique(labels)
    values = values[values != 0]
    numbered = np.searchsorted(values, labels, side="left") + 1
    numbered[labels == 0] = 0
    for number, box in enumerate(scipy.ndimage.find_objects(numbered)):
        rings = _rings(numbered[box] == number + 1)
        offset = np.array([box[1].start, box[0].start])
        found[int(values[number])] = [[ring + offset for ring in part] for part in _parts(rings)]
    return found


def _rings(inside: np.ndarray) -> list[np.ndarray]:
    padded = np.pad(inside, 1)
    starts, directions = [], []
    above, left = padded[:-1, 1:-1], padded[1:-1, :-1]
    below, right = padded[1:, 1:-1], padded[1:-1, 1:]
    edges = (
        (~above & below, (0, 0)),  # along the upper side of a pixel, to the right
        (left & ~right, (0, 0)),  # along its right side, down
        (above & ~below, (1, 0)),  # along its lower side, to the left
        (~left & right, (0, 1)),  # along its left side, up
    )
    for direction, (present, (dx, dy)) in enumerate(edges):
        y, x = np.nonzero(present)
        starts.append(np.stack([x + dx, y + dy], axis=1))
        directions.append(np.full(len(x), direction))
    start, direction = np.concatenate(starts), np.concatenate(directions)
    width = inside.shape[1] + 2
    at = {
        (int(key), int(way)): number
        for number, (key, way) in enumerate(zip(start @ (1, width), direction, strict=True))
    }
    ends = (start + _AHEAD[direction]) @ (1, width)
    ways = direction.tolist()
    follows = [
        # a turn to the right first: parts that touch at a corner only are rings of their own
        next(at[key, turn] for turn in ((way + 1) % 4, way, (way + 3) % 4) if (key, turn) in at)
        for key, way in zip(ends.tolist(), ways, strict=True)
    ]
    rings, left_over = [], np.ones(len(ways), bool)
    for first in range(len(ways)):
        if not left_over[first]:
            continue
        corners, number = [], first
        while left_over[number]:
            left_over[number] = False
            if ways[follows[number]] != ways[number]:
                corners.append(follows[number])
            number = follows[number]
        rings.append(start[corners])
    return rings


def _parts(rings: list[np.ndarray]) -> list[list[np.ndarray]]:
    """Every outer ring with its holes."""
    areas = [_area(ring) for ring in rings]
    outer = [[ring] for ring, area in zip(rings, areas, strict=True) if area > 0]
    sizes = [area for area in areas if area > 0]
    for ring, area in zip(rings, areas, strict=True):
        if area < 0:
            around = [number for number, part in enumerate(outer) if len(outer) == 1 or _encloses(part[0], ring)]
            outer[min(around, key=sizes.__getitem__)].append(ring)
    return outer


def _area(ring: np.ndarray) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _encloses(outer: np.ndarray, hole: np.ndarray) -> bool:
    """Whether a ring encloses the first corner of a hole: seen from half a pixel within the hole's edge."""
    x, y = hole[:2].mean(axis=0)  # the middle of an edge of the hole, which no other ring has
    next_corner = np.roll(outer, -1, axis=0)
    crossed = (outer[:, 1] > y + 0.25) != (next_corner[:, 1] > y + 0.25)
    return bool((crossed & (outer[:, 0] > x + 0.25)).sum() % 2)
