"""Networks whose output is decoded to single objects: StarDist, Cellpose, Omnipose."""

from __future__ import annotations

import keras
import numpy as np

from kerazoo.data.rescale import check_factor, rescaled, rescaled_size, resized
from kerazoo.inference.blocks import BLOCK, CONTEXT, objects_in_blocks
from kerazoo.inference.predictor import Predictor
from kerazoo.models.pixels.decoding import decode
from kerazoo.models.recipe import Recipe

OBJECTS = ("stars", "flows", "fields")
"""Targets of `kerazoo.models.recipe.Recipe` from which objects are decoded here."""


class ObjectPredictor(Predictor):
    """Applies a network for single objects to images of any size.

    Parameters
    ----------
    model
        The network, from (batch, y, x, channel) to (batch, y / grid, x / grid, channel).
    recipe
        Normalisation, tile geometry, scale and decoding.
    tile
        Largest side of the tiles in pixels; by default as large as the memory allows.
    diameter
        Median diameter in pixels of the objects on the images; by default as on the training images.
    """

    def __init__(
        self, model: keras.Model, recipe: Recipe, *, tile: int | None = None, diameter: float | None = None
    ) -> None:
        if recipe.scale is not None and diameter is not None:
            recipe = recipe.model_copy(update={"scale": recipe.scale.model_copy(update={"images": diameter})})
        super().__init__(model, recipe, tile=tile)
        self._factor = 1.0 if recipe.scale is None else recipe.scale.network / recipe.scale.images

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """The network's output for a raw image.

        Parameters
        ----------
        image
            Array (y, x, channel) as it was read, of any integer or float dtype and any size.

        Returns
        -------
        numpy.ndarray
            (y / grid, x / grid, channel), float32; where images are rescaled, brought back to the image's size.

        Raises
        ------
        UserError
            The number of channels is not the network's, or the image would be rescaled beyond measure.
        """
        return self._output(image, *self.recipe.normalisation.offset_and_scale(image))

    def result(self, image: np.ndarray, probabilities: np.ndarray | None = None) -> np.ndarray:
        """Predict a raw image.

        Parameters
        ----------
        image
            Array (y, x, channel) as it was read, of any integer or float dtype and any size.
        probabilities
            Not used.

        Returns
        -------
        numpy.ndarray
            Labels without gaps, int32 (y, x). Polygons of very large images are suppressed strip by strip, all other
            objects are found block by block, see `kerazoo.inference.blocks`.

        Raises
        ------
        UserError
            As for `probabilities`.
        """
        if self.recipe.targets == "stars":
            from kerazoo.models.stardist.strips import find_stars_in_strips

            return find_stars_in_strips(self.bands(image), image.shape[:2], self.recipe)
        offset, scale = self.recipe.normalisation.offset_and_scale(image)

        def objects(rows: slice, columns: slice) -> np.ndarray:
            return decode(self._output(image[rows, columns], offset, scale), self.recipe)

        return objects_in_blocks(image.shape[:2], objects, self._block, self._context)

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse images of a shape (y, x, channel) that cannot be predicted; see `Predictor.check`."""
        check_factor(self._factor)
        sides = shape[:2]
        if self.recipe.targets != "stars":
            sides = (min(side, self._block + 2 * self._context) for side in sides)
        self.tiling((*rescaled_size(tuple(sides), self._factor), shape[2]))

    @property
    def _block(self) -> int:
        """A block takes no more memory where it is made larger for the network."""
        return round(BLOCK / max(1.0, self._factor))

    @property
    def _context(self) -> int:
        """Objects are as much larger or smaller than usual as images are made smaller or larger for the network."""
        return min(round(CONTEXT / self._factor), self._block // 2)

    def _output(self, image: np.ndarray, offset: np.ndarray, scale: np.ndarray) -> np.ndarray:
        seen, grid = rescaled(image, self._factor) if self._factor != 1 else image, self.recipe.geometry.grid
        sides = (-(-side // grid) for side in seen.shape[:2])
        output = np.empty((*sides, len(self.recipe.classes)), np.float32)
        for rows, band in self._bands(seen, offset, scale):
            output[rows] = band
        return output if self._factor == 1 else resized(output, image.shape[1::-1])
