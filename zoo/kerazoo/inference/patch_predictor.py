"""A trained patch classifier with all that turns a raw image into classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from bmzpack.errors import UserError
from kerazoo.data.patches import Patch, places
from kerazoo.models.exchange import AppliedNetwork
from kerazoo.models.recipe import Recipe
from kerazoo.models.registry import family_of_kind

BATCH_PIXELS = 2**18
"""So many pixels of patches are classified at once."""


class PatchPredictor:
    """Classifies patches of images, and images by their patches.

    Parameters
    ----------
    network
        From patches (batch, size, size, channel) to (batch, class), or the map of such a network.
    recipe
        With its ``patch``.
    """

    def __init__(self, network: AppliedNetwork, recipe: Recipe) -> None:
        assert recipe.patch is not None
        self.recipe = recipe
        self.patch: Patch = recipe.patch
        self.family = family_of_kind(recipe.targets)
        classify = self._arrays(network)
        self._network = classify if network.axes == 2 else _by_mosaics(classify, network.side or 0)

    def _arrays(self, network: AppliedNetwork) -> Callable[[np.ndarray], np.ndarray]:
        """The network as a function of patches (patch, y, x, channel), with one output."""

        def classify(patches: np.ndarray) -> np.ndarray:
            (output,) = network(self.family.inputs(patches)).values()
            return output

        return classify

    def check(self, shape: tuple[int, ...]) -> None:
        """Images of any shape are taken."""

    @property
    def channels(self) -> int | None:
        """Channels of the images."""
        return self.recipe.channels

    def scores(self, image: np.ndarray, corners: np.ndarray) -> np.ndarray:
        """Classify patches of a raw image.

        Parameters
        ----------
        image
            Array (y, x, channel) as it was read, of any integer or float dtype.
        corners
            First pixels (y, x) of the patches, int (patch, 2); patches may reach over the lower and right edge, where
            the image is mirrored.

        Returns
        -------
        numpy.ndarray
            The network's output, float32 (patch, class).

        Raises
        ------
        UserError
            The number of channels is not the network's.
        """
        if image.shape[2] != self.channels:
            raise UserError(f"The image has {image.shape[2]} channels, the network takes {self.channels}: convert it.")
        offset, scale = self.recipe.normalisation.offset_and_scale(image)
        size, output = self.patch.size, np.empty((len(corners), len(self.recipe.classes)), np.float32)
        for part in _parts(len(corners), max(1, BATCH_PIXELS // size**2)):
            patches = [image[_mirrored(y, size, image.shape[0])][:, _mirrored(x, size, image.shape[1])]
                       for y, x in corners[part]]  # fmt: skip
            output[part] = self._network(((np.stack(patches) - offset) / scale).astype(np.float32))
        return output

    def result(self, image: np.ndarray, probabilities: np.ndarray | None = None) -> np.ndarray:
        """The most probable class of patches side by side, int32 (row, column); their scores are kept on request."""
        scores = self.map(image)
        if probabilities is not None:
            probabilities[...] = scores
        return scores.argmax(axis=2).astype(np.int32)

    def map(self, image: np.ndarray, stride: int | None = None) -> np.ndarray:
        """Slide the classifier over an image.

        Parameters
        ----------
        image
            Array (y, x, channel) as it was read, of any size.
        stride
            Distance of the patches in pixels; by default their size, so that they lie side by side.

        Returns
        -------
        numpy.ndarray
            The network's output, float32 (row, column, class): of the patches that begin at multiples of the stride and
            cover the image, beyond whose lower and right edge it is mirrored.

        Raises
        ------
        UserError
            The number of channels is not the network's.
        """
        size, stride = self.patch.size, stride or self.patch.size
        rows, columns = (-(-max(0, length - size) // stride) + 1 for length in image.shape[:2])
        corners = np.argwhere(np.ones((rows, columns), bool)) * stride
        return self.scores(image, corners).reshape(rows, columns, -1)

    def whole(self, image: np.ndarray) -> np.ndarray:
        """The mean output, float32 (class,), of all patches of an image, at the stride of the training."""
        corners = [
            places(max(length, self.patch.size), self.patch.size, self.patch.stride) for length in image.shape[:2]
        ]
        every = np.stack(np.meshgrid(*corners, indexing="ij"), axis=-1).reshape(-1, 2)
        return self.scores(image, every).mean(axis=0)


def _by_mosaics(network: Callable[[np.ndarray], np.ndarray], side: int) -> Callable[[np.ndarray], np.ndarray]:
    """Classify patches with a network that takes images: put together, they are classified one by one all the same."""

    def apply(patches: np.ndarray) -> np.ndarray:
        size = patches.shape[1]
        grid = side // size
        rest = np.zeros((-len(patches) % grid**2, *patches.shape[1:]), np.float32)
        tiles = np.concatenate([patches, rest]).reshape(-1, grid, grid, *patches.shape[1:])
        images = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(-1, side, side, patches.shape[-1])
        maps = np.concatenate([network(image[None]) for image in images])
        every = maps.shape[1] // grid  # more than one pixel per patch where the map is enlarged
        return maps[:, ::every, ::every].reshape(-1, maps.shape[-1])[: len(patches)]

    return apply


def _parts(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _mirrored(first: int, size: int, length: int) -> slice | np.ndarray:
    """Pixels of a patch along an axis: a slice, or indices where it reaches over the image's end."""
    if first + size <= length:
        return slice(first, first + size)
    period = max(2 * (length - 1), 1)
    position = np.arange(first, first + size) % period
    return np.minimum(position, period - position) if length > 1 else np.zeros(size, int)
