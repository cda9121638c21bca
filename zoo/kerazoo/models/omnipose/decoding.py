"""From flows and distances to objects as in Omnipose: pixels that gather when they follow the flows are one object."""

from __future__ import annotations

import cv2
import numba
import numpy as np

from kerazoo.models.omnipose.targets import FLOW_SCALE, distance_fields
from kerazoo.models.shared.watershed import components, remove_small

ITERATIONS = 200
"""Steps that every pixel takes; step t is divided by t, so that all together are about six pixels at full speed."""
WEAK = 1.0
"""Pixels so far below the threshold are foreground too where they touch some that are above it."""
EXTREMES = 0.01, 99.99
"""Percentiles of the divergence between which the speed goes from 0 to 1."""
THIN = 2.0
"""Mean distance in pixels up to which objects are so thin that end points are clustered at sub-pixel resolution."""
REACH = float(np.sqrt(2))
"""End points of one object are at most so far apart, in pixels."""
CROWD = 5
"""So many end points within reach, itself included, make a point part of the core of an object."""
FINE = 3
"""At the end of a graph, cells of the grid for thin objects in a pixel, along y and x."""
BUNDLE = 256
"""So many points are moved together."""


def find_field_objects(
    output: np.ndarray, threshold: float = 0.0, flow_error: float = 0.4, minimum_size: int = 15
) -> np.ndarray:
    """Find the objects in a network's output.

    Foreground is where the distance exceeds the threshold. Its pixels move in the direction of the flow, the slower the
    more the flow converges, and by ever smaller steps: so they gather along the middle line of an object, however long,
    and do not run together in a few places of it. Pixels that end near each other are one object.

    Parameters
    ----------
    output
        Flow along y, flow along x, both `kerazoo.models.omnipose.targets.FLOW_SCALE` times too long, distance in
        pixels, and logit of the boundary, which is not used; float32 (y, x, 4).
    threshold
        Least distance of the foreground, in pixels; lower, objects become larger and more.
    flow_error
        Objects are removed whose flows differ by more from those of their shape (mean square); 0 for none.
    minimum_size
        Objects of fewer pixels are removed, holes of fewer are filled.

    Returns
    -------
    numpy.ndarray
        Labels 1, 2, ... of the objects, 0 elsewhere, int32 (y, x).

    Notes
    -----
    Cutler et al. (2022), Omnipose: a high-precision morphology-independent solution for bacterial cell segmentation.
    """
    flow = np.ascontiguousarray(output[..., :2], np.float32)
    distance = np.asarray(output[..., 2], np.float32)
    inside = _foreground(distance, threshold)
    if not inside.any():
        return np.zeros(inside.shape, np.int32)
    ends = integrate(flow, inside)
    labels = np.zeros(inside.shape, np.int32)
    labels[inside] = cluster(ends, inside.shape, sub_pixel=bool(distance[inside].mean() <= THIN))
    labels = _fill_small_holes(remove_small(labels, minimum_size), minimum_size)
    if flow_error > 0:
        labels = np.where(flow_errors(labels, flow)[labels] <= flow_error, labels, 0)
    return remove_small(labels, minimum_size)


def integrate(flow: np.ndarray, inside: np.ndarray, iterations: int = ITERATIONS) -> np.ndarray:
    """Let pixels move along the flows by suppressed Euler steps.

    Parameters
    ----------
    flow
        Flow along y and x, float32 (y, x, 2), of any length: only its direction counts.
    inside
        The pixels that move, bool (y, x); nothing moves elsewhere.
    iterations
        Number of steps.

    Returns
    -------
    numpy.ndarray
        Where each of the pixels ends, in the order of ``np.nonzero(inside)``: y and x in pixels, float32 (pixel, 2).
    """
    ends = np.argwhere(inside).astype(np.float32)
    if len(ends):
        direction = _directions(np.ascontiguousarray(flow, np.float32), inside)
        divergence = _divergence(direction)
        low, high = np.percentile(divergence, EXTREMES)
        along_y, along_x = _velocities(direction, divergence, float(low), float(high))
        _move(along_y, along_x, inside.shape[0], inside.shape[1], ends, iterations)
    return ends


def cluster(ends: np.ndarray, shape: tuple[int, ...], sub_pixel: bool) -> np.ndarray:
    """Give points that lie near each other one label.

    Parameters
    ----------
    ends
        Of `integrate`, float32 (point, 2).
    shape
        Shape of the image (y, x).
    sub_pixel
        Whether points are joined that are within `REACH` of each other and in a crowd (density-based clustering, Ester
        et al. 1996), else those whose nearest pixels touch, at a side or at a corner.

    Returns
    -------
    numpy.ndarray
        Labels from 1 on, int32 (point,); 0 for points without a crowd.
    """
    if sub_pixel:
        return _dense_clusters(ends, shape[0], shape[1])
    nearest = np.rint(ends).astype(np.intp)
    occupied = np.zeros(shape, np.bool_)
    occupied[nearest[:, 0], nearest[:, 1]] = True
    return components(occupied, connectivity=8)[1][nearest[:, 0], nearest[:, 1]]


def flow_errors(labels: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Mean squared error between the flows of a network and those of the objects' shapes.

    Parameters
    ----------
    labels
        Label image, int32 (y, x).
    flow
        Flow along y and x, `kerazoo.models.omnipose.targets.FLOW_SCALE` times too long, float32 (y, x, 2).

    Returns
    -------
    numpy.ndarray
        One error per label from 0 on, float64; 0 where there is no object.
    """
    expected = distance_fields(labels)[1]
    return _errors(labels, expected, np.ascontiguousarray(flow, np.float32), int(labels.max()))


def _foreground(distance: np.ndarray, threshold: float) -> np.ndarray:
    weak = distance > threshold - WEAK
    count, parts = components(weak, connectivity=4)
    strong = np.zeros(count, np.bool_)
    strong[parts[distance > threshold]] = True
    return weak & strong[parts]


def _fill_small_holes(labels: np.ndarray, size: int) -> np.ndarray:
    """Fill holes of fewer pixels than ``size`` that lie within a single object."""
    empty = (labels == 0).astype(np.uint8)
    _, parts, boxes, _ = cv2.connectedComponentsWithStats(empty, connectivity=4)
    filled = labels.copy()
    _fill(labels, np.asarray(parts), np.asarray(boxes)[:, cv2.CC_STAT_AREA] < size, filled)
    return filled


@numba.njit(nogil=True, cache=True)
def _fill(labels: np.ndarray, parts: np.ndarray, small: np.ndarray, filled: np.ndarray) -> None:
    height, width = labels.shape
    # Of every hole the label of its only neighbour, 0 before one is known, -1 where it is not filled.
    owner = np.where(small, 0, -1)
    owner[0] = -1
    for y in range(height):
        for x in range(width):
            part = parts[y, x]
            if part == 0 or owner[part] < 0:
                continue
            if y == 0 or x == 0 or y == height - 1 or x == width - 1:
                owner[part] = -1
                continue
            for neighbour in (labels[y - 1, x], labels[y + 1, x], labels[y, x - 1], labels[y, x + 1]):
                if neighbour > 0 and owner[part] == 0:
                    owner[part] = neighbour
                elif neighbour > 0 and owner[part] != neighbour:
                    owner[part] = -1
    for y in range(height):
        for x in range(width):
            if parts[y, x] > 0 and owner[parts[y, x]] > 0:
                filled[y, x] = owner[parts[y, x]]


@numba.njit(nogil=True, cache=True, parallel=True)
def _directions(flow: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The flow at length 1 inside, and 0 elsewhere and where it is not finite."""
    height, width = inside.shape
    direction = np.zeros((height, width, 2), np.float32)
    for y in numba.prange(height):
        for x in range(width):
            if inside[y, x]:
                length = np.sqrt(flow[y, x, 0] ** 2 + flow[y, x, 1] ** 2)
                if 0 < length < np.inf:
                    direction[y, x, 0] = flow[y, x, 0] / length
                    direction[y, x, 1] = flow[y, x, 1] / length
    return direction


@numba.njit(nogil=True, cache=True, parallel=True)
def _divergence(direction: np.ndarray) -> np.ndarray:
    """Central differences, one-sided at the edges of the image; float32 (y, x)."""
    height, width = direction.shape[:2]
    divergence = np.zeros((height, width), np.float32)
    for y in numba.prange(height):
        above, below = max(y - 1, 0), min(y + 1, height - 1)
        for x in range(width):
            left, right = max(x - 1, 0), min(x + 1, width - 1)
            if below > above:
                divergence[y, x] += (direction[below, x, 0] - direction[above, x, 0]) / (below - above)
            if right > left:
                divergence[y, x] += (direction[y, right, 1] - direction[y, left, 1]) / (right - left)
    return divergence


@numba.njit(nogil=True, cache=True, parallel=True)
def _velocities(
    direction: np.ndarray, divergence: np.ndarray, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """Directions at a speed from 0 to 1 by the divergence; y and x components apart, each in one row of pixels."""
    height, width = divergence.shape
    along_y, along_x = np.empty(height * width, np.float32), np.empty(height * width, np.float32)
    span = max(high - low, 1e-6)
    for y in numba.prange(height):
        for x in range(width):
            speed = np.float32(min(max((divergence[y, x] - low) / span, 0.0), 1.0))
            along_y[y * width + x], along_x[y * width + x] = speed * direction[y, x, 0], speed * direction[y, x, 1]
    return along_y, along_x


@numba.njit(nogil=True, cache=True, parallel=True)
def _move(along_y: np.ndarray, along_x: np.ndarray, height: int, width: int, ends: np.ndarray, iterations: int) -> None:
    """Move the points, by 1 / t of the velocity at step t, which follows that of the nearest pixel by halves."""
    shares = (1 / np.arange(1, iterations + 1)).astype(np.float32)
    least, last_y, last_x, half = np.float32(0), np.float32(height - 1), np.float32(width - 1), np.float32(0.5)
    row_length = np.int32(width)
    # Points are moved in bundles, step by step, so that the compiler makes vector instructions of the inner loop.
    for bundle in numba.prange((len(ends) + BUNDLE - 1) // BUNDLE):
        start, stop = bundle * BUNDLE, min((bundle + 1) * BUNDLE, len(ends))
        y, x = ends[start:stop, 0].copy(), ends[start:stop, 1].copy()
        velocity_y, velocity_x = np.empty_like(y), np.empty_like(x)
        for point in range(len(y)):
            pixel = np.int32(y[point]) * row_length + np.int32(x[point])
            velocity_y[point], velocity_x[point] = along_y[pixel], along_x[pixel]
        for step in range(iterations):
            share = shares[step]
            for point in range(len(y)):
                pixel = np.int32(np.rint(y[point])) * row_length + np.int32(np.rint(x[point]))
                velocity_y[point] = half * (velocity_y[point] + along_y[pixel])
                velocity_x[point] = half * (velocity_x[point] + along_x[pixel])
                y[point] = min(max(y[point] + velocity_y[point] * share, least), last_y)
                x[point] = min(max(x[point] + velocity_x[point] * share, least), last_x)
        ends[start:stop, 0], ends[start:stop, 1] = y, x


@numba.njit(nogil=True, cache=True)
def _dense_clusters(ends: np.ndarray, height: int, width: int) -> np.ndarray:
    """Density-based clusters by a hash of unit cells: any two points of a cell are within reach of each other."""
    count = len(ends)
    cells = np.empty(count, np.int64)
    first = np.zeros(height * width + 1, np.int64)
    for point in range(count):
        cells[point] = int(ends[point, 0]) * width + int(ends[point, 1])
        first[cells[point] + 1] += 1
    first = np.cumsum(first)
    points, free = np.empty(count, np.int64), first.copy()
    for point in range(count):
        points[free[cells[point]]] = point
        free[cells[point]] += 1

    core = _cores(ends, points, first, cells, height, width)
    root = np.arange(height * width)
    for cell in range(height * width):
        if first[cell] < first[cell + 1]:
            _join_cell(cell, ends, points, first, core, root, height, width)

    numbers = np.zeros(height * width, np.int32)
    labels = np.zeros(count, np.int32)
    largest = 0
    for point in range(count):
        cell = cells[point] if core[point] else _nearest_core(point, ends, points, first, core, cells, height, width)
        if cell >= 0:
            leader = _leader(root, cell)
            if numbers[leader] == 0:
                largest += 1
                numbers[leader] = largest
            labels[point] = numbers[leader]
    return labels


@numba.njit(nogil=True, cache=True, parallel=True)
def _cores(
    ends: np.ndarray, points: np.ndarray, first: np.ndarray, cells: np.ndarray, height: int, width: int
) -> np.ndarray:
    """Which points have a crowd within reach, bool (point,)."""
    core = np.zeros(len(ends), np.bool_)
    for point in numba.prange(len(ends)):
        cell = cells[point]
        near = first[cell + 1] - first[cell]
        row, column = cell // width, cell % width
        for y in range(max(row - 2, 0), min(row + 3, height)):
            for x in range(max(column - 2, 0), min(column + 3, width)):
                if near >= CROWD:
                    break
                other = y * width + x
                if other != cell:
                    for place in range(first[other], first[other + 1]):
                        near += _within_reach(ends, point, points[place])
        core[point] = near >= CROWD
    return core


@numba.njit(nogil=True, cache=True, inline="always")
def _within_reach(ends: np.ndarray, one: int, other: int) -> bool:
    return (ends[one, 0] - ends[other, 0]) ** 2 + (ends[one, 1] - ends[other, 1]) ** 2 <= REACH**2


@numba.njit(nogil=True, cache=True)
def _leader(root: np.ndarray, cell: int) -> int:
    while root[cell] != cell:
        root[cell] = root[root[cell]]
        cell = root[cell]
    return cell


@numba.njit(nogil=True, cache=True)
def _join_cell(
    cell: int,
    ends: np.ndarray,
    points: np.ndarray,
    first: np.ndarray,
    core: np.ndarray,
    root: np.ndarray,
    height: int,
    width: int,
) -> None:
    """Join a cell with the cells below and to the right of it that have a core point within reach of one of its own."""
    row, column = cell // width, cell % width
    for y in range(row, min(row + 3, height)):
        for x in range(max(column - 2, 0), min(column + 3, width)):
            other = y * width + x
            if other <= cell or first[other] == first[other + 1]:
                continue
            one_leader, other_leader = _leader(root, cell), _leader(root, other)
            if one_leader != other_leader and _touch(cell, other, ends, points, first, core):
                root[max(one_leader, other_leader)] = min(one_leader, other_leader)


@numba.njit(nogil=True, cache=True)
def _touch(cell: int, other: int, ends: np.ndarray, points: np.ndarray, first: np.ndarray, core: np.ndarray) -> bool:
    for place in range(first[cell], first[cell + 1]):
        if core[points[place]]:
            for other_place in range(first[other], first[other + 1]):
                if core[points[other_place]] and _within_reach(ends, points[place], points[other_place]):
                    return True
    return False


@numba.njit(nogil=True, cache=True)
def _nearest_core(
    point: int,
    ends: np.ndarray,
    points: np.ndarray,
    first: np.ndarray,
    core: np.ndarray,
    cells: np.ndarray,
    height: int,
    width: int,
) -> int:
    """Cell of the nearest core point within reach, or -1."""
    row, column = cells[point] // width, cells[point] % width
    nearest, found = REACH**2, -1
    for y in range(max(row - 2, 0), min(row + 3, height)):
        for x in range(max(column - 2, 0), min(column + 3, width)):
            cell = y * width + x
            for place in range(first[cell], first[cell + 1]):
                other = points[place]
                if core[other]:
                    square = (ends[point, 0] - ends[other, 0]) ** 2 + (ends[point, 1] - ends[other, 1]) ** 2
                    if square <= nearest:
                        nearest, found = square, cell
    return found


@numba.njit(nogil=True, cache=True)
def _errors(labels: np.ndarray, expected: np.ndarray, flow: np.ndarray, largest: int) -> np.ndarray:
    total, pixels = np.zeros(largest + 1), np.zeros(largest + 1)
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label > 0:
                total[label] += (expected[y, x, 0] - flow[y, x, 0] / FLOW_SCALE) ** 2
                total[label] += (expected[y, x, 1] - flow[y, x, 1] / FLOW_SCALE) ** 2
                pixels[label] += 1
    return total / np.maximum(pixels, 1)
