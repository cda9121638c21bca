"""From flows to objects as in Cellpose: pixels that flow to the same place are one object."""

from __future__ import annotations

import math

import numba
import numpy as np

from kerazoo.models.cellpose.targets import FLOW_SCALE, extents, flow_at, heat_of
from kerazoo.models.shared.watershed import remove_small

FLOW_ITERATIONS = 200
"""Steps along the flows, one pixel each at most, at the size of the image that the network sees."""
LARGEST = 0.4
"""Part of the image beyond which an object is taken for background."""
REACH = 5
"""An object's seed grows so many pixels."""


def find_flow_objects(
    flows: np.ndarray,
    threshold: float = 0.0,
    flow_error: float = 0.4,
    minimum_size: int = 15,
    iterations: int = 200,
) -> np.ndarray:
    """Find the objects in a network's output.

    Parameters
    ----------
    flows
        Vertical flow, horizontal flow (both five times too long) and logit of the cell probability (y, x, 3), float32.
    threshold
        Pixels with a larger logit belong to objects.
    flow_error
        Objects are removed whose flows differ by more from those of their shape (mean squared error per pixel of
        vectors of length 1); 0 for none.
    minimum_size
        Smaller objects are removed, in pixels.
    iterations
        Steps that every pixel takes along the flows.

    Returns
    -------
    numpy.ndarray
        Labels 1, 2, ... of the objects, 0 elsewhere, int32 (y, x).

    Notes
    -----
    Stringer, Wang, Michaelos and Pachitariu (2021), Cellpose: a generalist algorithm for cellular segmentation. The
    official package, once an object has been removed for its flows, takes others than the small ones for small; here
    it is always the small ones that go.
    """
    flows = np.ascontiguousarray(flows, np.float32)
    inside = flows[..., 2] > threshold
    if not inside.any():
        return np.zeros(inside.shape, np.int32)
    labels = cluster(integrate(flows, inside, iterations), inside)
    if flow_error > 0:
        labels = remove_inconsistent(labels, flows, flow_error)
    labels = fill_enclosed(remove_small(labels, minimum_size))
    return remove_small(labels, minimum_size)


def logit(probability: float) -> float:
    """The value whose sigmoid is the probability; infinite for 0 and 1."""
    if not 0 < probability < 1:
        return math.copysign(math.inf, probability - 0.5)
    return math.log(probability / (1 - probability))


def integrate(flows: np.ndarray, inside: np.ndarray, iterations: int) -> np.ndarray:
    """Let pixels drift along the flows, in steps of one unit of time.

    Parameters
    ----------
    flows
        As for `find_flow_objects`; only the first two channels are used, and only inside: elsewhere nothing moves.
    inside
        The pixels that start, bool (y, x).
    iterations
        Number of steps.

    Returns
    -------
    numpy.ndarray
        Where each of the pixels ends, in the order of ``np.nonzero(inside)``: y and x in pixels, float32 (pixel, 2).
    """
    field = np.where(inside[..., None] & np.isfinite(flows[..., :2]), flows[..., :2], np.float32(0))
    field /= np.float32(FLOW_SCALE)
    ends = np.argwhere(inside).astype(np.float32)
    if len(ends):
        _drift(field, ends, iterations)
    return ends


def cluster(ends: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Give pixels that end near each other one label.

    Where more than ten pixels end, and nowhere within two pixels more of them, is the seed of an object. It grows five
    times to neighbours in which more than two pixels end; where seeds meet, the one with more pixels wins.

    Parameters
    ----------
    ends
        Of `integrate`, float32 (pixel, 2).
    inside
        The pixels that started, bool (y, x).

    Returns
    -------
    numpy.ndarray
        Labels 1, 2, ... in the order in which objects first appear in the image, 0 elsewhere, int32 (y, x).
    """
    labels = np.zeros(inside.shape, np.int32)
    labels[inside] = _clusters(ends, *inside.shape)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    values, first = np.unique(labels, return_index=True)
    kept = (values > 0) & (areas[values] <= LARGEST * labels.size)
    values = values[kept][np.argsort(first[kept])]
    table = np.zeros(len(areas), np.int32)
    table[values] = np.arange(1, len(values) + 1)
    return table[labels]


def remove_inconsistent(labels: np.ndarray, flows: np.ndarray, flow_error: float) -> np.ndarray:
    """Remove the objects whose flows are not those that the network would have learned for their shape.

    Parameters
    ----------
    labels
        Label image, int32 (y, x).
    flows
        As for `find_flow_objects`; only the first two channels are used.
    flow_error
        The largest mean squared error that is tolerated.

    Returns
    -------
    numpy.ndarray
        The label image without them; the others keep their labels.
    """
    keep = flow_errors(labels, flows) <= flow_error
    keep[0] = False
    return np.where(keep[labels], labels, 0)


def flow_errors(labels: np.ndarray, flows: np.ndarray) -> np.ndarray:
    """Mean squared error between the flows of a network and those of the objects' shapes.

    Parameters
    ----------
    labels
        Label image, int32 (y, x).
    flows
        As for `find_flow_objects`; only the first two channels are used.

    Returns
    -------
    numpy.ndarray
        One error per label from 0 on, 0 where there is no object, float64.
    """
    labels = np.ascontiguousarray(labels, np.int32)
    boxes = extents(labels, int(labels.max()))
    return _errors(labels, boxes, np.ascontiguousarray(flows[..., :2], np.float32) / np.float32(FLOW_SCALE))


def fill_enclosed(labels: np.ndarray) -> np.ndarray:
    """Give every object all that it encloses, other objects included.

    Parameters
    ----------
    labels
        Label image, int32 (y, x).

    Returns
    -------
    numpy.ndarray
        The label image, int32; labels may be missing.
    """
    filled = np.array(labels, np.int32, order="C")
    if filled.any():
        _fill(filled, extents(filled, int(filled.max())))
    return filled


@numba.njit(nogil=True, cache=True, inline="always")
def _step(field, y, x):
    """One Euler step with bilinear interpolation, to the last bit as in the official package.

    There, as here, some products are float32 and others float64: a pixel on a watershed goes where the last bit leads.
    """
    last_y, last_x = field.shape[0] - 1, field.shape[1] - 1
    top, left = int(y), int(x)
    bottom, right = min(top + 1, last_y), min(left + 1, last_x)
    down, along = y - np.float32(top), x - np.float32(left)
    up, back = 1.0 - np.float64(down), 1.0 - np.float64(along)
    move_y = np.float32(
        field[top, left, 0] * up * back
        + field[top, right, 0] * up * along
        + field[bottom, left, 0] * down * back
        + field[bottom, right, 0] * down * along
    )
    move_x = np.float32(
        field[top, left, 1] * up * back
        + field[top, right, 1] * up * along
        + field[bottom, left, 1] * down * back
        + field[bottom, right, 1] * down * along
    )
    new_y = min(np.float32(last_y), max(np.float32(0), y + move_y))
    new_x = min(np.float32(last_x), max(np.float32(0), x + move_x))
    return new_y, new_x


@numba.njit(parallel=True, nogil=True, cache=True)
def _drift(field: np.ndarray, ends: np.ndarray, iterations: int) -> None:
    for pixel in numba.prange(len(ends)):
        y, x = ends[pixel, 0], ends[pixel, 1]
        seen_y, seen_x, since, period = y, x, 0, 1
        left = iterations
        while left > 0:
            y, x = _step(field, y, x)
            left -= 1
            since += 1
            if y == seen_y and x == seen_x:
                # The pixel rests, or goes round: only the steps after the last whole round still count.
                left %= since
            if since == period:
                seen_y, seen_x, since, period = y, x, 0, min(2 * period, 8)
        ends[pixel, 0], ends[pixel, 1] = y, x


@numba.njit(nogil=True, cache=True)
def _clusters(ends: np.ndarray, rows: int, columns: int) -> np.ndarray:
    count = np.zeros((rows, columns), np.int32)
    for pixel in range(len(ends)):
        count[int(ends[pixel, 0]), int(ends[pixel, 1])] += 1

    seeds = []
    for y in range(rows):
        for x in range(columns):
            if count[y, x] > 10 and _is_summit(count, y, x):
                seeds.append((y, x))
    sizes = np.array([count[y, x] for y, x in seeds])

    place = np.zeros((rows, columns), np.int32)
    for label, seed in enumerate(np.argsort(sizes, kind="mergesort")):
        y, x = seeds[seed]
        _grow(count, y, x, label + 1, place)
    labels = np.empty(len(ends), np.int32)
    for pixel in range(len(ends)):
        labels[pixel] = place[int(ends[pixel, 0]), int(ends[pixel, 1])]
    return labels


@numba.njit(nogil=True, cache=True)
def _is_summit(count: np.ndarray, y: int, x: int) -> bool:
    for near_y in range(max(y - 2, 0), min(y + 3, count.shape[0])):
        for near_x in range(max(x - 2, 0), min(x + 3, count.shape[1])):
            if count[near_y, near_x] > count[y, x]:
                return False
    return True


@numba.njit(nogil=True, cache=True)
def _grow(count: np.ndarray, y: int, x: int, label: int, place: np.ndarray) -> None:
    reached = np.zeros((13, 13), np.bool_)
    reached[6, 6] = True
    place[y, x] = label
    for _ in range(REACH):
        before = reached.copy()
        for row in range(1, 12):
            for column in range(1, 12):
                to_y, to_x = y + row - 6, x + column - 6
                if before[row, column] or not (0 <= to_y < count.shape[0] and 0 <= to_x < count.shape[1]):
                    continue
                if count[to_y, to_x] > 2 and before[row - 1 : row + 2, column - 1 : column + 2].any():
                    reached[row, column] = True
                    place[to_y, to_x] = label


@numba.njit(parallel=True, nogil=True, cache=True)
def _errors(labels: np.ndarray, boxes: np.ndarray, flows: np.ndarray) -> np.ndarray:
    errors = np.zeros(len(boxes))
    for label in numba.prange(1, len(boxes)):
        box = boxes[label]
        if box[1] >= box[0]:
            errors[label] = _error(labels, label, box, flows)
    return errors


@numba.njit(nogil=True, cache=True)
def _error(labels: np.ndarray, label: int, box: np.ndarray, flows: np.ndarray) -> float:
    heat = heat_of(labels, label, box)
    area, error_y, error_x = 0, 0.0, 0.0
    for y in range(box[0], box[1] + 1):
        for x in range(box[2], box[3] + 1):
            if labels[y, x] == label:
                along_y, along_x = flow_at(heat, y - box[0] + 1, x - box[2] + 1)
                area += 1
                error_y += (along_y - flows[y, x, 0]) ** 2
                error_x += (along_x - flows[y, x, 1]) ** 2
    return error_y / area + error_x / area


@numba.njit(nogil=True, cache=True)
def _fill(labels: np.ndarray, boxes: np.ndarray) -> None:
    for label in range(1, len(boxes)):
        top, left = boxes[label, 0] - 1, boxes[label, 2] - 1
        height, width = boxes[label, 1] - top + 2, boxes[label, 3] - left + 2
        if boxes[label, 1] < boxes[label, 0]:
            continue
        # 1 is what the flood from outside, by sides, has not reached.
        dry = np.ones((height, width), np.uint8)
        stack = np.empty((height * width, 2), np.int32)
        stack[0] = 0
        dry[0, 0], waiting = 0, 1
        while waiting:
            waiting -= 1
            y, x = stack[waiting]
            for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                to_y, to_x = y + dy, x + dx
                if not (0 <= to_y < height and 0 <= to_x < width) or not dry[to_y, to_x]:
                    continue
                rim = to_y == 0 or to_x == 0 or to_y == height - 1 or to_x == width - 1
                if rim or labels[top + to_y, left + to_x] != label:
                    dry[to_y, to_x] = 0
                    stack[waiting] = to_y, to_x
                    waiting += 1
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                if dry[y, x]:
                    labels[top + y, left + x] = label
