"""Normalisation of pixel values: measured once, applied alike in training, in prediction and in the bundle.

Every method comes down to ``(image - offset) / scale``, with one offset and scale per image or per channel. The numbers
are those of the BioImage Model Zoo's operations:

| method | operation of the bundle |
| --- | --- |
| scaling | scale_linear, gain 1 / maximum |
| centering | scale_linear, gain 1 / maximum, offset -mean |
| standardisation, scope image | zero_mean_unit_variance, axes channel, y, x, eps 1e-6 |
| standardisation, scope dataset | fixed_zero_mean_unit_variance, eps 1e-6 |
| percentile | scale_range, axes channel, y, x, eps 1e-6; axes y, x where every channel has its own |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from bmzpack.errors import UserError
from kerazoo.config import NormalisationConfig, Section

if TYPE_CHECKING:
    from kerazoo.files.pairs import Sample

EPSILON = 1e-6


class Normalisation(Section):
    """A normalisation with all its numbers; `fit_normalisation` makes one from configuration and training images."""

    method: Literal["none", "scaling", "centering", "standardisation", "percentile"]
    scope: Literal["image", "dataset"] = "image"
    low: float = 1.0
    high: float = 99.8
    per_channel: bool = False
    """Whether percentiles are those of each channel, else of all channels together."""
    maximum: float = 255.0
    mean: list[float] = []
    """Per channel, of the training set: of the scaled values for `centering` and, where there are any, `percentile`; of
    the raw values for `standardisation`; empty where the scope is the image."""
    deviation: list[float] = []
    """Per channel, of the training set, of the same values; not for `centering`."""

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Normalise a whole image.

        Parameters
        ----------
        image
            Array (y, x, channel) of any integer or float dtype.

        Returns
        -------
        np.ndarray
            Array (y, x, channel), float32. Beside it only a few rows are held in memory.
        """
        return scaled(image, *self.offset_and_scale(image))

    def of_channels(self, channels: Sequence[int], count: int) -> Normalisation:
        """The same for some of an image's channels, of which there are so many.

        Raises
        ------
        UserError
            It measures all channels of an image together.
        """
        if len(channels) == count:
            return self
        together = self.method == "percentile" and not self.per_channel
        if together or (self.method == "standardisation" and self.scope == "image"):
            raise UserError(
                f"normalisation.method {self.method} measures all channels of an image together, but the network has "
                "an input for some of them: set it to scaling, or to standardisation with normalisation.scope dataset."
            )
        mean, deviation = (
            [values[place] for place in channels] if values else [] for values in (self.mean, self.deviation)
        )
        return self.model_copy(update={"mean": mean, "deviation": deviation})

    def offset_and_scale(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of ``(image - offset) / scale`` for one image.

        Parameters
        ----------
        image
            Array (y, x, channel) of any integer or float dtype.

        Returns
        -------
        tuple of np.ndarray
            Offset and scale, float64, each of shape (channel,). A network that takes grey images in three channels has
            more of them than the image: the result gets as many.
        """
        channels = max(image.shape[-1], len(self.mean))
        match self.method:
            case "none":
                offset, scale = 0.0, 1.0
            case "scaling":
                offset, scale = 0.0, self.maximum
            case "centering":
                offset, scale = np.multiply(self.mean, self.maximum), self.maximum
            case "standardisation" if self.scope == "dataset":
                offset, scale = np.asarray(self.mean), np.add(self.deviation, EPSILON)
            case "standardisation":
                moments = Moments()
                moments.add(image)
                offset, scale = moments.mean.mean(), moments.deviation_of_all + EPSILON
            case "percentile":
                offset, high = np.percentile(image, [self.low, self.high], axis=(0, 1) if self.per_channel else None)
                scale = high - offset + EPSILON
                if self.mean:
                    offset, scale = offset + scale * self.mean, scale * self.deviation
        return np.broadcast_to(offset, channels).astype(float), np.broadcast_to(scale, channels).astype(float)


def scaled(image: np.ndarray, offset: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """``(image - offset) / scale`` of an image (y, x, channel), computed in float64 and returned as float32."""
    result = np.empty(image.shape, np.float32)
    for rows in _row_blocks(image):
        result[rows] = (image[rows] - offset) / scale
    return result


class Moments:
    """Mean and deviation per channel of any number of images, in one pass and in float64 (Chan et al. 1983)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = np.zeros(1)
        self._squares = np.zeros(1)

    def add(self, image: np.ndarray) -> None:
        """Take in an image (y, x, channel)."""
        for rows in _row_blocks(image):
            block = image[rows].reshape(-1, image.shape[-1]).astype(np.float64)
            count = len(block)
            mean = block.mean(axis=0)
            block -= mean
            step = mean - self.mean
            total = self.count + count
            self._squares = self._squares + np.einsum("pc,pc->c", block, block) + step**2 * (self.count * count / total)
            self.mean = self.mean + step * (count / total)
            self.count = total

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation per channel, of the population."""
        return np.sqrt(self._squares / self.count)

    @property
    def deviation_of_all(self) -> float:
        """Standard deviation of all channels together."""
        return float(np.sqrt(np.mean(self._squares / self.count + (self.mean - self.mean.mean()) ** 2)))


def fit_normalisation(config: NormalisationConfig, samples: Iterable[Sample]) -> Normalisation:
    """Measure what a normalisation needs to know of the training images.

    Parameters
    ----------
    config
        The method and its settings.
    samples
        The training images; they are passed over once.

    Returns
    -------
    Normalisation
        Ready to be applied, and to be stored with the network.

    Raises
    ------
    UserError
        `scaling` or `centering` of float images without a maximum, or of images of several integer types.
    """
    if config.low >= config.high:
        raise UserError(
            f"normalisation.low ({config.low:g}) must be smaller than normalisation.high ({config.high:g})."
        )
    moments = Moments()
    types = set()
    for sample in samples:
        types.add(sample.image.dtype)
        if config.method == "centering" or (config.method == "standardisation" and config.scope == "dataset"):
            moments.add(sample.image)

    maximum = config.maximum
    if maximum is None and config.method in ("scaling", "centering"):
        if len(types) > 1 or not np.issubdtype(next(iter(types)), np.integer):
            raise UserError(
                f"The images are of type {', '.join(sorted(map(str, types)))}: state what `{config.method}` divides by "
                "as normalisation.maximum, or choose normalisation.method standardisation."
            )
        maximum = float(np.iinfo(next(iter(types))).max)

    fitted = Normalisation(**config.model_dump(include={"method", "scope", "low", "high", "per_channel"}))
    if maximum is not None:
        fitted.maximum = maximum
    if config.method == "centering":
        fitted.mean = [float(value) for value in moments.mean / fitted.maximum]
    elif config.method == "standardisation" and config.scope == "dataset":
        fitted.mean = [float(value) for value in moments.mean]
        fitted.deviation = [float(value) for value in moments.deviation]
    return fitted


def _row_blocks(image: np.ndarray, values: int = 1 << 17) -> Iterator[slice]:
    """Slices over the rows of an image, each of so many values that they stay in the cache."""
    rows = max(1, values // max(1, image[0].size))
    for start in range(0, len(image), rows):
        yield slice(start, start + rows)
