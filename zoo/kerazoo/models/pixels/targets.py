"""From an annotation to one class index per pixel: classes, foreground, or background, interior and border."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from bmzpack.errors import UserError
from kerazoo.config import Config
from kerazoo.data.target import Matrix

IGNORED = 255
"""Class index of pixels that are neither trained nor scored."""

BACKGROUND, INTERIOR, BORDER = 0, 1, 2


def make_target(mask: np.ndarray, config: Config) -> np.ndarray:
    """What the network should say of every pixel.

    Parameters
    ----------
    mask
        Annotation (y, x), integer: object numbers, class indices, or 0 and 1.
    config
        Its ``targets``, ``data.annotation`` and ``data.ignored`` are used.

    Returns
    -------
    np.ndarray
        Class index (y, x), uint8; `IGNORED` where the mask has the ignored value.

    Raises
    ------
    UserError
        The kind of target cannot be made from this kind of annotation.
    """
    kind, annotation = config.targets.kind, config.data.annotation
    if (kind == "classes") != (annotation == "classes"):
        possible = "classes" if annotation == "classes" else "border or foreground"
        raise UserError(
            f"targets.kind {kind} cannot be made from masks with data.annotation {annotation}: "
            f"set targets.kind to {possible}, or correct data.annotation."
        )
    ignored = None if config.data.ignored is None else mask == config.data.ignored
    if kind == "classes":
        target = mask.astype(np.uint8)
    else:
        objects = mask if ignored is None else np.where(ignored, 0, mask)
        if kind == "border":
            target = border_target(objects, config.targets.border_width)
        else:
            target = (objects != 0).astype(np.uint8)
    if ignored is not None:
        target[ignored] = IGNORED
    return target


def border_target(labels: np.ndarray, width: int) -> np.ndarray:
    """Background, interior and border of every object.

    The border lies inside the object: its pixels are at most ``width`` pixels from another object or from the
    background. Where nothing of an object would be left, its border is made thinner, and the whole object is interior
    if it is that thin. The edge of the image is no boundary.

    Parameters
    ----------
    labels
        Label image (y, x); 0 is background.
    width
        Width of the border in pixels.

    Returns
    -------
    np.ndarray
        0 background, 1 interior, 2 border (y, x), uint8.
    """
    dense = labels
    if labels.max() > 65535:  # numbered anew from 1, as OpenCV's types hold no more; background stays 0
        dense = np.unique(np.append(labels, 0), return_inverse=True)[1][:-1].reshape(labels.shape)
    dense = dense.astype(np.uint16 if dense.max() < 65536 else np.float32)
    target = np.zeros(labels.shape, np.uint8)
    unfinished = labels != 0
    for radius in range(width, -1, -1):
        border = unfinished & _near_another(dense, radius)
        target[unfinished] = INTERIOR
        target[border] = BORDER
        kept = np.zeros(int(dense.max()) + 1, bool)
        kept[dense[target == INTERIOR].astype(np.intp)] = True
        unfinished = (dense != 0) & ~kept[dense.astype(np.intp)]
        if not unfinished.any():
            break
    return target


def _near_another(labels: np.ndarray, radius: int) -> np.ndarray:
    """Pixels that have a pixel of another value within a radius."""
    if radius == 0:
        return np.zeros(labels.shape, bool)
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc = (y**2 + x**2 <= radius**2).astype(np.uint8)
    return cv2.dilate(labels, disc) != cv2.erode(labels, disc)


class PixelTarget:
    """One class index per pixel, `make_target`; 255 where ignored."""

    channels, dtype, grid = 1, np.uint8, 1

    def __init__(self, config: Config, classes: int) -> None:
        self._config, self._classes = config, classes

    def of_image(self, mask: np.ndarray) -> np.ndarray:
        return make_target(mask, self._config)

    def of_patch(self, kept: np.ndarray, matrix: Matrix) -> np.ndarray:
        return kept[..., None]

    def ignore(self, target: np.ndarray, rows: int, columns: int) -> None:
        target[:rows], target[:, :columns] = IGNORED, IGNORED

    def counts(self, kept: Sequence[np.ndarray]) -> np.ndarray:
        return np.sum([np.bincount(target.ravel(), minlength=256) for target in kept], axis=0)[: self._classes]
