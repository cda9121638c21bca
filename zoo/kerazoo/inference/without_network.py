"""Entries of the registry without a network, such as `classical2d`: applied to images as they are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from kerazoo.config import DecodingConfig
from kerazoo.data.normalise import Normalisation
from kerazoo.models.recipe import Recipe, TileGeometry
from kerazoo.models.registry import family_of_model, list_models
from kerazoo.runs.run import Run


class WithoutNetwork:
    """Applies the method of an entry without a network.

    Parameters
    ----------
    name
        Name of the entry in the registry.
    """

    channels = None
    """Images of any number of channels are taken."""

    def __init__(self, name: str) -> None:
        self.family = family_of_model(name)
        self.recipe = Recipe(
            model=name,
            task="instances",
            channels=1,
            channel_names=["channel0"],
            classes=[],
            targets="",
            normalisation=Normalisation(method="none"),
            decoding=DecodingConfig(),
            geometry=TileGeometry(step=1, halo=0, minimum=1),
        )

    def check(self, shape: tuple[int, ...]) -> None:
        """Images of any shape are taken."""

    def result(self, image: np.ndarray, probabilities: np.ndarray | None = None) -> np.ndarray:
        """Label image, int32 (y, x), of an image (y, x, channel) of any integer or float dtype."""
        return self.family.apply(image)


def is_without_network(source: Run | str | os.PathLike[str]) -> bool:
    """Whether an entry of the registry without a network is meant, and not a run of that name."""
    names = {model.name for model in list_models() if model.task == "objects"}
    return not isinstance(source, Run) and str(source) in names and not Path(source).exists()
