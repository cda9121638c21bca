"""Blur, threshold and watershed as a family: without a network, and without training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kerazoo.models.classical.about import MODELS
from kerazoo.models.family import Family

if TYPE_CHECKING:
    import numpy as np


class Classical(Family):
    """Explicit programming in place of a network, see `kerazoo.models.classical.method`."""

    name = "classical"
    models = MODELS

    def apply(self, image: np.ndarray) -> np.ndarray:
        from kerazoo.models.classical.method import classical

        return classical(image)
