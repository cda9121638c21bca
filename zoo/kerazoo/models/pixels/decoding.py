"""From the network's probabilities to the result: a class map, a foreground mask, or a label image.

It is done in two steps, so that the probabilities of a large image need never be in memory at once: `classify` looks at
every pixel alone, `find_objects` at the image.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from kerazoo.models.shared.watershed import fill_holes, remove_small, separate

if TYPE_CHECKING:
    from kerazoo.config import DecodingConfig
    from kerazoo.models.recipe import Recipe

FLOW_ITERATIONS = 200
"""Steps along the flows, one pixel each at most, at the size of the image that the network sees."""
INTERIOR, RIM = 1, 2
"""Pixel classes of `border` targets: surely inside an object, and elsewhere on one."""


def decode(output: np.ndarray, recipe: Recipe, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Decode the network's output as the recipe says.

    Parameters
    ----------
    output
        What the network gives for a whole image, float (y, x, channel), in the order of ``recipe.classes``.
    recipe
        Its targets and its decoding.
    shape
        Height and width of the image, where the output has fewer pixels.

    Returns
    -------
    numpy.ndarray
        int32 (y, x). `classes`: the index of the most probable class. `foreground`: 1 where the foreground's
        probability is above ``threshold``, else 0. All others: labels 1, 2, ... of the objects, 0 for the background.
    """
    decoding = recipe.decoding
    match recipe.targets:
        case "border":
            return find_objects(classify(output, recipe), decoding)
        case "stars":
            from kerazoo.models.stardist.decoding import find_stars

            grid = recipe.geometry.grid
            labels = find_stars(output, (grid, grid), decoding.threshold, decoding.overlap)
            height, width = shape[:2] if shape else labels.shape
            return remove_small(labels[:height, :width], decoding.minimum_size)
        case "flows":
            from kerazoo.models.cellpose.decoding import find_flow_objects

            # Where the output was enlarged to the size of the image, the way to the centre is longer.
            enlarged = 1.0 if recipe.scale is None else max(1.0, recipe.scale.images / recipe.scale.network)
            return find_flow_objects(
                output,
                logit(decoding.threshold),
                decoding.flow_error,
                max(decoding.minimum_size, 1),
                iterations=round(FLOW_ITERATIONS * enlarged),
            )
        case "fields":
            from kerazoo.models.omnipose.decoding import find_field_objects

            return find_field_objects(output, decoding.distance, decoding.flow_error, max(decoding.minimum_size, 1))
    return classify(output, recipe).astype(np.int32)


def logit(probability: float) -> float:
    """The value whose sigmoid is the probability; infinite for 0 and 1."""
    if not 0 < probability < 1:
        return math.copysign(math.inf, probability - 0.5)
    return math.log(probability / (1 - probability))


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
        uint8 (y, x). `classes` and `foreground`: as for `decode`. `border`: `INTERIOR` or `RIM` where interior and
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
