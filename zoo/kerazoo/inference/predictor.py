"""A trained network with all that turns a raw image into a result."""

from __future__ import annotations

import os
from collections.abc import Iterator

import keras
import numpy as np

from bmzpack.errors import UserError
from kerazoo.data.normalise import scaled
from kerazoo.inference.blocks import objects_in_blocks
from kerazoo.inference.network import compiled, memory_per_pixel
from kerazoo.inference.source import open_source
from kerazoo.inference.tiling import Tiling
from kerazoo.models.pixels.decoding import classify, find_objects
from kerazoo.models.recipe import Recipe
from kerazoo.runs.run import Run

MEMORY = 1.7e9
"""Bytes that a prediction may take beside the network's weights: as large a tile as this allows wastes the least."""
BYTES_PER_PIXEL = 10
"""What is held for every pixel of an image beside the image itself: classes, labels and the file that is written."""


class Predictor:
    """Applies a network to images of any size.

    Parameters
    ----------
    model
        The network, from (batch, y, x, channel) to class probabilities (batch, y, x, class).
    recipe
        Normalisation, tile geometry and decoding.
    tile
        Largest side of the tiles in pixels; by default as large as the memory allows.
    """

    def __init__(self, model: keras.Model, recipe: Recipe, *, tile: int | None = None) -> None:
        self.recipe = recipe
        self._tile = tile
        self._network = compiled(model)
        self._memory_per_pixel = memory_per_pixel(model, recipe.geometry.minimum)

    @classmethod
    def load(cls, source: Run | str | os.PathLike[str], *, tile: int | None = None) -> Predictor:
        """Load the network of a run or of a bundle.

        Parameters
        ----------
        source
            A run, its folder, or a bundle: a zip file, its unpacked folder, or the rdf.yaml in it.
        tile
            Largest side of the tiles in pixels.

        Returns
        -------
        Predictor
            Ready to be used.

        Raises
        ------
        UserError
            There is no run and no bundle, or the bundle does not say what is needed.
        """
        return cls(*open_source(source), tile=tile)

    @property
    def channels(self) -> int:
        """Of the images."""
        return self.recipe.channels

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """The network's output for a raw image.

        Parameters
        ----------
        image
            Array (y, x, channel) as it was read, of any integer or float dtype and any size.

        Returns
        -------
        numpy.ndarray
            Class probabilities (y, x, class), float32.

        Raises
        ------
        UserError
            The number of channels is not the network's.
        """
        output = np.empty((*image.shape[:2], len(self.recipe.classes)), np.float32)
        for rows, band in self.bands(image):
            output[rows] = band
        return output

    def result(self, image: np.ndarray, probabilities: np.ndarray | None = None) -> np.ndarray:
        """Predict a raw image and decode the output; the probabilities are not kept.

        Parameters
        ----------
        image
            Array (y, x, channel) as it was read, of any integer or float dtype and any size.
        probabilities
            Where to keep the probabilities after all: an array (y, x, class), such as a file mapped into memory.

        Returns
        -------
        numpy.ndarray
            Labels, class indices or a mask, int32 (y, x): see `kerazoo.models.pixels.decoding`. Objects of very large
            images are found block by block, see `kerazoo.inference.blocks`.

        Raises
        ------
        UserError
            The number of channels is not the network's.
        """
        height, width = image.shape[:2]
        regions = np.empty((height, width), np.uint8)
        for rows, band in self.bands(image):
            regions[rows] = classify(band, self.recipe)
            if probabilities is not None:
                probabilities[rows] = band
            del band
        if self.recipe.targets == "border":
            return objects_in_blocks(
                (height, width), lambda rows, columns: find_objects(regions[rows, columns], self.recipe.decoding)
            )
        return regions.astype(np.int32)

    def bands(self, image: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """The same as `probabilities`, but some rows after the other.

        Yields
        ------
        tuple of slice and numpy.ndarray
            The next rows of the image and their class probabilities (y, x, class), float32.
        """
        yield from self._bands(image, *self.recipe.normalisation.offset_and_scale(image))

    def _bands(self, image: np.ndarray, offset: np.ndarray, scale: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """The same with a given normalisation."""

        def network(tile: np.ndarray) -> np.ndarray:
            return self._network(scaled(tile, offset, scale))

        yield from self.tiling(image.shape, image.nbytes).apply(network, image)

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse images of a shape (y, x, channel) that cannot be predicted.

        Raises
        ------
        UserError
            As for `tiling`.
        """
        self.tiling(shape)

    def tiling(self, shape: tuple[int, ...], nbytes: int = 0) -> Tiling:
        """The tiles for images of a shape (y, x, channel).

        Raises
        ------
        UserError
            The number of channels is not the network's, or the tile is too small for the network.
        """
        height, width, channels = shape
        if channels != self.recipe.channels:
            raise UserError(f"The image has {channels} channels, the network takes {self.recipe.channels}: convert it.")
        free = max(MEMORY - nbytes - BYTES_PER_PIXEL * height * width, MEMORY / 4)
        return Tiling((height, width), self.recipe.geometry, int(free / self._memory_per_pixel), self._tile)
