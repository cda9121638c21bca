"""From a label image to the flows that Cellpose learns: in every object, heat that is fed in at its centre."""

from __future__ import annotations

import math

import numba
import numpy as np

from kerazoo.data.target import Matrix
from kerazoo.models.shared.label_image import IGNORED_LABEL, without_ignored
from kerazoo.models.shared.object_target import ObjectTarget

FLOW_SCALE = 5.0
"""The network learns flows that are so much longer than the targets."""


def flow_targets(labels: np.ndarray) -> np.ndarray:
    """Flows towards the centres of the objects, and where objects are.

    Heat is fed in at the pixel of the object that is nearest to its centre of mass, spreads to the eight neighbours
    and is lost outside; the flow is the direction in which there is more of it.

    Parameters
    ----------
    labels
        Label image (y, x), any integer dtype; 0 is background.

    Returns
    -------
    numpy.ndarray
        Vertical flow, horizontal flow and foreground (y, x, 3), float32. Flows are of length 1 in objects, and 0 where
        there is no heat: elsewhere, in single pixels, and in parts that do not touch the part with the centre.

    Notes
    -----
    Stringer, Wang, Michaelos and Pachitariu (2021), Cellpose: a generalist algorithm for cellular segmentation.
    """
    target = np.zeros((*labels.shape, 3), np.float32)
    if labels.size:
        dense, count = numbered(labels)
        _fill(dense, extents(dense, count), target)
    return target


def numbered(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """A label image as int32 whose labels are no larger than it has pixels, and the largest of them."""
    largest = int(labels.max())
    if largest > labels.size:
        values, numbers = np.unique(np.append(labels, 0), return_inverse=True)
        largest = len(values) - 1
        labels = (numbers[:-1] - np.searchsorted(values, 0)).reshape(labels.shape)
    return np.ascontiguousarray(labels, np.int32), largest


@numba.njit(nogil=True, cache=True)
def extents(labels: np.ndarray, count: int) -> np.ndarray:
    """First and last row and column of every label up to ``count``, int32 (label, 4); the last is -1 where absent."""
    rows, columns = labels.shape
    boxes = np.empty((count + 1, 4), np.int32)
    for label in range(count + 1):
        boxes[label, 0], boxes[label, 1], boxes[label, 2], boxes[label, 3] = rows, -1, columns, -1
    for y in range(rows):
        for x in range(columns):
            label = labels[y, x]
            if label > 0:
                box = boxes[label]
                box[0] = min(box[0], y)
                box[1] = y
                box[2] = min(box[2], x)
                box[3] = max(box[3], x)
    return boxes


@numba.njit(nogil=True, cache=True)
def heat_of(labels: np.ndarray, label: int, box: np.ndarray) -> np.ndarray:
    """Heat in an object, with a rim of one pixel around its extent, float64.

    The sums are taken in the order of the official implementation: where the heat has a summit, the direction of the
    flow hangs on the last bit.
    """
    top, left = box[0], box[2]
    height, width = box[1] - top + 1, box[3] - left + 1
    share = np.zeros((height + 2, width + 2))
    first, last = np.full(height + 2, width + 2), np.zeros(height + 2, np.int64)
    count, sum_y, sum_x = 0, 0, 0
    for y in range(height):
        for x in range(width):
            if labels[top + y, left + x] == label:
                share[y + 1, x + 1] = 1 / 9.0
                first[y + 1] = min(first[y + 1], x + 1)
                last[y + 1] = x + 2
                count += 1
                sum_y += y
                sum_x += x
    mean_y, mean_x, nearest = sum_y / count, sum_x / count, np.inf
    centre_y, centre_x = 0, 0
    for y in range(height):
        for x in range(width):
            if share[y + 1, x + 1] > 0:
                distance = (x - mean_x) ** 2 + (y - mean_y) ** 2
                if distance < nearest:
                    nearest, centre_y, centre_x = distance, y + 1, x + 1

    heat, cooler = np.zeros_like(share), np.zeros_like(share)
    for step in range(2 * (height + width + 4)):
        heat[centre_y, centre_x] += 1
        # Heat travels one pixel per step.
        for y in range(max(1, centre_y - step - 1), min(height + 1, centre_y + step + 2)):
            start, stop = max(first[y], centre_x - step - 1), min(last[y], centre_x + step + 2)
            if start < stop:
                _spread(heat, share, y, start, stop, cooler)
        heat, cooler = cooler, heat
    return heat


@numba.njit(nogil=True, cache=True, inline="always")
def _spread(heat, share, y, start, stop, result):
    # Slices of one length, each read from 0 on: this is what compilers turn into vector instructions.
    here, above, below = heat[y, start:stop], heat[y - 1, start:stop], heat[y + 1, start:stop]
    left, right = heat[y, start - 1 : stop - 1], heat[y, start + 1 : stop + 1]
    above_left, above_right = heat[y - 1, start - 1 : stop - 1], heat[y - 1, start + 1 : stop + 1]
    below_left, below_right = heat[y + 1, start - 1 : stop - 1], heat[y + 1, start + 1 : stop + 1]
    part, new = share[y, start:stop], result[y, start:stop]
    for x in range(len(new)):
        total = here[x] + above[x] + below[x] + left[x] + right[x]
        new[x] = part[x] * (total + above_left[x] + above_right[x] + below_left[x] + below_right[x])


@numba.njit(nogil=True, cache=True, inline="always")
def flow_at(heat, y, x):
    """Unit vector (y, x) along which the heat rises at a pixel of `heat_of`, or zeros."""
    along_y, along_x = heat[y + 1, x] - heat[y - 1, x], heat[y, x + 1] - heat[y, x - 1]
    length = 1e-60 + math.sqrt(along_y * along_y + along_x * along_x)
    return along_y / length, along_x / length


@numba.njit(nogil=True, cache=True)
def _fill(labels: np.ndarray, boxes: np.ndarray, target: np.ndarray) -> None:
    for label in range(1, len(boxes)):
        box = boxes[label]
        if box[1] < box[0]:
            continue
        heat = heat_of(labels, label, box)
        for y in range(box[0], box[1] + 1):
            for x in range(box[2], box[3] + 1):
                if labels[y, x] == label:
                    along_y, along_x = flow_at(heat, y - box[0] + 1, x - box[2] + 1)
                    target[y, x, 0], target[y, x, 1], target[y, x, 2] = along_y, along_x, 1


class FlowTarget(ObjectTarget):
    """Flows of whole objects and foreground, `flow_targets`; the foreground is -1 where ignored.

    An object that a patch cuts keeps the flows that it has in its image, turned with the patch. What a patch shows
    beyond its image, which is mirrored there, is ignored.
    """

    def __init__(self, ignored: int | None = None) -> None:
        super().__init__(3, 2, ignored)

    def of_image(self, mask: np.ndarray) -> np.ndarray:
        labels = super().of_image(mask)
        target = flow_targets(without_ignored(labels))
        target[labels == IGNORED_LABEL, 2] = -1
        return target

    def of_patch(self, kept: np.ndarray, matrix: Matrix) -> np.ndarray:
        # From directions (x, y) in the image to those in the patch; the lengths of flows do not change with the scale.
        turn = np.linalg.inv(matrix) * math.sqrt(abs(np.linalg.det(matrix)))
        target = np.empty_like(kept)
        target[..., 1] = turn[0, 0] * kept[..., 1] + turn[0, 1] * kept[..., 0]
        target[..., 0] = turn[1, 0] * kept[..., 1] + turn[1, 1] * kept[..., 0]
        target[..., 2] = np.rint(kept[..., 2])
        target[np.isnan(kept[..., 2])] = 0, 0, -1
        return target
