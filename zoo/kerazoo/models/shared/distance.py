"""How deep every pixel lies in its object."""

from __future__ import annotations

import math

import numba
import numpy as np

TABLE_LIMIT = 1 << 22
"""Label images with greater labels are numbered anew."""


def edge_distances(labels: np.ndarray) -> np.ndarray:
    """Distance to the nearest pixel of another label, divided by its maximum over the object.

    Parameters
    ----------
    labels
        Label image (y, x), integer; 0 is background, as are negative labels. Each label is one object.

    Returns
    -------
    numpy.ndarray
        float32 (y, x), between 0 and 1; 0 in the background. The edge of the image is no boundary.
    """
    dense = np.ascontiguousarray(numbered(labels))
    distances = np.empty(dense.shape, np.float32)
    _fill(dense, int(dense.max(initial=0)), distances)
    return distances


def numbered(labels: np.ndarray) -> np.ndarray:
    """Labels as int32 without negative ones, numbered anew where they are great."""
    if labels.size == 0 or labels.max() < TABLE_LIMIT:
        return np.maximum(labels, 0).astype(np.int32)
    positive = np.maximum(labels, 0)
    return np.unique(np.append(positive, 0), return_inverse=True)[1][:-1].reshape(labels.shape).astype(np.int32)


@numba.njit(nogil=True, cache=True)
def _fill(labels, greatest, distances):
    """Exact distance to the nearest pixel of another label (Felzenszwalb and Huttenlocher 2012), normalised."""
    height, width = labels.shape
    far = np.float64(4.0 * (height + width + 2) ** 2)
    square = np.empty((height, width), np.float64)
    constant = True
    for y in range(height):
        for x in range(width):
            constant = constant and labels[y, x] == labels[0, 0]
    for x in range(width):
        # A constant image has no edge inside: then, and only then, the edge of the image is one.
        run = 0.0 if constant else np.sqrt(far)
        for y in range(height):
            run = 1.0 if y > 0 and labels[y, x] != labels[y - 1, x] else run + 1.0
            square[y, x] = run
        run = 0.0 if constant else np.sqrt(far)
        for y in range(height - 1, -1, -1):
            run = 1.0 if y < height - 1 and labels[y, x] != labels[y + 1, x] else run + 1.0
            square[y, x] = min(square[y, x], run) ** 2
    place = np.empty(width + 2, np.int64)
    value = np.empty(width + 2, np.float64)
    start = np.empty(width + 3, np.float64)
    greatest_of = np.zeros(greatest + 1, np.float64)
    for y in range(height):
        first = 0
        while first < width:
            label, last = labels[y, first], first
            while last + 1 < width and labels[y, last + 1] == label:
                last += 1
            if label > 0:
                count = 0
                for x in range(first - 1, last + 2):
                    if x < first or x > last:
                        if (x < 0 or x >= width) and not constant:
                            continue
                        height_here = 0.0
                    else:
                        height_here = square[y, x]
                    while count > 0:
                        before = place[count - 1]
                        crossing = (height_here + x * x - value[count - 1] - before * before) / (2.0 * (x - before))
                        if crossing > start[count - 1]:
                            break
                        count -= 1
                    start[count] = -np.inf if count == 0 else crossing
                    place[count], value[count] = x, height_here
                    count += 1
                start[count] = np.inf
                k = 0
                for x in range(first, last + 1):
                    while start[k + 1] < x:
                        k += 1
                    distance = math.sqrt(value[k] + (x - place[k]) ** 2)
                    distances[y, x] = distance
                    greatest_of[label] = max(greatest_of[label], distance)
            else:
                distances[y, first : last + 1] = 0
            first = last + 1
    for y in range(height):
        for x in range(width):
            if labels[y, x] > 0:
                distances[y, x] = distances[y, x] / (greatest_of[labels[y, x]] + 1e-10)
