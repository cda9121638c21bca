"""Asking for objects of an image: its embedding is computed once, and then asked as often as there are prompts."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import keras
import numpy as np
from PIL import Image

from bmzpack.errors import UserError
from bmzpack.files import new_file
from kerazoo.models.sam.network import image_network
from kerazoo.models.sam.prompts import joined

Arrays = dict[str, np.ndarray]
Run = Callable[[Arrays], Arrays]


@dataclasses.dataclass(frozen=True)
class Embedding:
    """What the image encoder says of an image."""

    tokens: np.ndarray
    """float32 (y, x, feature)."""
    shape: tuple[int, int]
    """Height and width of the image in pixels."""
    scale: float
    """By which the image was enlarged for the network."""

    @property
    def seen(self) -> tuple[int, int]:
        """Height and width of what the network has seen of it, in pixels."""
        return seen_size(self.shape, self.scale)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an `.npz` file."""
        with new_file(Path(path), overwrite=True) as temporary, temporary.open("wb") as file:
            np.savez(file, tokens=self.tokens, shape=self.shape, scale=self.scale)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Embedding:
        """Read what `save` has written.

        Raises
        ------
        UserError
            There is no such file, or it holds something else.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                height, width = file["shape"].tolist()
                return cls(file["tokens"], (height, width), float(file["scale"]))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} holds no embedding: {error}. Compute it anew with embed().") from error


@dataclasses.dataclass(frozen=True)
class Mask:
    """A mask of an object."""

    rows: slice
    columns: slice
    """The part of the image outside of which there is nothing."""
    logits: np.ndarray
    """float32 (y, x) of that part: above 0 in the object."""
    score: float
    """Predicted intersection over union."""
    prompt: np.ndarray
    """The logits as the network gives them, float32 (y, x): a prompt for the same object."""

    @property
    def inside(self) -> np.ndarray:
        """bool (y, x) of the part of the image."""
        return self.logits > 0


class PromptedNetwork:
    """A network of `kerazoo.models.sam.network.whole`, applied to prompts.

    Parameters
    ----------
    network
        Encoders of one size see the whole image, enlarged or reduced to that size, as in the official package. Other
        encoders see it as it is, and a prompt belongs to a window of the image.
    compiled
        Makes a network fast: from a model to a function of its inputs by id, which gives its outputs by id.
    """

    def __init__(self, network: keras.Model, compiled: Callable[[keras.Model], Run]) -> None:
        encoder, decoder = image_network(network, "image_embedding"), network.get_layer("mask_decoder")
        self._size: int | None = encoder.inputs[0].shape[1]
        self._encode = compiled(encoder)
        self._decode = compiled(decoder)
        self._side: int = decoder.inputs[0].shape[1]
        """Tokens of a window along y and x."""
        self._stride = 8 if self._size is None else self._size // self._side

    @property
    def window(self) -> int | None:
        """Side in pixels of the part of an image that is seen for a prompt; None for the whole image."""
        return self._side * self._stride if self._size is None else None

    def embed(self, image: np.ndarray, offset: np.ndarray | float = 0.0, scale: np.ndarray | float = 1.0) -> Embedding:
        """The embedding of an image.

        Parameters
        ----------
        image
            (y, x, channel), any dtype.
        offset, scale
            What is taken off the pixels, and what they are then divided by, one number or one for each channel. An
            image that is brought to the size of the network is normalised after that, and padded with zeros.
        """
        height, width = image.shape[:2]
        factor = 1.0
        if self._size is not None:
            factor = self._size / max(height, width)
            image = brought_to(image, self._size, offset, scale)
        else:
            image = ((image - offset) / scale).astype(np.float32)
            least = self._side * self._stride
            room = [max(least, -(-side // self._stride) * self._stride) - side for side in (height, width)]
            image = cv2.copyMakeBorder(image, 0, room[0], 0, room[1], cv2.BORDER_REFLECT).reshape(
                height + room[0], width + room[1], -1
            )
        (tokens,) = self._encode({"raw": image[None]}).values()
        return Embedding(tokens[0], (height, width), factor)

    def masks(
        self,
        embedding: Embedding,
        points: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        boxes: np.ndarray | None = None,
        prompts: np.ndarray | None = None,
        *,
        several: bool = False,
        batch: int = 64,
    ) -> Iterator[list[Mask]]:
        """See `kerazoo.models.exchange.PromptNetwork`; ``prompts`` are `Mask.prompt` of the same window."""
        given = [array for array in (points, boxes, prompts) if array is not None]
        count = len(given[0]) if given else 1
        kept, kinds = joined(points, labels, boxes, count)
        corners = self._windows(embedding, kept, kinds)
        kept = kept * np.array(
            [seen / side for seen, side in zip(embedding.seen[::-1], embedding.shape[::-1], strict=True)]
        )
        for first in range(0, count, batch):
            part = slice(first, min(first + batch, count))
            tokens = np.stack([embedding.tokens[y : y + self._side, x : x + self._side] for y, x in corners[part]])
            shifts = corners[part, None, ::-1] * self._stride
            size = len(tokens)
            asked = np.zeros((size, 4 * self._side, 4 * self._side), np.float32) if prompts is None else prompts[part]
            result = self._decode(
                {
                    "embedding": tokens,
                    "points": (kept[part] - shifts).astype(np.float32),
                    "labels": kinds[part],
                    "prompt_masks": asked[..., None],
                    "has_mask": np.full((size, 1), prompts is not None, np.float32),
                }
            )
            chosen = slice(1, None) if several else slice(0, 1)
            for corner, logits, scores in zip(corners[part], result["masks"], result["scores"], strict=True):
                pairs = zip(logits[chosen], scores[chosen], strict=True)
                yield [self._mask(embedding, corner, array, float(score)) for array, score in pairs]

    def _windows(self, embedding: Embedding, points: np.ndarray, kinds: np.ndarray) -> np.ndarray:
        """First token (y, x) of the window of every object, int (object, 2): prompts lie in its middle."""
        rooms = np.subtract(embedding.tokens.shape[:2], self._side)
        if self._size is not None or points.shape[1] == 0:
            return np.zeros((len(points), 2), int)
        there = (kinds >= 0)[..., None]
        low = np.where(there, points, np.inf).min(axis=1)
        high = np.where(there, points, -np.inf).max(axis=1)
        middle = (low + high)[:, ::-1] / 2 / self._stride
        return np.clip(np.rint(middle - self._side / 2), 0, rooms).astype(int)

    def _mask(self, embedding: Embedding, corner: np.ndarray, logits: np.ndarray, score: float) -> Mask:
        height, width = embedding.shape
        side = self._side * self._stride
        enlarged = cv2.resize(logits, (side, side), interpolation=cv2.INTER_LINEAR)
        if self._size is None:
            top, left = (int(place) * self._stride for place in corner)
            rows, columns = slice(top, min(top + side, height)), slice(left, min(left + side, width))
            visible = enlarged[: rows.stop - top, : columns.stop - left]
        else:
            rows, columns = slice(0, height), slice(0, width)
            visible = brought_back(enlarged, embedding.shape)
        return Mask(rows, columns, visible, score, logits)


def seen_size(shape: tuple[int, int], scale: float) -> tuple[int, int]:
    """Height and width of an image (height, width) that is enlarged."""
    return int(shape[0] * scale + 0.5), int(shape[1] * scale + 0.5)


def brought_to(
    image: np.ndarray, size: int, offset: np.ndarray | float = 0.0, scale: np.ndarray | float = 1.0
) -> np.ndarray:
    """An image as a network of one size sees it, as in the official package.

    Parameters
    ----------
    image
        (y, x, channel), any dtype.
    size
        Of its longer side; the other is padded with zeros at the end.
    offset, scale
        Of its normalisation, before it is padded.

    Returns
    -------
    numpy.ndarray
        float32 (size, size, channel).
    """
    shape = seen_size((image.shape[0], image.shape[1]), size / max(image.shape[:2]))
    image = ((_resized(image, shape) - offset) / scale).astype(np.float32)
    return np.pad(image, ((0, size - shape[0]), (0, size - shape[1]), (0, 0)))


def brought_back(output: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The opposite of `brought_to` for an output (size, size) or (size, size, channel), at the image's shape."""
    seen = seen_size(shape, len(output) / max(shape))
    return cv2.resize(output[: seen[0], : seen[1]], shape[::-1], interpolation=cv2.INTER_LINEAR)


def _resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bilinear, averaged where the image is reduced; whole numbers stay whole, as in the official package."""
    dtype = image.dtype if image.dtype == np.uint8 else np.float32
    channels = [
        np.asarray(Image.fromarray(channel.astype(dtype)).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))
        for channel in np.moveaxis(image, -1, 0)
    ]
    return np.stack(channels, axis=-1)
