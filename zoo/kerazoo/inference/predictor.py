"""A trained network with all that turns a raw image into a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from bmzpack.errors import UserError
from kerazoo.data.normalise import scaled
from kerazoo.data.rescale import check_factor, rescaled, rescaled_size, resized
from kerazoo.inference.blocks import BLOCK, CONTEXT, objects_in_blocks
from kerazoo.inference.tiling import Tiling
from kerazoo.models.exchange import AppliedNetwork, Outputs
from kerazoo.models.recipe import Recipe
from kerazoo.models.registry import family_of_kind

MEMORY = 1.7e9
"""Bytes that a prediction may take beside the network's weights: as large a tile as this allows wastes the least."""
BYTES_PER_PIXEL = 10
"""What is held for every pixel of an image beside the image itself: classes, labels and the file that is written."""


class Predictor:
    """Applies a network to images of any size, and decodes what it gives.

    Parameters
    ----------
    network
        From (batch, y, x, channel) to (batch, y / grid, x / grid, channel).
    recipe
        Normalisation, tile geometry, scale and decoding.
    tile
        Largest side of the tiles in pixels; by default as large as the memory allows.
    diameter
        Where images are rescaled: median diameter in pixels of the objects on them; by default as on the training
        images.
    """

    def __init__(
        self,
        network: AppliedNetwork,
        recipe: Recipe,
        *,
        tile: int | None = None,
        diameter: float | None = None,
    ) -> None:
        if recipe.scale is not None and diameter is not None:
            recipe = recipe.model_copy(update={"scale": recipe.scale.model_copy(update={"images": diameter})})
        self.recipe = recipe
        self.family = family_of_kind(recipe.targets)
        self.factor = 1.0 if recipe.scale is None else recipe.scale.network / recipe.scale.images
        """By which images are rescaled for the network."""
        self._tile = tile
        self._network = network
        self._names = list(self._network.channels)
        self._ends = np.cumsum(list(self._network.channels.values()))
        self._memory_per_pixel = self._network.memory_per_pixel(recipe.geometry.minimum)

    @property
    def channels(self) -> int | None:
        """Channels of the images; None where any number will do."""
        return self.recipe.channels

    @property
    def block(self) -> int:
        """Side in pixels of the blocks of large images: one takes no more memory where it is made larger for the
        network."""
        return round(BLOCK / max(1.0, self.factor))

    @property
    def context(self) -> int:
        """Pixels around a block that are decoded with it: objects are as much larger or smaller than usual as images
        are made smaller or larger for the network."""
        return min(round(CONTEXT / self.factor), self.block // 2)

    def outputs(self, image: np.ndarray) -> Outputs:
        """The network's outputs for a raw image.

        Parameters
        ----------
        image
            Array (y, x, channel) as it was read, of any integer or float dtype and any size.

        Returns
        -------
        dict
            By the id of the output an array (y / grid, x / grid, channel), float32; where images are rescaled, brought
            back to the image's size.

        Raises
        ------
        UserError
            The number of channels is not the network's, or the image would be rescaled beyond measure.
        """
        return self.outputs_of(image).part(slice(None), slice(None))

    def result(self, image: np.ndarray, probabilities: np.ndarray | None = None) -> np.ndarray:
        """Predict a raw image and decode the outputs, which are not kept.

        Parameters
        ----------
        image
            Array (y, x, channel) as it was read, of any integer or float dtype and any size.
        probabilities
            Where to keep the outputs after all: an array (y, x, channel), such as a file mapped into memory.

        Returns
        -------
        numpy.ndarray
            Labels without gaps, class indices or a mask, int32 (y, x). Objects of very large images are found part by
            part, see `kerazoo.inference.blocks`.

        Raises
        ------
        UserError
            As for `outputs`.
        """
        return self.family.decode_large(self.outputs_of(image, probabilities), self.recipe)

    def outputs_of(self, image: np.ndarray, kept: np.ndarray | None = None) -> PredictedImage:
        """The outputs for a raw image, computed part by part as they are asked for; see `result`."""
        return PredictedImage(self, image, kept)

    def bands(self, image: np.ndarray, offset: np.ndarray, scale: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows of the outputs one after the other, at the size of the image.

        Parameters
        ----------
        image
            Array (y, x, channel), at the size that the network sees.
        offset, scale
            Offset and scale of the normalisation.

        Yields
        ------
        tuple of slice and numpy.ndarray
            The next rows, and all outputs (y / grid, x / grid, channel) for them side by side, float32.
        """

        def network(tile: np.ndarray) -> np.ndarray:
            given = self._network(self.family.inputs(scaled(tile, offset, scale)[None]))
            arrays = [array[0] for array in given.values()]
            return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=-1)

        yield from self.tiling(image.shape, image.nbytes).apply(network, image)

    def named(self, band: np.ndarray) -> Outputs:
        """Outputs that lie side by side, by their ids."""
        return dict(zip(self._names, np.split(band, self._ends[:-1], axis=-1), strict=True))

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse images of a shape (y, x, channel) that cannot be predicted.

        Raises
        ------
        UserError
            As for `tiling`, or they would be rescaled beyond measure.
        """
        check_factor(self.factor)
        sides = shape[:2]
        if self.family.blocks_only:
            sides = (min(side, self.block + 2 * self.context) for side in sides)
        self.tiling((*rescaled_size(tuple(sides), self.factor), shape[2]))

    def tiling(self, shape: tuple[int, ...], nbytes: int = 0) -> Tiling:
        """The tiles for images of a shape (y, x, channel), at the size that the network sees.

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


class PredictedImage:
    """What a network gives for one image; see `kerazoo.models.exchange.ImageOutputs`.

    Parameters
    ----------
    predictor
        With the network.
    image
        Array (y, x, channel) as it was read.
    kept
        Gets the outputs as they are computed, (y, x, channel), if it is there.
    """

    def __init__(self, predictor: Predictor, image: np.ndarray, kept: np.ndarray | None = None) -> None:
        self._predictor, self._image, self._kept = predictor, image, kept
        self._offset, self._scale = predictor.recipe.normalisation.offset_and_scale(image)

    @property
    def shape(self) -> tuple[int, int]:
        return self._image.shape[0], self._image.shape[1]

    def bands(self) -> Iterator[tuple[slice, Outputs]]:
        for rows, band in self._predictor.bands(self._image, self._offset, self._scale):
            if self._kept is not None:
                self._kept[rows] = band
            yield rows, self._predictor.named(band)

    def part(self, rows: slice, columns: slice) -> Outputs:
        predictor, part = self._predictor, self._image[rows, columns]
        seen, grid = rescaled(part, predictor.factor) if predictor.factor != 1 else part, predictor.recipe.geometry.grid
        sides = (-(-side // grid) for side in seen.shape[:2])
        output = np.empty((*sides, len(predictor.recipe.classes)), np.float32)
        for band_rows, band in predictor.bands(seen, self._offset, self._scale):
            output[band_rows] = band
        return predictor.named(output if predictor.factor == 1 else resized(output, part.shape[1::-1]))

    def in_blocks(self, objects: Callable[[slice, slice], np.ndarray]) -> np.ndarray:
        return objects_in_blocks(self.shape, objects, self._predictor.block, self._predictor.context)
