"""From a name to what can be applied to images: a trained network, or what needs no training."""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np

from bmzpack.errors import UserError
from kerazoo.inference.patch_predictor import PatchPredictor
from kerazoo.inference.predictor import Predictor
from kerazoo.inference.refined import PointPredictor, RefinedPredictor
from kerazoo.inference.source import open_source
from kerazoo.inference.whole_image import WholeImagePredictor
from kerazoo.inference.without_network import WithoutNetwork, is_without_network
from kerazoo.models.exchange import Outputs
from kerazoo.models.family import Family
from kerazoo.models.recipe import Recipe
from kerazoo.models.registry import family_of_kind
from kerazoo.runs.run import Run


class Applicable(Protocol):
    """What can be applied to images, with or without a network."""

    recipe: Recipe
    family: Family

    @property
    def channels(self) -> int | None:
        """Channels of the images; None where any number will do."""
        ...

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse images of a shape (y, x, channel) that cannot be predicted."""
        ...

    def result(self, image: np.ndarray, probabilities: np.ndarray | None = None) -> np.ndarray:
        """Labels or class indices, int32 (y, x), of a raw image; of patches, one for each.

        Parameters
        ----------
        image
            Array (y, x, channel) as it was read, of any integer or float dtype.
        probabilities
            Gets the network's outputs, float32 (y, x, channel), if it is there.
        """
        ...


class NetworkPredictor(Applicable, Protocol):
    """A network that has outputs for every image, of which the result is decoded."""

    def outputs(self, image: np.ndarray) -> Outputs:
        """The network's outputs for a raw image (y, x, channel), at its size."""
        ...


def load_network(run: Run) -> NetworkPredictor:
    """Load the network of a run that is for pixels or objects."""
    predictor = load_predictor(run)
    assert isinstance(predictor, Predictor | WholeImagePredictor)
    return predictor


def load_classifier(run: Run) -> PatchPredictor:
    """Load the network of a run that classifies patches."""
    predictor = load_predictor(run)
    assert isinstance(predictor, PatchPredictor)
    return predictor


def load_predictor(
    source: Run | str | os.PathLike[str],
    *,
    tile: int | None = None,
    diameter: float | None = None,
    mode: str | None = None,
    refine_with: Run | str | os.PathLike[str] | None = None,
) -> Applicable:
    """Load what a user names.

    Parameters
    ----------
    source
        A run, its folder, a bundle, or an entry of the registry that needs no training.
    tile
        Largest side of the tiles in pixels, for networks that give something for every pixel.
    diameter
        Median diameter in pixels of the objects on the images, for networks to which images are rescaled; by default
        as on the training images.
    mode
        `points`: objects are found by points in what the network finds, see `kerazoo.inference.refined`.
    refine_with
        A run that answers prompts: it gives the masks for the boxes of the objects that are found.

    Returns
    -------
    Applicable
        A `PatchPredictor` where the network classifies patches.

    Raises
    ------
    UserError
        There is no such run or bundle, or the bundle does not say what is needed; or a diameter is given that is not
        above 0, or where images are not rescaled; or mode or run are not for this source.
    """
    if mode not in (None, "points"):
        raise UserError(f"There is no mode {mode!r}: leave --mode out, or choose points.")
    if refine_with is not None:
        return RefinedPredictor(load_predictor(source, tile=tile, diameter=diameter, mode=mode), refine_with)
    if mode == "points":
        if is_without_network(source):
            raise UserError(f"{source} does not answer prompts: leave --mode points out.")
        return PointPredictor(source, tile=tile)
    if is_without_network(source):
        method = WithoutNetwork(str(source))
        network, recipe = None, method.recipe
    else:
        method = None
        network, recipe = open_source(source)
    if diameter is not None and recipe.scale is None:
        raise UserError(f"{source} takes images as they are, without a diameter: leave --diameter out.")
    if diameter is not None and diameter <= 0:
        raise UserError(f"--diameter {diameter:g} is no diameter: give that of the objects, in pixels of the images.")
    if method is not None:
        return method
    assert network is not None
    if recipe.patch is not None:
        return PatchPredictor(network, recipe)
    outputs = family_of_kind(recipe.targets).outputs_of_whole(network)
    if outputs is None:
        return Predictor(network, recipe, tile=tile, diameter=diameter)
    if tile is not None:
        raise UserError(f"{source} sees every image whole, without tiles: leave --tile out.")
    return WholeImagePredictor(outputs, recipe)
