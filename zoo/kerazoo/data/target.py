"""What a network learns: what is kept of an image's annotation, and what is made of it in every patch that is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

Matrix = tuple[tuple[float, float], tuple[float, float]]
"""Displacement (x, y) in the image per displacement in the patch, as in `kerazoo.data.augment.Map`."""


class Target(Protocol):
    """What a network learns."""

    @property
    def channels(self) -> int:
        """Channels of a patch's target."""
        ...

    @property
    def dtype(self) -> type[np.uint8] | type[np.float32]:
        """Data type of a patch's target."""
        ...

    @property
    def grid(self) -> int:
        """The target has one pixel for so many pixels of the patch, along y and x."""
        ...

    def of_image(self, mask: np.ndarray) -> np.ndarray:
        """What is kept of an annotation (y, x).

        Either (y, x), of which patches read the nearest pixel, or (y, x, value) float32, read between the pixels, and
        NaN beyond the image.
        """
        ...

    def of_patch(self, kept: np.ndarray, matrix: Matrix) -> np.ndarray:
        """The target (y / grid, x / grid, channel) of a patch, whose part of `of_image` has been read."""
        ...

    def ignore(self, target: np.ndarray, rows: int, columns: int) -> None:
        """Leave the first rows and columns, in pixels of the patch, out of a patch's target."""
        ...

    def counts(self, kept: Sequence[np.ndarray]) -> np.ndarray:
        """Pixels of each class in what is kept of images, int64; none where there are no classes."""
        ...
