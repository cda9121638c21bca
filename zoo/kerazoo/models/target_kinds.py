"""The kinds of targets: what is kept of an image's annotation, and what is made of it in every patch that is cut."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from bmzpack.errors import UserError
from kerazoo.config import Config
from kerazoo.models.pixels.targets import IGNORED, make_target

_IGNORED_LABEL = 65535
"""Label of pixels that are neither trained nor scored."""

Matrix = tuple[tuple[float, float], tuple[float, float]]
"""Displacement (x, y) in the image per displacement in the patch, as in `kerazoo.data.augment.Map`."""


class Target(Protocol):
    """What a network learns."""

    @property
    def channels(self) -> int:
        """Of a patch's target."""
        ...

    @property
    def dtype(self) -> type[np.uint8] | type[np.float32]:
        """Of a patch's target."""
        ...

    @property
    def grid(self) -> int:
        """The target has one pixel for so many pixels of the patch, along y and x."""
        ...

    def of_image(self, mask: np.ndarray) -> np.ndarray:
        """What is kept of an annotation (y, x).

        Either (y, x), of which patches read the nearest pixel, or (y, x, value) float32, read between the pixels, and
        NaN beyond the image.
        """
        ...

    def of_patch(self, kept: np.ndarray, matrix: Matrix) -> np.ndarray:
        """The target (y / grid, x / grid, channel) of a patch, whose part of `of_image` has been read."""
        ...

    def ignore(self, target: np.ndarray, rows: int, columns: int) -> None:
        """Leave the first rows and columns, in pixels of the patch, out of a patch's target."""
        ...


class PixelClasses:
    """One class index per pixel, `kerazoo.models.pixels.targets`; 255 where ignored."""

    channels, dtype, grid = 1, np.uint8, 1

    def __init__(self, config: Config) -> None:
        self._config = config

    def of_image(self, mask: np.ndarray) -> np.ndarray:
        """See `Target`."""
        return make_target(mask, self._config)

    def of_patch(self, kept: np.ndarray, matrix: Matrix) -> np.ndarray:
        """See `Target`."""
        return kept[..., None]

    def ignore(self, target: np.ndarray, rows: int, columns: int) -> None:
        """See `Target`."""
        target[:rows], target[:, :columns] = IGNORED, IGNORED


class Stars:
    """Object probability and star distances, `kerazoo.models.stardist.targets`; the probability is -1 where ignored."""

    dtype = np.float32

    def __init__(self, rays: int, grid: int, ignored: int | None = None) -> None:
        self.channels, self.grid, self._rays, self._ignored = 1 + rays, grid, rays, ignored

    def of_image(self, mask: np.ndarray) -> np.ndarray:
        """See `Target`."""
        return label_image(mask, self._ignored)

    def of_patch(self, kept: np.ndarray, matrix: Matrix) -> np.ndarray:
        """See `Target`."""
        from kerazoo.models.stardist.targets import star_targets

        target = star_targets(_objects(kept), self._rays, self.grid)
        target[kept[:: self.grid, :: self.grid] == _IGNORED_LABEL, 0] = -1
        return target

    def ignore(self, target: np.ndarray, rows: int, columns: int) -> None:
        """See `Target`."""
        target[: rows // self.grid, :, 0] = -1
        target[:, : columns // self.grid, 0] = -1


class Flows:
    """Flows of whole objects and foreground, `kerazoo.models.cellpose.targets`; the foreground is -1 where ignored.

    An object that a patch cuts keeps the flows that it has in its image, turned with the patch. What a patch shows
    beyond its image, which is mirrored there, is ignored.
    """

    channels, dtype, grid = 3, np.float32, 1

    def __init__(self, ignored: int | None = None) -> None:
        self._ignored = ignored

    def of_image(self, mask: np.ndarray) -> np.ndarray:
        """See `Target`."""
        from kerazoo.models.cellpose.targets import flow_targets

        labels = label_image(mask, self._ignored)
        target = flow_targets(_objects(labels))
        target[labels == _IGNORED_LABEL, 2] = -1
        return target

    def of_patch(self, kept: np.ndarray, matrix: Matrix) -> np.ndarray:
        """See `Target`."""
        # From directions (x, y) in the image to those in the patch; the lengths of flows do not change with the scale.
        turn = np.linalg.inv(matrix) * math.sqrt(abs(np.linalg.det(matrix)))
        target = np.empty_like(kept)
        target[..., 1] = turn[0, 0] * kept[..., 1] + turn[0, 1] * kept[..., 0]
        target[..., 0] = turn[1, 0] * kept[..., 1] + turn[1, 1] * kept[..., 0]
        target[..., 2] = np.rint(kept[..., 2])
        target[np.isnan(kept[..., 2])] = 0, 0, -1
        return target

    def ignore(self, target: np.ndarray, rows: int, columns: int) -> None:
        """See `Target`."""
        target[:rows, :, 2], target[:, :columns, 2] = -1, -1


class Fields:
    """Flows, distance field, boundary and weight, `kerazoo.models.omnipose.targets`; the weight is -1 where ignored."""

    channels, dtype, grid = 5, np.float32, 1

    def __init__(self, ignored: int | None = None) -> None:
        self._ignored = ignored

    def of_image(self, mask: np.ndarray) -> np.ndarray:
        """See `Target`."""
        return label_image(mask, self._ignored)

    def of_patch(self, kept: np.ndarray, matrix: Matrix) -> np.ndarray:
        """See `Target`."""
        from kerazoo.models.omnipose.targets import field_targets

        target = field_targets(_objects(kept))
        target[kept == _IGNORED_LABEL, 4] = -1
        if kept.min() == kept.max() != 0:  # within one object: how far its boundary is cannot be said
            target[..., 4] = -1
        return target

    def ignore(self, target: np.ndarray, rows: int, columns: int) -> None:
        """See `Target`."""
        target[:rows, :, 4], target[:, :columns, 4] = -1, -1


def target_of(config: Config) -> Target:
    """What a configuration trains.

    Raises
    ------
    UserError
        The kind of target is not one of this network's.
    """
    arguments: dict[str, Any] = config.model.arguments
    match config.targets.kind:
        case "stars":
            return Stars(arguments.get("rays", 32), _side(arguments.get("grid", 2)), config.data.ignore)
        case "flows":
            return Flows(config.data.ignore)
        case "fields":
            return Fields(config.data.ignore)
    return PixelClasses(config)


def label_image(mask: np.ndarray, ignored: int | None = None) -> np.ndarray:
    """Objects numbered from 1 in an array that OpenCV resamples.

    Parameters
    ----------
    mask
        Label image (y, x), any integer dtype.
    ignored
        The label that is neither trained nor scored.

    Returns
    -------
    np.ndarray
        uint16 (y, x); 0 is background, 65535 is ignored.

    Raises
    ------
    UserError
        There are more than 65,534 objects.
    """
    values, numbers = np.unique(mask, return_inverse=True)
    objects = (values != 0) & (values != ignored) if ignored is not None else values != 0
    if objects.sum() >= _IGNORED_LABEL:
        raise UserError(f"A mask has {objects.sum():,} objects, more than 65,534: cut the image into parts.")
    table = np.zeros(len(values), np.uint16)
    table[objects] = np.arange(1, objects.sum() + 1)
    if ignored is not None:
        table[values == ignored] = _IGNORED_LABEL
    return table[numbers].reshape(mask.shape)


def _objects(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == _IGNORED_LABEL, 0, labels).astype(np.int32)


def _side(grid: Any) -> int:
    """One number where the grid is given as (y, x)."""
    sides = set(grid) if isinstance(grid, list | tuple) else {grid}
    if len(sides) != 1:
        raise UserError(f"model.arguments.grid is {grid}: images are trained with the same number for y and x.")
    return sides.pop()
