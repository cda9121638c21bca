"""From the maps of all objects to a label image: seeds in the middle of the objects grow over the foreground."""

from __future__ import annotations

import numba
import numpy as np

from kerazoo.models.shared.watershed import components, remove_small

LEVELS = (0.6, 0.7, 0.8, 0.9, 2.0)
"""Seeds grow over pixels whose distance to the boundary is below the first, then over those below the second ..."""


def objects_of_maps(
    maps: np.ndarray, threshold: float = 0.5, seed_threshold: float = 0.5, minimum_size: int = 0
) -> np.ndarray:
    """Find all objects.

    Seeds are where both distances are small. They grow over the foreground, from the middle of the objects outwards
    (`LEVELS`), all by one pixel at a time; where two meet, the lower and further right one gets the pixel. Foreground
    without any seed is an object of its own.

    Parameters
    ----------
    maps
        Foreground, distance to the centre and distance to the boundary (y, x, 3), float32: see
        `kerazoo.models.sam.instances.MAPS`.
    threshold
        Foreground above which a pixel belongs to an object.
    seed_threshold
        Both distances are below it in a seed.
    minimum_size
        Smaller objects are removed, in pixels.

    Returns
    -------
    numpy.ndarray
        Labels without gaps, int32 (y, x).
    """
    foreground = maps[..., 0] > threshold
    labels = seeds_of_maps(maps, threshold, seed_threshold)
    for level in LEVELS:
        _grow(labels, foreground & (maps[..., 2] < level))
    others = _components(foreground & (labels == 0))
    labels[others > 0] = others[others > 0] + labels.max(initial=0)
    return remove_small(labels, minimum_size)


def seeds_of_maps(maps: np.ndarray, threshold: float = 0.5, seed_threshold: float = 0.5) -> np.ndarray:
    """The seeds of `objects_of_maps`, numbered from 1, int32 (y, x)."""
    return _components((maps[..., 0] > threshold) & (maps[..., 1:] < seed_threshold).all(axis=-1))


def _components(mask: np.ndarray) -> np.ndarray:
    """Parts that touch at sides or corners, numbered by their last pixel row by row, int32 (y, x)."""
    count, parts = components(mask, connectivity=8)
    places = np.flatnonzero(parts)
    last = np.zeros(count, np.int64)
    last[parts.ravel()[places]] = places  # the last assignment stays
    numbers = np.zeros(count, np.int32)
    numbers[np.argsort(last[1:]) + 1] = np.arange(1, count)
    return numbers[parts]


@numba.njit(nogil=True, cache=True)
def _grow(labels: np.ndarray, mask: np.ndarray) -> None:
    height, width = labels.shape
    rim = np.flatnonzero(labels.ravel() > 0)
    reached = np.zeros(labels.shape, np.int32)
    while len(rim):
        found = [np.int64(0) for _ in range(0)]
        for place in rim:
            y, x = place // width, place % width
            for ny in range(max(y - 1, 0), min(y + 2, height)):
                for nx in range(max(x - 1, 0), min(x + 2, width)):
                    if mask[ny, nx] and labels[ny, nx] == 0:
                        if reached[ny, nx] == 0:
                            found.append(ny * width + nx)
                        reached[ny, nx] = max(reached[ny, nx], labels[y, x])
        rim = np.array(found)
        for place in rim:
            labels[place // width, place % width] = reached[place // width, place % width]
