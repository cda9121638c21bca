"""What needs no training: blur, Otsu's threshold, watershed. The result that a network has to beat."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from skimage.filters import threshold_otsu

from kerazoo.models.shared.watershed import fill_holes, remove_small, separate


class Steps(NamedTuple):
    """What every step of `classical` makes of an image, (y, x)."""

    blurred: np.ndarray
    """float32."""
    foreground: np.ndarray
    """bool."""
    objects: np.ndarray
    """int32, labels."""


def classical(image: np.ndarray, blur: float = 1.0, minimum_size: int = 20) -> np.ndarray:
    """Segment bright objects on a dark background (Otsu 1979).

    Parameters
    ----------
    image
        Any numeric dtype, (y, x) or (y, x, channel); the mean of the channels is taken.
    blur
        Standard deviation of the Gaussian blur in pixels.
    minimum_size
        Smaller objects are removed, in pixels.

    Returns
    -------
    numpy.ndarray
        Labels 1, 2, ... of the objects, 0 for the background, int32 (y, x).
    """
    return classical_steps(image, blur, minimum_size).objects


def classical_steps(image: np.ndarray, blur: float = 1.0, minimum_size: int = 20) -> Steps:
    """The same as `classical`, with what it goes through.

    Parameters
    ----------
    image, blur, minimum_size
        As for `classical`.

    Returns
    -------
    Steps
        One array per step.
    """
    plane = image.astype(np.float32)
    if plane.ndim == 3:
        plane = plane.mean(axis=2)
    blurred = cv2.GaussianBlur(plane, (0, 0), blur)
    foreground = blurred > threshold_otsu(blurred)
    objects = remove_small(fill_holes(separate(foreground, foreground)), minimum_size)
    return Steps(blurred, foreground, objects)
