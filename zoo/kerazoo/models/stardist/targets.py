"""Star targets: of every pixel the object probability and the distances to the object's edge (Schmidt et al. 2018)."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from bmzpack.errors import UserError
from kerazoo.data.target import Matrix
from kerazoo.models.shared.distance import edge_distances, numbered
from kerazoo.models.shared.label_image import IGNORED_LABEL, without_ignored
from kerazoo.models.shared.object_target import ObjectTarget

IGNORED = -1.0
"""Object probability of pixels that are neither trained nor scored: those of negative label."""


def star_targets(labels: np.ndarray, rays: int = 32, grid: int | tuple[int, int] = 1) -> np.ndarray:
    """What a StarDist network should say of a label image.

    The probability is the distance to the nearest pixel of another label, divided by its maximum over the object, both
    on the grid; the edge of the image is no boundary there. The distances along the rays are measured on the full image
    in steps of one pixel, half a pixel less than where the object is left; there the edge of the image is a boundary.

    Parameters
    ----------
    labels
        Label image (y, x), integer; 0 is background, pixels of negative label are ignored.
    rays
        Directions, at equal angles from +x over +y.
    grid
        Step between the pixels that are kept, one for both axes or (y, x).

    Returns
    -------
    np.ndarray
        float32 (y / grid, x / grid, 1 + rays), sizes rounded up: probability between 0 and 1 (`IGNORED` where the label
        is negative), then distances in pixels of the full image; all 0 in the background.

    Raises
    ------
    UserError
        There are fewer than three rays.

    Notes
    -----
    Equal to what stardist 0.9.2 trains on: `edt_prob` of the subsampled labels, `star_dist` with a grid.
    """
    if rays < 3:
        raise UserError(f"Star distances need at least 3 rays, not {rays}.")
    step_y, step_x = grid if isinstance(grid, tuple) else (grid, grid)
    dense = numbered(labels)
    kept = np.ascontiguousarray(dense[::step_y, ::step_x])
    stars = np.empty((*kept.shape, 1 + rays), np.float32)
    stars[..., 0] = edge_distances(kept)
    _fill_distances(np.ascontiguousarray(dense), step_y, step_x, *_ray_table(rays, max(labels.shape)), stars)
    stars[labels[::step_y, ::step_x] < 0, 0] = IGNORED
    return stars


def _ray_table(rays: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets along every ray after 1, 2, ... steps, summed up in float32 as stardist does, y and x (rays, steps)."""
    angle = np.arange(rays, dtype=np.float32) * np.float32(2 * math.pi / rays)
    longest = math.ceil(size * math.sqrt(2)) + 2
    dy, dx = (
        np.repeat(f(angle.astype(np.float64)).astype(np.float32)[:, None], longest, axis=1) for f in (np.sin, np.cos)
    )
    return np.cumsum(dy, axis=1, dtype=np.float32), np.cumsum(dx, axis=1, dtype=np.float32)


@numba.njit(nogil=True, cache=True)
def _fill_distances(labels, step_y, step_x, offset_y, offset_x, stars):
    height, width = labels.shape
    rays = offset_y.shape[0]
    for row in range(stars.shape[0]):
        for column in range(stars.shape[1]):
            y, x = row * step_y, column * step_x
            label = labels[y, x]
            if label == 0:
                stars[row, column, 1:] = 0
                continue
            for ray in range(rays):
                step = 0
                while True:
                    ny = int(np.rint(np.float32(y) + offset_y[ray, step]))
                    nx = int(np.rint(np.float32(x) + offset_x[ray, step]))
                    if ny < 0 or ny >= height or nx < 0 or nx >= width or labels[ny, nx] != label:
                        break
                    step += 1
                dy, dx = offset_y[ray, 0], offset_x[ray, 0]
                back = np.float32(0.5) / max(abs(dy), abs(dx)) - np.float32(1)
                end_y = offset_y[ray, step] + back * dy
                end_x = offset_x[ray, step] + back * dx
                stars[row, column, 1 + ray] = math.sqrt(end_y * end_y + end_x * end_x)


class StarTarget(ObjectTarget):
    """Object probability and star distances, `star_targets`; the probability is -1 where ignored."""

    def __init__(self, rays: int, grid: int, ignored: int | None = None) -> None:
        super().__init__(1 + rays, 0, ignored, grid)

    def of_patch(self, kept: np.ndarray, matrix: Matrix) -> np.ndarray:
        target = star_targets(without_ignored(kept), self.channels - 1, self.grid)
        target[kept[:: self.grid, :: self.grid] == IGNORED_LABEL, 0] = -1
        return target


def grid_side(grid: Any) -> int:
    """One number where the grid is given as (y, x)."""
    sides = set(grid) if isinstance(grid, list | tuple) else {grid}
    if len(sides) != 1:
        raise UserError(f"model.arguments.grid is {grid}: images are trained with the same number for y and x.")
    return sides.pop()
