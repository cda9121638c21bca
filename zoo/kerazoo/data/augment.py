"""Random changes of training patches. All geometry is one coordinate map, so that every pixel is resampled once.

Image and target are read at the same coordinates, the image between its pixels (bilinear), the target at the nearest
pixel; beyond the edge both are mirrored. OpenCV releases the interpreter lock, so several batches are made at once.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from kerazoo.config import AugmentationConfig

cv2.setNumThreads(1)  # the pipeline makes batches in parallel; threads within one only compete with them

_ELASTIC_SPACING = 32
"""Distance of the knots of the elastic displacement, in pixels."""


@dataclasses.dataclass(frozen=True)
class Map:
    """Where the pixels of a patch come from."""

    matrix: np.ndarray
    """(2, 2): displacement (x, y) in the image per displacement in the patch."""
    centre: tuple[float, float]
    """Place (x, y) in the image of the patch's centre."""
    size: int
    """Side of the patch in pixels."""
    bend: np.ndarray | None = None
    """Further displacement (2, size, size) in pixels of the image, x before y."""

    def resample(self, image: np.ndarray, target: np.ndarray, margin: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Read an image and its target at the patch's pixels.

        Parameters
        ----------
        image
            (y, x, channel), any integer or float dtype.
        target
            (y, x), uint8.
        margin
            So many pixels at every side of the patch have no target.

        Returns
        -------
        tuple of np.ndarray
            (size, size, channel) float32 and (size - 2 margin, size - 2 margin) uint8.
        """
        half = (self.size - 1) / 2
        reach = np.abs(self.matrix).sum(axis=1) * half + 2
        if self.bend is not None:
            reach = reach + np.abs(self.bend).max(axis=(1, 2))
        height, width = target.shape
        left, top = (max(0, int(centre - far)) for centre, far in zip(self.centre, reach, strict=True))
        right, bottom = (int(centre + far) + 2 for centre, far in zip(self.centre, reach, strict=True))
        region = np.s_[top : min(bottom, height), left : min(right, width)]

        steps = np.arange(self.size) - half
        (a, b), (c, d) = self.matrix
        map_x = (a * steps).astype(np.float32) + (b * steps + self.centre[0] - left).astype(np.float32)[:, None]
        map_y = (c * steps).astype(np.float32) + (d * steps + self.centre[1] - top).astype(np.float32)[:, None]
        if self.bend is not None:
            map_x += self.bend[0]
            map_y += self.bend[1]

        patch = cv2.remap(
            image[region].astype(np.float32, copy=False),
            map_x,
            map_y,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        inner = slice(margin, self.size - margin)
        labels = cv2.remap(
            target[region],
            map_x[inner, inner],
            map_y[inner, inner],
            cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        return patch.reshape(self.size, self.size, -1), labels


def random_map(
    random: np.random.Generator, config: AugmentationConfig, shape: tuple[int, int], size: int, margin: int = 0
) -> Map:
    """Draw a patch's place, flips, quarter turns, rotation, scale and elastic deformation.

    Parameters
    ----------
    random
        The element's generator.
    config
        The largest changes.
    shape
        (y, x) of the image; at least ``size - 2 margin``.
    size
        Side of the patch in pixels.
    margin
        Pixels at every side of the patch that have no target; they may lie outside the image.

    Returns
    -------
    Map
        Without rotation and scale its coordinates are whole numbers, so that pixels are copied and not interpolated.
    """
    inner = size - 2 * margin
    row, column = (int(random.integers(length - inner + 1)) for length in shape)
    centre = (column + (inner - 1) / 2, row + (inner - 1) / 2)
    angle = np.deg2rad(random.uniform(-config.rotation, config.rotation))
    scale = random.uniform(1 - config.scale, 1 + config.scale)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    flip_x, flip_y, turns = random.integers(2), random.integers(2), random.integers(4)
    if config.flip:
        matrix = matrix * (1 - 2 * flip_x, 1 - 2 * flip_y)
    if config.quarter_turns:
        for _ in range(turns):
            matrix = matrix @ np.array([[0, -1], [1, 0]])
    bend = None
    if config.elastic:
        knots = random.standard_normal((2, *(size // _ELASTIC_SPACING + 3,) * 2), dtype=np.float32) * config.elastic
        bend = np.stack([cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC) for field in knots])
    return Map(matrix, centre, size, bend)


@dataclasses.dataclass(frozen=True)
class Intensities:
    """What must be known of an image to normalise and change its patches; every array is (channel,), raw units."""

    offset: np.ndarray
    scale: np.ndarray
    """The normalisation is ``(raw - offset) / scale``."""
    low: np.ndarray
    high: np.ndarray
    """Extremes of the image."""
    mean: np.ndarray
    deviation: np.ndarray


def change_intensities(
    random: np.random.Generator, config: AugmentationConfig, patch: np.ndarray, image: Intensities
) -> np.ndarray:
    """Normalise a patch, and change gamma, gain, offset, sharpness and noise on the way.

    Shot noise is drawn in the normal approximation of the Poisson distribution: its variance grows with the distance
    from the image's minimum.

    Parameters
    ----------
    random
        The element's generator.
    config
        The largest changes.
    patch
        (y, x, channel), float32, raw values; it is overwritten.
    image
        The numbers of the image that the patch is from.

    Returns
    -------
    np.ndarray
        (y, x, channel), float32, normalised.
    """
    channels = patch.shape[-1]
    gain, shift = 1 / image.scale, -image.offset / image.scale
    if config.intensity:
        factor = random.uniform(1 - config.intensity, 1 + config.intensity, channels)
        offset = random.uniform(-config.intensity, config.intensity, channels) * image.deviation / image.scale
        mean = image.mean * gain + shift
        gain, shift = gain * factor, (shift - mean) * factor + mean + offset
    if config.gamma:
        exponent = random.uniform(1 - config.gamma, 1 + config.gamma)
        contrast = np.maximum(image.high - image.low, np.finfo(np.float32).tiny)
        _affine(patch, 1 / contrast, -image.low / contrast)
        np.maximum(patch, 0, out=patch)
        np.power(patch, np.float32(exponent), out=patch)
        gain, shift = gain * contrast, gain * image.low + shift
    low = shift if config.gamma else gain * image.low + shift
    _affine(patch, gain, shift)
    if config.blur:
        deviation = random.uniform(0, config.blur)
        if deviation > 0.1:
            blurred = cv2.GaussianBlur(patch, (0, 0), deviation, borderType=cv2.BORDER_REFLECT_101)
            patch = blurred.reshape(patch.shape)
    if config.poisson or config.gaussian:
        shot, camera = random.uniform(0, config.poisson), random.uniform(0, config.gaussian)
        deviation = image.deviation / image.scale
        contrast = np.maximum((image.mean - image.low) / image.scale, np.finfo(np.float32).tiny)
        variance = patch.copy()
        _affine(variance, (shot * deviation) ** 2 / contrast, -low * (shot * deviation) ** 2 / contrast)
        np.maximum(variance, 0, out=variance)
        _affine(variance, np.ones(channels), (camera * deviation) ** 2)
        noise = random.standard_normal(patch.shape, dtype=np.float32)
        patch += noise * np.sqrt(variance, out=variance)
    return patch


def _affine(patch: np.ndarray, gain: np.ndarray, shift: np.ndarray) -> None:
    """Multiply and add per channel, in place; on whole rows, since NumPy is slow on a short last axis."""
    rows = patch.reshape(len(patch), -1)
    rows *= np.tile(gain, patch.shape[1]).astype(np.float32)
    rows += np.tile(shift, patch.shape[1]).astype(np.float32)
