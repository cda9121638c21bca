"""Explicit programming in place of a network: the registry's `classical2d`."""

from __future__ import annotations

import numpy as np

from kerazoo.config import DecodingConfig
from kerazoo.data.normalise import Normalisation
from kerazoo.models.classical.method import classical
from kerazoo.models.recipe import Recipe, TileGeometry


class ClassicalPredictor:
    """Blur, threshold and watershed, see `kerazoo.models.classical.method`, for images of any number of channels."""

    NAME = "classical2d"

    channels = None
    """Any number."""

    def __init__(self) -> None:
        self.recipe = Recipe(
            model=self.NAME,
            task="instances",
            channels=1,
            channel_names=["channel0"],
            classes=["background", "interior", "border"],
            targets="border",
            normalisation=Normalisation(method="none"),
            decoding=DecodingConfig(),
            geometry=TileGeometry(step=1, halo=0, minimum=1),
        )

    def result(self, image: np.ndarray) -> np.ndarray:
        """Label image, int32 (y, x), of an image (y, x, channel) of any integer or float dtype."""
        return classical(image)
