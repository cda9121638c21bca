"""From a name to what can be applied to images: a trained network by its task, or what needs no training."""

from __future__ import annotations

import os
from pathlib import Path

from bmzpack.errors import UserError
from kerazoo.inference.classical import ClassicalPredictor
from kerazoo.inference.classifier import PatchClassifier
from kerazoo.inference.objects import OBJECTS, ObjectPredictor
from kerazoo.inference.predictor import Predictor
from kerazoo.inference.source import open_source
from kerazoo.runs.run import Run

AnyPredictor = Predictor | PatchClassifier | ClassicalPredictor


def load_predictor(
    source: Run | str | os.PathLike[str], *, tile: int | None = None, diameter: float | None = None
) -> AnyPredictor:
    """Load what a user names.

    Parameters
    ----------
    source
        A run, its folder, a bundle, or `classical2d`, which needs no training.
    tile
        Largest side of the tiles in pixels, for networks that give something for every pixel.
    diameter
        Median diameter in pixels of the objects on the images, for networks to which images are rescaled; by default
        as on the training images.

    Returns
    -------
    Predictor, PatchClassifier or ClassicalPredictor
        By the task of the recipe.

    Raises
    ------
    UserError
        There is no such run or bundle, or the bundle does not say what is needed; or a diameter is given that is not
        above 0, or where images are not rescaled.
    """
    if is_classical(source):
        model, recipe = None, ClassicalPredictor().recipe
    else:
        model, recipe = open_source(source)
    if diameter is not None and recipe.scale is None:
        raise UserError(f"{source} takes images as they are, without a diameter: leave --diameter out.")
    if diameter is not None and diameter <= 0:
        raise UserError(f"--diameter {diameter:g} is no diameter: give that of the objects, in pixels of the images.")
    if model is None:
        return ClassicalPredictor()
    if recipe.task == "classification":
        return PatchClassifier(model, recipe)
    if recipe.targets in OBJECTS:
        return ObjectPredictor(model, recipe, tile=tile, diameter=diameter)
    return Predictor(model, recipe, tile=tile)


def is_classical(source: Run | str | os.PathLike[str]) -> bool:
    """Whether the registry's method without training is meant, and not a run of that name."""
    return not isinstance(source, Run) and str(source) == ClassicalPredictor.NAME and not Path(source).exists()
