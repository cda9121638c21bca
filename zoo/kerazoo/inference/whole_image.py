"""Networks for images of one size, which see every image whole."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kerazoo.models.exchange import Outputs
from kerazoo.models.recipe import Recipe
from kerazoo.models.registry import family_of_kind


class WholeImagePredictor:
    """Applies a network for images of one size to images of any size, and decodes what it gives.

    Parameters
    ----------
    outputs
        See `kerazoo.models.family.Family.outputs_of_whole`.
    recipe
        Normalisation and decoding.
    """

    def __init__(self, outputs: Callable[[np.ndarray, np.ndarray, np.ndarray], Outputs], recipe: Recipe) -> None:
        self.recipe, self.family, self._outputs = recipe, family_of_kind(recipe.targets), outputs

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.recipe.channels

    def check(self, shape: tuple[int, ...]) -> None:
        """Images of all shapes can be predicted."""

    def outputs(self, image: np.ndarray) -> Outputs:
        """The network's outputs for a raw image (y, x, channel), at its size."""
        return self._outputs(image, *self.recipe.normalisation.offset_and_scale(image))

    def result(self, image: np.ndarray, probabilities: np.ndarray | None = None) -> np.ndarray:
        """The label image, int32 (y, x), of a raw image (y, x, channel)."""
        return self.family.decode(self.outputs(image), self.recipe, image.shape)
