"""From class probabilities to the result: a class map, a foreground mask, or a label image.

It is done in two steps, so that the probabilities of a large image need never be in memory at once: `classify` takes
every pixel alone, `find_objects` the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kerazoo.models.shared.watershed import fill_holes, remove_small, separate

if TYPE_CHECKING:
    from kerazoo.config import DecodingConfig
    from kerazoo.models.recipe import Recipe

INTERIOR, RIM = 1, 2
"""Pixel classes of `border` targets: surely inside an object, and elsewhere on one."""


def classify(probabilities: np.ndarray, recipe: Recipe) -> np.ndarray:
    """The class of every pixel.

    Parameters
    ----------
    probabilities
        Class probabilities, float (y, x, classes).
    recipe
        Its targets and its decoding.

    Returns
    -------
    numpy.ndarray
        uint8 (y, x). `classes`: the index of the most probable class. `foreground`: 1
        where its probability is above ``threshold``, else 0. `border`: `INTERIOR` or `RIM` where interior and
        border together exceed ``threshold``, `INTERIOR` where the interior exceeds ``seed_threshold``; else 0.
    """
    if recipe.targets == "classes":
        return probabilities.argmax(axis=2).astype(np.uint8)
    if recipe.targets == "foreground":
        return (probabilities[..., 1] > recipe.decoding.threshold).astype(np.uint8)
    interior = probabilities[..., 1]
    foreground = interior + probabilities[..., 2] > recipe.decoding.threshold
    return np.where(foreground, np.where(interior > recipe.decoding.seed_threshold, INTERIOR, RIM), 0).astype(np.uint8)


def find_objects(regions: np.ndarray, decoding: DecodingConfig) -> np.ndarray:
    """Find objects in the pixel classes of a `border` target.

    Parameters
    ----------
    regions
        0, `INTERIOR` or `RIM`, as `classify` returns them, uint8 (y, x).
    decoding
        Its ``neck`` and ``minimum_size`` are used.

    Returns
    -------
    numpy.ndarray
        Labels without gaps, holes within an object filled, small objects removed, int32 (y, x).
    """
    labels = fill_holes(separate(regions == INTERIOR, regions > 0, decoding.neck))
    return remove_small(labels, decoding.minimum_size)
