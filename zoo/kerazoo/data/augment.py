"""Random changes of training patches. All geometry is one coordinate map, so that every pixel is resampled once.

Image and target are read at the same coordinates, the image between its pixels (bilinear), the target at the nearest
pixel; beyond the edge both are mirrored. OpenCV releases the interpreter lock, so several batches are made at once.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from typing import Any

import cv2
import numpy as np

from kerazoo.config import AugmentationConfig
from kerazoo.data.normalise import Moments, Normalisation

Point = tuple[int, int]
"""A pixel (x, y)."""


class _Scratch(threading.local):
    """Memory that a thread uses for every patch anew: getting fresh memory costs more than what is done in it."""

    def __init__(self) -> None:
        self.buffers: dict[str, np.ndarray] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Uninitialised memory; what an earlier call of this name gave is overwritten."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if name not in self.buffers or self.buffers[name].size < size:
            self.buffers[name] = np.empty(size, np.uint8)
        return self.buffers[name][:size].view(dtype).reshape(shape)


_scratch = _Scratch()

_ELASTIC_SPACING = 32
"""Distance of the knots of the elastic displacement, in pixels."""


@dataclasses.dataclass(frozen=True)
class Map:
    """Where the pixels of a patch come from."""

    matrix: tuple[tuple[float, float], tuple[float, float]]
    """Displacement (x, y) in the image per displacement in the patch: the row of x before that of y."""
    centre: tuple[float, float]
    """Place (x, y) in the image of the patch's centre."""
    size: int
    """Side of the patch in pixels."""
    bend: np.ndarray | None = None
    """Further displacement (2, size, size) in pixels of the image, x before y."""

    def resample(self, image: np.ndarray, target: np.ndarray, margin: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Read an image and what is kept of its annotation at the patch's pixels.

        Parameters
        ----------
        image
            (y, x, channel), any integer or float dtype.
        target
            (y, x), uint8 or uint16, read at the nearest pixel, and mirrored beyond the edge; or (y, x, value), float32,
            read between the pixels, NaN beyond the edge, as vectors would have to be turned for a mirror.
        margin
            So many pixels at every side of the patch have no target.

        Returns
        -------
        tuple of np.ndarray
            (size, size, channel) float32, and (size - 2 margin, size - 2 margin) or the same with values, of the
            target's dtype.
        """
        if target.ndim == 3:
            inner = slice(margin, self.size - margin)
            kept = self.resample_image(target)[inner, inner].copy()
            kept[self._beyond(target.shape[:2])[inner, inner]] = np.nan
            return self.resample_image(image), kept
        first, last = self._corners()
        size = self.size - 2 * margin
        labels = np.empty((size, size), target.dtype)
        self._read(_mirrored(target[..., None], first, last), first, cv2.INTER_NEAREST, margin, labels)
        return self.resample_image(image), labels

    def resample_image(self, image: np.ndarray) -> np.ndarray:
        """Read an image at the patch's pixels.

        Parameters
        ----------
        image
            (y, x, channel), any integer or float dtype.

        Returns
        -------
        np.ndarray
            (size, size, channel) float32; it is overwritten by the next call in the same thread.
        """
        first, last = self._corners()
        size, channels = self.size, image.shape[2]
        part = _mirrored(image, first, last)
        sampled = _scratch.array("sampled", (size, size, part.shape[2]), np.float32)
        self._read(_as_float(part), first, cv2.INTER_LINEAR, 0, sampled)
        if channels != 3:
            return sampled
        patch = _scratch.array("three channels", (size, size, channels), np.float32)
        return cv2.cvtColor(sampled, cv2.COLOR_BGRA2BGR, dst=patch)

    def _corners(self) -> tuple[Point, Point]:
        """The part of the image that is needed: its first pixel and the one after its last (x, y)."""
        reaches = [(abs(across) + abs(down)) * (self.size - 1) / 2 + 2 for across, down in self.matrix]
        if self.bend is not None:
            reaches = [reach + float(np.abs(bend).max()) for reach, bend in zip(reaches, self.bend, strict=True)]
        (x, y), (reach_x, reach_y) = self.centre, reaches
        first = math.floor(x - reach_x), math.floor(y - reach_y)
        return first, (math.ceil(x + reach_x) + 1, math.ceil(y + reach_y) + 1)

    def _beyond(self, shape: tuple[int, ...]) -> np.ndarray:
        """Which pixels of the patch lie more than half a pixel beyond the edge of an image (y, x), bool."""
        assert self.bend is None
        steps = np.arange(self.size) - (self.size - 1) / 2
        x, y = (
            across * steps + down * steps[:, None] + centre
            for (across, down), centre in zip(self.matrix, self.centre, strict=True)
        )
        return (x < -0.5) | (y < -0.5) | (x > shape[1] - 0.5) | (y > shape[0] - 0.5)

    def _read(self, part: np.ndarray, first: Point, interpolation: int, margin: int, out: np.ndarray) -> None:
        """Read the patch without its margin from a part of an image that begins at ``first`` (x, y)."""
        size = self.size - 2 * margin
        rows = [
            (across, down, centre - start - (across + down) * (size - 1) / 2)
            for (across, down), centre, start in zip(self.matrix, self.centre, first, strict=True)
        ]
        if self.bend is None:
            flags = interpolation | cv2.WARP_INVERSE_MAP
            cv2.warpAffine(part, np.array(rows), (size, size), dst=out, flags=flags)
            return
        inner = slice(margin, self.size - margin)
        steps = np.arange(size)
        places = [
            (across * steps + down * steps[:, None] + start + bend[inner, inner]).astype(np.float32)
            for (across, down, start), bend in zip(rows, self.bend, strict=True)
        ]
        cv2.remap(part, places[0], places[1], interpolation, dst=out)


def _mirrored(image: np.ndarray, first: Point, last: Point) -> np.ndarray:
    """A part of an image, from ``first`` to before ``last`` (x, y), mirrored where it reaches beyond the edge.

    With the mirrored pixels in place OpenCV need not look at edges while it samples, which nearly halves its time; and
    it samples four channels in half the time of three.
    """
    (left, top), (right, bottom) = first, last
    height, width, channels = image.shape
    part = image[max(0, top) : min(bottom, height), max(0, left) : min(right, width)]
    if part.dtype not in (np.uint8, np.uint16, np.float32):
        part = _as_float(part)
    if channels == 3:
        four = _scratch.array("four", (*part.shape[:2], 4), part.dtype)
        part, channels = cv2.cvtColor(part, cv2.COLOR_BGR2BGRA, dst=four), 4
    beyond = max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width)
    if any(beyond):
        mirrored = _scratch.array("mirrored", (bottom - top, right - left, channels), part.dtype)
        part = cv2.copyMakeBorder(part, *beyond, cv2.BORDER_REFLECT_101, dst=mirrored)
    return part.reshape(bottom - top, right - left, channels)


def _as_float(part: np.ndarray) -> np.ndarray:
    if part.dtype == np.float32:
        return part
    floats = _scratch.array("floats", part.shape, np.float32)
    floats[...] = part
    return floats


def random_map(
    random: np.random.Generator,
    config: AugmentationConfig,
    shape: tuple[int, int],
    size: int,
    margin: int = 0,
    corner: tuple[int, int] | None = None,
    shift: float = 0.0,
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
    corner
        (y, x) of the first pixel of a patch that has a place of its own; by default the place is drawn.
    shift
        So many pixels a patch may be moved from its own place along y and x.

    Returns
    -------
    Map
        Without rotation and scale its coordinates are whole numbers, so that pixels are copied and not interpolated.
    """
    inner = size - 2 * margin
    draws = random.random(7).tolist()
    if corner is None:
        column, row = (
            int(draw * (length - inner + 1)) for draw, length in zip(draws[:2], reversed(shape), strict=True)
        )
    else:
        row, column = (place + shift * (2 * draw - 1) for place, draw in zip(corner, reversed(draws[:2]), strict=True))
    centre = column + (inner - 1) / 2, row + (inner - 1) / 2
    angle = math.radians(config.rotation) * (2 * draws[2] - 1)
    scale = 1 + config.scale * (2 * draws[3] - 1)
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    (a, b), (c, d) = (cos, -sin), (sin, cos)
    if config.flip and draws[4] < 0.5:
        a, c = -a, -c
    if config.flip and draws[5] < 0.5:
        b, d = -b, -d
    if config.quarter_turns:
        for _ in range(int(4 * draws[6])):
            a, b, c, d = b, -a, d, -c
    bend = None
    if config.elastic:
        knots = random.standard_normal((2, *(size // _ELASTIC_SPACING + 3,) * 2), dtype=np.float32) * config.elastic
        bend = np.stack([cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC) for field in knots])
    return Map(((a, b), (c, d)), centre, size, bend)


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


def intensities_of(image: np.ndarray, normalisation: Normalisation) -> Intensities:
    """What must be known of an image (y, x, channel) to normalise and change its patches."""
    moments = Moments()
    moments.add(image)
    offset, scale = normalisation.offset_and_scale(image)
    low, high = image.min(axis=(0, 1)).astype(float), image.max(axis=(0, 1)).astype(float)
    return Intensities(offset, scale, low, high, moments.mean, moments.deviation)


def change_intensities(
    random: np.random.Generator,
    config: AugmentationConfig,
    patch: np.ndarray,
    image: Intensities,
    out: np.ndarray,
) -> None:
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
    out
        Gets the result, normalised: (y, x, channel), float32, contiguous.
    """
    channels = patch.shape[-1]
    gain, shift = 1 / image.scale, -image.offset / image.scale
    if config.intensity:
        factor = random.uniform(1 - config.intensity, 1 + config.intensity, channels)
        offset = random.uniform(-config.intensity, config.intensity, channels) * image.deviation / image.scale
        mean = image.mean * gain + shift
        gain, shift = gain * factor, (shift - mean) * factor + mean + offset
    contrast = np.where(image.high > image.low, image.high - image.low, 1)  # a channel may be constant
    low = gain * image.low + shift
    # The minimum first: in float32 large offsets would not cancel where an image is constant.
    affine(patch, 1 / contrast, -image.low / contrast, out=patch)
    if config.gamma:
        np.maximum(patch, 0, out=patch)
        cv2.pow(patch, random.uniform(1 - config.gamma, 1 + config.gamma), dst=patch)  # NumPy takes five times as long
    affine(patch, gain * contrast, low, out)
    if config.blur:
        deviation = random.uniform(0, config.blur)
        if deviation > 0.1:
            out[...] = cv2.GaussianBlur(out, (0, 0), deviation, borderType=cv2.BORDER_REFLECT_101).reshape(out.shape)
    if config.poisson or config.gaussian:
        shot, camera = random.uniform(0, config.poisson), random.uniform(0, config.gaussian)
        deviation = image.deviation / image.scale
        contrast = np.maximum((image.mean - image.low) / image.scale, np.finfo(np.float32).tiny)
        growth = (shot * deviation) ** 2 / contrast
        variance = out.copy()
        affine(variance, growth, -low * growth, out=variance)
        np.maximum(variance, 0, out=variance)
        variance += ((camera * deviation) ** 2).astype(np.float32)
        out += random.standard_normal(out.shape, dtype=np.float32) * np.sqrt(variance, out=variance)


def affine(patch: np.ndarray, gain: np.ndarray, shift: np.ndarray, out: np.ndarray) -> None:
    """Multiply an image (y, x, channel; float32 or float64) and add to it, per channel.

    NumPy would take several times as long on a short last axis.
    """
    channels = len(gain)
    matrix = np.zeros((channels, channels + 1))
    matrix.flat[:: channels + 2], matrix[:, channels] = gain, shift
    cv2.transform(patch, matrix, dst=out)
