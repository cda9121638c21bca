"""From a label image to what the decoder of all objects learns: foreground, and two distances in every object."""

from __future__ import annotations

import numba
import numpy as np

from kerazoo.data.target import Matrix
from kerazoo.models.shared.distance import edge_distances
from kerazoo.models.shared.label_image import IGNORED_LABEL, without_ignored
from kerazoo.models.shared.object_target import ObjectTarget


def map_targets(labels: np.ndarray) -> np.ndarray:
    """Foreground, distance to the centre, and distance to the boundary.

    Parameters
    ----------
    labels
        Label image (y, x), int32; 0 is background.

    Returns
    -------
    numpy.ndarray
        float32 (y, x, 3). The distances are between 0 and 1 in objects, and 1 in the background: how far a pixel is
        from the object's centre (its centre of mass, or where that lies outside its innermost pixel), divided by how
        far the farthest is; and 1 minus its distance to the nearest other pixel, divided by the largest one.

    Notes
    -----
    Archit et al. (2025), Segment Anything for Microscopy.
    """
    inside = labels > 0
    depth = edge_distances(labels)
    target = np.ones((*labels.shape, 3), np.float32)
    target[..., 0] = inside
    target[..., 2] = np.where(inside, 1 - depth, 1)
    count = int(labels.max(initial=0))
    if count:
        _fill_centres(labels, depth, count, target)
    return target


@numba.njit(nogil=True, cache=True)
def _fill_centres(labels: np.ndarray, depth: np.ndarray, count: int, target: np.ndarray) -> None:
    height, width = labels.shape
    centre = np.zeros((count + 1, 2))
    innermost = np.zeros((count + 1, 3))
    pixels, farthest = np.zeros(count + 1), np.zeros(count + 1)
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            centre[label, 0] += y
            centre[label, 1] += x
            pixels[label] += 1
            if label > 0 and depth[y, x] > innermost[label, 0]:
                innermost[label, 0], innermost[label, 1], innermost[label, 2] = depth[y, x], y, x
    for label in range(1, count + 1):
        if pixels[label]:
            centre[label] /= pixels[label]
            y, x = int(np.rint(centre[label, 0])), int(np.rint(centre[label, 1]))
            if labels[y, x] != label:
                centre[label] = innermost[label, 1:]
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label > 0:
                target[y, x, 1] = np.hypot(y - centre[label, 0], x - centre[label, 1])
                farthest[label] = max(farthest[label], target[y, x, 1])
    for y in range(height):
        for x in range(width):
            if labels[y, x] > 0:
                target[y, x, 1] /= max(farthest[labels[y, x]], 1e-6)


class MapTarget(ObjectTarget):
    """`map_targets`, the foreground -1 where ignored, and the label of every pixel, of which prompts are made."""

    def __init__(self, ignored: int | None = None) -> None:
        super().__init__(4, 0, ignored)

    def of_patch(self, kept: np.ndarray, matrix: Matrix) -> np.ndarray:
        labels = without_ignored(kept)
        target = np.concatenate([map_targets(labels), labels[..., None].astype(np.float32)], axis=-1)
        target[kept == IGNORED_LABEL, 0] = -1
        return target
