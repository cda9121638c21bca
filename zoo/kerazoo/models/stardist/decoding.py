"""Objects from star distances: candidates, suppression of those that overlap, a label image (Schmidt et al. 2018)."""

from __future__ import annotations

import dataclasses

import numba
import numpy as np

from kerazoo.models.stardist.polygons import intersection_area, make_scratch, twice_area

LEAST_DISTANCE, GREATEST_DISTANCE = 1e-3, 1e6
"""Predicted distances below and above become these; those of networks in disorder are infinite, or no numbers."""
ROUNDING = 1e-4
"""Part of an area that polygons seem to share in float32, at the end of a graph, where they do not."""

UNDECIDED, SURVIVES, SUPPRESSED = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Star-convex polygons that may be objects."""

    probability: np.ndarray
    """Object probability, float32 (candidate,)."""
    distances: np.ndarray
    """Distances to the edge in pixels of the image, float32 (candidate, ray), at equal angles from +x over +y."""
    points: np.ndarray
    """Where the rays begin, (y, x) in pixels of the image, int32 (candidate, 2)."""

    def __len__(self) -> int:
        return len(self.probability)

    def take(self, indices: np.ndarray) -> Candidates:
        """Some of the candidates, in the order of ``indices``."""
        return Candidates(self.probability[indices], self.distances[indices], self.points[indices])


def find_candidates(
    output: np.ndarray,
    grid: tuple[int, int],
    threshold: float,
    origin: tuple[int, int] = (0, 0),
    border: tuple[tuple[int, int], tuple[int, int]] = ((2, 2), (2, 2)),
) -> Candidates:
    """Take the pixels of a network output whose object probability is above a threshold.

    Parameters
    ----------
    output
        Probability, then distances (y / grid, x / grid, 1 + rays), float32.
    grid
        Step between the pixels of the output in the image, (y, x).
    threshold
        Probability that a candidate exceeds.
    origin
        Where the output begins in the image, (y, x) in pixels of the image.
    border
        How many pixels of the output are left out at its ((top, bottom), (left, right)); stardist leaves out 2 at the
        edges of the image, and for a block of an image none where it goes on.

    Returns
    -------
    Candidates
        From top left to bottom right.
    """
    (top, bottom), (left, right) = border
    height, width = output.shape[:2]
    probability = output[top : height - bottom, left : width - right, 0]
    y, x = np.nonzero(probability > threshold)
    y, x = y + top, x + left
    points = np.stack([y * grid[0] + origin[0], x * grid[1] + origin[1]], axis=1).astype(np.int32)
    distances = np.nan_to_num(output[y, x, 1:], nan=LEAST_DISTANCE, posinf=GREATEST_DISTANCE)
    distances = np.clip(distances, LEAST_DISTANCE, GREATEST_DISTANCE)
    return Candidates(output[y, x, 0].astype(np.float32), distances.astype(np.float32), points)


def suppress(candidates: Candidates, overlap: float) -> np.ndarray:
    """Non-maximum suppression: a candidate survives if it shares too much with no survivor of higher probability.

    Parameters
    ----------
    candidates
        In any order; of two with equal probability the first has precedence.
    overlap
        Two candidates are the same object where the area that they share, divided by the smaller one's area, is more.

    Returns
    -------
    np.ndarray
        Indices of the survivors, most probable first, int64.

    Notes
    -----
    The survivors are those of stardist 0.9.2, which cuts vertices down to whole numbers and asks the Clipper library
    for the shared area (see `kerazoo.models.stardist.polygons`).
    """
    order = np.argsort(-candidates.probability, kind="stable")
    if len(order) < 2:
        return order
    distances = np.ascontiguousarray(candidates.distances[order], np.float32)
    points = np.ascontiguousarray(candidates.points[order], np.float32)
    angle = np.arange(distances.shape[1], dtype=np.float32) * np.float32(2 * np.pi / distances.shape[1])
    sine, cosine = (f(angle.astype(np.float64)).astype(np.float32) for f in (np.sin, np.cos))
    ys, xs, boxes, radii, areas = _polygons(distances, points, sine, cosine)
    cells = _sort_into_cells(points, boxes, radii)
    status = _suppress(points, ys, xs, boxes, radii, areas, np.float32(overlap), cells)
    return order[status == SURVIVES]


def render(candidates: Candidates, shape: tuple[int, int]) -> np.ndarray:
    """Draw polygons; where they overlap, the more probable one is on top.

    Parameters
    ----------
    candidates
        What is drawn.
    shape
        (y, x) of the image.

    Returns
    -------
    np.ndarray
        Label image (y, x), int32: label n for candidate n - 1. A pixel belongs to a polygon if its centre lies inside
        or on the edge.
    """
    labels = np.zeros(shape, np.int32)
    if not len(candidates):
        return labels
    rays = candidates.distances.shape[1]
    angle = np.linspace(0, 2 * np.pi, rays, endpoint=False)
    order = np.argsort(candidates.probability, kind="stable")[::-1]
    offsets = candidates.distances[order, None] * np.array([np.sin(angle), np.cos(angle)])
    vertices = (offsets.astype(np.float32) + candidates.points[order, :, None]).astype(np.float32)
    vertices = vertices.astype(np.float64)
    _render(vertices, _boxes(vertices, shape), order.astype(np.int32) + 1, labels)
    return labels


def find_stars(output: np.ndarray, grid: tuple[int, int], threshold: float, overlap: float) -> np.ndarray:
    """Label image of a network output.

    Parameters
    ----------
    output
        Probability, then distances (y / grid, x / grid, 1 + rays), float32.
    grid
        Step between the pixels of the output in the image, (y, x).
    threshold
        Probability that a candidate exceeds.
    overlap
        See `suppress`.

    Returns
    -------
    np.ndarray
        Label image (y, x), int32; labels from 1 on, most probable first.
    """
    candidates = find_candidates(output, grid, threshold)
    survivors = candidates.take(suppress(candidates, overlap))
    return render(survivors, (output.shape[0] * grid[0], output.shape[1] * grid[1]))


def _boxes(vertices: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """First and last row, first and last column of every polygon within the image, int64 (polygon, 4)."""
    low = np.maximum(vertices.min(axis=2), 0).astype(np.int64)
    high = np.minimum(np.ceil(vertices.max(axis=2)), np.array(shape) - 1).astype(np.int64)
    return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)


@numba.njit(nogil=True, cache=True, parallel=True)
def _polygons(distances, points, sine, cosine):
    """Vertices cut down to whole numbers; boxes (least y, greatest y, least x, greatest x), radii and areas."""
    count, rays = distances.shape
    ys, xs = np.empty((count, rays), np.int32), np.empty((count, rays), np.int32)
    boxes = np.empty((count, 4), np.float32)
    radii, areas = np.empty(count, np.float32), np.empty(count, np.float32)
    for i in numba.prange(count):
        radius = np.float32(0)
        total = np.float32(0)
        for ray in range(rays):
            y = points[i, 0] + distances[i, ray] * sine[ray]
            x = points[i, 1] + distances[i, ray] * cosine[ray]
            ys[i, ray], xs[i, ray] = np.int32(y), np.int32(x)
            if ray == 0:
                boxes[i, 0] = boxes[i, 1] = y
                boxes[i, 2] = boxes[i, 3] = x
            boxes[i, 0], boxes[i, 1] = min(boxes[i, 0], y), max(boxes[i, 1], y)
            boxes[i, 2], boxes[i, 3] = min(boxes[i, 2], x), max(boxes[i, 3], x)
            radius = max(radius, distances[i, ray])
        radii[i] = radius
        total = twice_area(xs[i], ys[i])
        areas[i] = np.float32(0.5) * total
    return ys, xs, boxes, radii, areas


@numba.njit(nogil=True, cache=True)
def _sort_into_cells(points, boxes, radii):
    """Sort candidates into square cells by their points.

    Returns where a cell's candidates begin, the candidates cell by cell (in their order), the boxes around all polygons
    of a cell, the number of cells along y and x, their size, the first point and the greatest radius.
    """
    count = len(points)
    low_y = high_y = points[0, 0]
    low_x = high_x = points[0, 1]
    greatest = np.float32(0)
    mean = 0.0
    for i in range(count):
        low_y, high_y = min(low_y, points[i, 0]), max(high_y, points[i, 0])
        low_x, high_x = min(low_x, points[i, 1]), max(high_x, points[i, 1])
        greatest = max(greatest, radii[i])
        mean += radii[i] / count
    size = max(mean, 1.0)
    # As many cells as candidates at most, however far apart they lie.
    while ((high_y - low_y) / size + 1) * ((high_x - low_x) / size + 1) > count + 16:
        size *= 1.5
    rows, columns = int((high_y - low_y) / size) + 1, int((high_x - low_x) / size) + 1
    starts = np.zeros(rows * columns + 1, np.int64)
    cell = np.empty(count, np.int64)
    for i in range(count):
        cell[i] = int((points[i, 0] - low_y) / size) * columns + int((points[i, 1] - low_x) / size)
        starts[cell[i] + 1] += 1
    starts = np.cumsum(starts)
    fill = starts[:-1].copy()
    members = np.empty(count, np.int64)
    around = np.empty((rows * columns, 4), np.float32)
    for i in range(count):
        c = cell[i]
        if fill[c] == starts[c]:
            around[c] = boxes[i]
        else:
            around[c, 0], around[c, 1] = min(around[c, 0], boxes[i, 0]), max(around[c, 1], boxes[i, 1])
            around[c, 2], around[c, 3] = min(around[c, 2], boxes[i, 2]), max(around[c, 3], boxes[i, 3])
        members[fill[c]] = i
        fill[c] += 1
    return starts, members, around, rows, columns, size, low_y, low_x, greatest


@numba.njit(nogil=True, cache=True, inline="always")
def _boxes_meet(a, i, b, j):
    return b[j, 2] <= a[i, 3] and a[i, 2] <= b[j, 3] and b[j, 0] <= a[i, 1] and a[i, 0] <= b[j, 1]


@numba.njit(nogil=True, cache=True)
def _cell_range(boxes, i, rows, columns, size, low_y, low_x, greatest):
    """Cells whose polygons may reach the box of a candidate: first row, last row, first column, last column."""
    top = max(int((boxes[i, 0] - greatest - low_y) / size) - 1, 0)
    bottom = min(int((boxes[i, 1] + greatest - low_y) / size) + 1, rows - 1)
    left = max(int((boxes[i, 2] - greatest - low_x) / size) - 1, 0)
    right = min(int((boxes[i, 3] + greatest - low_x) / size) + 1, columns - 1)
    return top, bottom, left, right


@numba.njit(nogil=True, cache=True)
def _suppress(points, ys, xs, boxes, radii, areas, overlap, cells):
    """Decide on all candidates, which are sorted by falling probability.

    In every round those survive that no undecided candidate of higher probability can reach, and they suppress others:
    the result is that of one candidate after the other, but the survivors of a round do not depend on one another.
    """
    count = len(points)
    status = np.zeros(count, np.int8)
    # Where the search for a candidate that is in the way goes on: what is decided once stays so.
    cursors = np.zeros((count, 2), np.int64)
    undecided = np.arange(count)
    left = count
    free = np.empty(count, np.bool_)
    survivors = np.empty(count, np.int64)
    while left:
        _find_free(undecided[:left], free, status, boxes, cursors, cells)
        found = 0
        for k in range(left):
            if free[k]:
                survivors[found] = undecided[k]
                found += 1
        _suppress_around(survivors[:found], status, points, ys, xs, boxes, radii, areas, overlap, cells)
        for k in range(found):
            status[survivors[k]] = SURVIVES
        kept = 0
        for k in range(left):
            if status[undecided[k]] == UNDECIDED:
                undecided[kept] = undecided[k]
                kept += 1
        left = kept
    return status


@numba.njit(nogil=True, cache=True, parallel=True)
def _find_free(undecided, free, status, boxes, cursors, cells):
    for k in numba.prange(len(undecided)):
        free[k] = not _is_blocked(undecided[k], status, boxes, cursors, cells)


@numba.njit(nogil=True, cache=True, parallel=True)
def _suppress_around(survivors, status, points, ys, xs, boxes, radii, areas, overlap, cells):
    for k in numba.prange(len(survivors)):
        _suppress_others(survivors[k], status, points, ys, xs, boxes, radii, areas, overlap, cells)


@numba.njit(nogil=True, cache=True)
def _is_blocked(i, status, boxes, cursors, cells):
    """Whether an undecided candidate of higher probability has a box that meets the candidate's."""
    starts, members, around, rows, columns, size, low_y, low_x, greatest = cells
    top, bottom, left, right = _cell_range(boxes, i, rows, columns, size, low_y, low_x, greatest)
    wide = right - left + 1
    number = (bottom - top + 1) * wide
    while cursors[i, 0] < number:
        at = cursors[i, 0]
        cell = (top + at // wide) * columns + left + at % wide
        end = starts[cell + 1]
        k = starts[cell] + cursors[i, 1]
        if k < end and members[k] < i and _boxes_meet(boxes, i, around, cell):
            while k < end and members[k] < i:
                j = members[k]
                if status[j] == UNDECIDED and _boxes_meet(boxes, i, boxes, j):
                    cursors[i, 1] = k - starts[cell]
                    return True
                k += 1
        cursors[i, 0], cursors[i, 1] = at + 1, 0
    return False


@numba.njit(nogil=True, cache=True)
def _suppress_others(i, status, points, ys, xs, boxes, radii, areas, overlap, cells):
    """Suppress the undecided candidates that share too much with a survivor."""
    starts, members, around, rows, columns, size, low_y, low_x, greatest = cells
    scratch = make_scratch(ys.shape[1])
    reach = (greatest + radii[i]) ** 2
    area = np.float64(areas[i]) + 1e-10
    top, bottom, left, right = _cell_range(boxes, i, rows, columns, size, low_y, low_x, greatest)
    for row in range(top, bottom + 1):
        for column in range(left, right + 1):
            cell = row * columns + column
            if starts[cell] == starts[cell + 1] or not _boxes_meet(boxes, i, around, cell):
                continue
            for k in range(starts[cell], starts[cell + 1]):
                j = members[k]
                if j <= i or status[j] != UNDECIDED or not _boxes_meet(boxes, i, boxes, j):
                    continue
                if (points[i, 0] - points[j, 0]) ** 2 + (points[i, 1] - points[j, 1]) ** 2 >= reach:
                    continue
                least = min(area, np.float64(areas[j]) + 1e-10)
                tall = min(np.trunc(boxes[i, 1]), np.trunc(boxes[j, 1])) - max(
                    np.trunc(boxes[i, 0]), np.trunc(boxes[j, 0])
                )
                wide = min(np.trunc(boxes[i, 3]), np.trunc(boxes[j, 3])) - max(
                    np.trunc(boxes[i, 2]), np.trunc(boxes[j, 2])
                )
                # The box that both share is larger than what they share.
                if (tall + 1) * (wide + 1) <= overlap * least:
                    continue
                shared = np.float32(intersection_area(xs[i], ys[i], xs[j], ys[j], scratch))
                if np.float32(shared / least) > overlap:
                    status[j] = SUPPRESSED


BAND = 32
"""Rows that one thread draws at a time."""


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def _render(vertices, box, names, labels):
    """Draw polygons (polygon, y and x, vertex), the topmost first, into what is still empty."""
    height = labels.shape[0]
    count, rays = vertices.shape[0], vertices.shape[2]
    for band in numba.prange((height + BAND - 1) // BAND):
        crossing = np.empty((rays, 4), np.float64)
        for i in range(count):
            for y in range(max(box[i, 0], band * BAND), min(box[i, 1], (band + 1) * BAND - 1) + 1):
                found = 0
                y1, x1 = vertices[i, 0, rays - 1] - y, vertices[i, 1, rays - 1]
                for ray in range(rays):
                    y0, x0 = vertices[i, 0, ray] - y, vertices[i, 1, ray]
                    if (y0 > 0) != (y1 > 0) or (y0 < 0) != (y1 < 0) or abs(y0) < 1e-12:
                        crossing[found, 0], crossing[found, 1], crossing[found, 2], crossing[found, 3] = x0, y0, x1, y1
                        found += 1
                    y1, x1 = y0, x0
                for x in range(box[i, 2], box[i, 3] + 1):
                    if labels[y, x] == 0 and _is_inside(crossing, found, x):
                        labels[y, x] = names[i]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _is_inside(crossing, found, x):
    """Whether a pixel of a row is a vertex, on an edge or inside, by the edges that cross the row (O'Rourke 1998)."""
    right = left = False
    for k in range(found):
        x0, y0, x1, y1 = crossing[k, 0] - x, crossing[k, 1], crossing[k, 2] - x, crossing[k, 3]
        if abs(x0) < 1e-12 and abs(y0) < 1e-12:
            return True
        side = (x0 * y1 - x1 * y0) / (y1 - y0)
        if (y0 > 0) != (y1 > 0) and side > 0:
            right = not right
        if (y0 < 0) != (y1 < 0) and side < 0:
            left = not left
    return right or left
