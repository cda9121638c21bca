"""From a label image to what Omnipose learns: flows up a smooth distance field, distances and boundaries."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from bmzpack.errors import UserError
from kerazoo.data.target import Matrix
from kerazoo.models.shared.label_image import IGNORED_LABEL, without_ignored
from kerazoo.models.shared.object_target import ObjectTarget

FLOW_SCALE = 5.0
"""The network predicts flows as many times as long as they are."""
BACKGROUND_DISTANCE = -5.0
"""Distance that the network predicts outside the objects."""
BACKGROUND_WEIGHT = 0.5
"""Weight of background pixels in the loss; that of objects is 1."""

_BY_ROWS = (4, 0, 6, 2, 3, 7, 1, 5)
"""Places of the neighbours in `_neighbours`, row by row: the order in which the official package adds them up."""
CONVERGED = 1e-3
"""The distance field is final when no more than this is the mean square of what one more step changes."""


def field_targets(labels: np.ndarray) -> np.ndarray:
    """What the network should say of every pixel, and how much it counts.

    Parameters
    ----------
    labels
        Label image, integer (y, x); 0 is background. Each label is one object, whole or not.

    Returns
    -------
    numpy.ndarray
        float32 (y, x, 5): flow along y and along x, `FLOW_SCALE` times that of `distance_fields`; distance in pixels,
        `BACKGROUND_DISTANCE` outside the objects; boundary, 0 or 1; weight, `BACKGROUND_WEIGHT` or 1. To leave a pixel
        out of the training, make its weight negative.

    Raises
    ------
    UserError
        The label image is no two-dimensional array of whole numbers.
    """
    distance, flow, boundary = distance_fields(labels)
    target = np.empty((*labels.shape, 5), np.float32)
    inside = labels != 0
    np.multiply(flow, FLOW_SCALE, out=target[..., :2])
    target[..., 2] = np.where(inside, distance, BACKGROUND_DISTANCE)
    target[..., 3] = boundary
    target[..., 4] = np.where(inside, 1.0, BACKGROUND_WEIGHT)
    return target


def distance_fields(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The smooth distance field of every object, its flow, and the boundaries.

    The distance solves the eikonal equation |grad d| = 1 with d = 0 outside the object, by a fixed-point iteration from
    below. One step solves Godunov's upwind equation twice, on the axes of the grid and on its diagonals, and takes the
    geometric mean, so that the field hardly depends on how the object lies on the grid. The iteration ends before the
    ridge is sharp, which makes the field smooth there. The flow is the field's gradient, again the mean of axes and
    diagonals, smoothed: every pixel takes the mean of its neighbours' gradients, weighted by how parallel they are to
    its own. The field goes on unchanged beyond the edge of the image, which is no boundary; only where a
    single object fills the whole image are distances those from the edge.

    Parameters
    ----------
    labels
        Label image, integer (y, x); 0 is background.

    Returns
    -------
    distance : numpy.ndarray
        float32 (y, x), in pixels; 0 in the background.
    flow : numpy.ndarray
        Components along y and x, float32 (y, x, 2), of length near 1 but at ridges; 0 in the background.
    boundary : numpy.ndarray
        bool (y, x): pixels of an object with one of their eight neighbours outside it.

    Raises
    ------
    UserError
        The label image is no two-dimensional array of whole numbers.

    Notes
    -----
    Cutler et al. (2022), Omnipose: a high-precision morphology-independent solution for bacterial cell segmentation.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise UserError(
            f"Distance fields need a label image of whole numbers (y, x), not {labels.dtype} {labels.shape}: "
            "give one label image at a time, without channels."
        )
    if labels.size and labels.min() == labels.max() != 0:
        # an object without an end has no distance from it: the edges of the image take its place
        distance, flow, _ = distance_fields(np.pad(labels, 1))
        return distance[1:-1, 1:-1], flow[1:-1, 1:-1], np.zeros(labels.shape, np.bool_)
    distance, flow = np.zeros(labels.shape, np.float32), np.zeros((*labels.shape, 2), np.float32)
    boundary = np.zeros(labels.shape, np.bool_)
    if labels.any():
        pixels = np.flatnonzero(labels)
        _compute(
            np.ascontiguousarray(labels, np.int64), pixels, distance.ravel(), flow.reshape(-1, 2), boundary.ravel()
        )
    return distance, flow, boundary


@numba.njit(nogil=True, cache=True)
def _compute(
    labels: np.ndarray, pixels: np.ndarray, distance: np.ndarray, flow: np.ndarray, boundary: np.ndarray
) -> None:
    neighbours = _neighbours(labels, pixels)
    count = len(pixels)
    field = _initial(neighbours, count)
    following = np.zeros_like(field)
    # Along thin or wide objects alike, news travels at least a pixel per step, and from an edge of the image back.
    for _ in range(2 * (labels.shape[0] + labels.shape[1])):
        change = 0.0
        for pixel in range(count):
            value = _step(field, neighbours, pixel)
            change += (value - field[pixel]) ** 2
            following[pixel] = value
        field, following = following, field
        if change <= CONVERGED * count:
            break
    smooth = _smooth(_gradient(field, neighbours, count), neighbours, count)
    for pixel in range(count):
        position = pixels[pixel]
        distance[position] = field[pixel]
        flow[position] = smooth[pixel]
        for direction in range(8):
            if neighbours[pixel, direction] == count:
                boundary[position] = True


@numba.njit(nogil=True, cache=True)
def _neighbours(labels: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Places in ``pixels`` of the neighbours N, S, W, E, NW, SE, NE, SW; the number of pixels for those outside."""
    height, width = labels.shape
    count = len(pixels)
    places = np.full((height, width), count, np.int32)
    for pixel in range(count):
        places[pixels[pixel] // width, pixels[pixel] % width] = pixel
    neighbours = np.empty((count, 8), np.int32)
    for pixel in range(count):
        y, x = pixels[pixel] // width, pixels[pixel] % width
        north, south, west, east = max(y - 1, 0), min(y + 1, height - 1), max(x - 1, 0), min(x + 1, width - 1)
        label = labels[y, x]
        for direction, (ny, nx) in enumerate(
            ((north, x), (south, x), (y, west), (y, east), (north, west), (south, east), (north, east), (south, west))
        ):
            neighbours[pixel, direction] = places[ny, nx] if labels[ny, nx] == label else count
    return neighbours


@numba.njit(nogil=True, cache=True)
def _initial(neighbours: np.ndarray, count: int) -> np.ndarray:
    """A field to start from: one step from 1 everywhere, each pixel then a ninth of what its neighbours have together.

    One element more than there are pixels stands for all that is outside and stays 0.
    """
    ones = np.ones(count + 1, np.float32)
    ones[count] = 0
    stepped = np.zeros(count + 1, np.float32)
    for pixel in range(count):
        stepped[pixel] = _step(ones, neighbours, pixel)
    field = np.zeros(count + 1, np.float32)
    for pixel in range(count):
        for direction in _BY_ROWS:
            field[pixel] += stepped[neighbours[pixel, direction]]
        field[pixel] /= np.float32(9)
    return field


@numba.njit(nogil=True, cache=True)
def _step(field: np.ndarray, neighbours: np.ndarray, pixel: int) -> Any:
    """What the eikonal equation makes of a pixel, given its neighbours."""
    a = min(field[neighbours[pixel, 0]], field[neighbours[pixel, 1]])
    b = min(field[neighbours[pixel, 2]], field[neighbours[pixel, 3]])
    c = min(field[neighbours[pixel, 4]], field[neighbours[pixel, 5]])
    d = min(field[neighbours[pixel, 6]], field[neighbours[pixel, 7]])
    # diagonal neighbours are sqrt(2) away
    return np.sqrt(_solution(a, b, np.float32(1)) * _solution(c, d, np.float32(2)))


@numba.njit(nogil=True, cache=True)
def _solution(a: Any, b: Any, square: Any) -> Any:
    """The larger u of (u - a)^2 + (u - b)^2 = square; the mean of a and b where there is none."""
    total = a + b
    # Not 2 square - (a - b)^2, which is more exact: on a ridge, where flows depend on rounding, others would result.
    discriminant = total * total - np.float32(2) * ((a * a + b * b) - square)
    return np.float32(0.5) * (total + np.sqrt(max(discriminant, np.float32(0))))


@numba.njit(nogil=True, cache=True)
def _gradient(field: np.ndarray, neighbours: np.ndarray, count: int) -> np.ndarray:
    """Mean of the central differences on the axes and on the diagonals, (pixel + 1, 2)."""
    gradient = np.zeros((count + 1, 2), np.float32)
    for pixel in range(count):
        along_y = field[neighbours[pixel, 1]] - field[neighbours[pixel, 0]]
        along_x = field[neighbours[pixel, 3]] - field[neighbours[pixel, 2]]
        falling = field[neighbours[pixel, 5]] - field[neighbours[pixel, 4]]
        rising = field[neighbours[pixel, 6]] - field[neighbours[pixel, 7]]
        gradient[pixel, 0] = along_y / 4 + (falling - rising) / 8
        gradient[pixel, 1] = along_x / 4 + (falling + rising) / 8
    return gradient


@numba.njit(nogil=True, cache=True)
def _smooth(gradient: np.ndarray, neighbours: np.ndarray, count: int) -> np.ndarray:
    """Every pixel's mean of its neighbours' gradients, weighted by their scalar product with its own, (pixel, 2)."""
    smooth = np.zeros((count, 2), np.float32)
    for pixel in range(count):
        own_y, own_x = gradient[pixel, 0], gradient[pixel, 1]
        y, x, total = np.float32(0), np.float32(0), np.float32(0)
        for direction in range(8):
            neighbour = neighbours[pixel, direction]
            weight = abs(own_y * gradient[neighbour, 0] + own_x * gradient[neighbour, 1])
            y += weight * gradient[neighbour, 0]
            x += weight * gradient[neighbour, 1]
            total += weight
        if total > 0:
            smooth[pixel, 0], smooth[pixel, 1] = y / total, x / total
    return smooth


class FieldTarget(ObjectTarget):
    """Flows, distance field, boundary and weight, `field_targets`; the weight is -1 where ignored."""

    def __init__(self, ignored: int | None = None) -> None:
        super().__init__(5, 4, ignored)

    def of_patch(self, kept: np.ndarray, matrix: Matrix) -> np.ndarray:
        target = field_targets(without_ignored(kept))
        target[kept == IGNORED_LABEL, 4] = -1
        if kept.min() == kept.max() != 0:  # within one object: how far its boundary is cannot be said
            target[..., 4] = -1
        return target
