"""Normalisation of pixel values: measured once, applied alike in training, in prediction and (as processing) in the bundle."""

from __future__ import annotations

from typing import Literal

import numpy as np

from kerazoo.config import Section


class Normalisation(Section):
    """A normalisation with all its numbers; `fit_normalisation` makes one from the configuration and the training images."""

    method: Literal["none", "scaling", "centering", "standardisation", "percentile"]
    scope: Literal["image", "dataset"] = "image"
    low: float = 1.0
    high: float = 99.8
    maximum: float = 255.0
    mean: list[float] = []
    """Per channel, of the training set, in the units that the method needs; empty where the scope is the image."""
    deviation: list[float] = []

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Normalise a whole image (y, x, channel) of any dtype to float32."""
        raise NotImplementedError
