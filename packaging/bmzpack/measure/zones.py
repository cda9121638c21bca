"""Zones of an image along one axis, and what windows make of them.

Zones are masks without channels and weights, so the width of the network does not matter, and no weight that happens to
be small hides a connection.
"""

from __future__ import annotations

import dataclasses
import functools
from fractions import Fraction

import numpy as np


class Misfit(Exception):
    """An image of this size does not go through the network."""


@dataclasses.dataclass(frozen=True)
class Image:
    """A tensor that has the axis."""

    zones: np.ndarray
    """(2 * patches, length) bool: whether the zone left of the tile reaches a sample, for every patch that the image
    was cut into, then whether the right one does. An axis that was pooled in every patch has length 1."""
    scale: Fraction
    """Input pixels per sample."""
    extent: Fraction | None = None
    """Input pixels of the whole image, of which this is a patch; None for a whole image."""
    full: np.ndarray | None = None
    """(2 * patches, sizes) bool: the zones along all axes, of a tensor that was just rearranged."""

    @property
    def length(self) -> int:
        return self.zones.shape[1]

    @property
    def patches(self) -> int:
        return len(self.zones) // 2


def union(images: list[Image]) -> np.ndarray:
    """What reaches any of several tensors; those of a patch that were pooled count for all its samples."""
    longest = max(images, key=lambda image: image.length)
    pooled = 1 if longest.extent is not None else longest.length
    if any(image.patches != longest.patches or image.length not in (longest.length, pooled) for image in images):
        raise Misfit
    return functools.reduce(np.logical_or, (image.zones for image in images))


def pooled_patch(image: Image) -> Image:
    """A patch of which one sample is left."""
    return Image(np.asarray(image.zones.any(1, keepdims=True)), image.scale * image.length, image.extent)


def slide(zones: np.ndarray, window: int, stride: int, padding: str, every: int = 1) -> np.ndarray:
    """What a convolution or pooling sees through its window, of which ``every``-th sample counts."""
    length = zones.shape[1]
    if padding == "same":
        results = -(-length // stride)
        missing = max((results - 1) * stride + window - length, 0)
        zones = np.pad(zones, ((0, 0), (missing // 2, missing - missing // 2)))
    else:
        results = (length - window) // stride + 1
    if results < 1:
        raise Misfit
    seen = np.zeros((len(zones), results), bool)
    for offset in range(0, window, every):
        seen |= zones[:, offset : offset + (results - 1) * stride + 1 : stride]
    return seen


def unslide(zones: np.ndarray, window: int, stride: int, padding: str, every: int = 1) -> np.ndarray:
    """What a transposed convolution writes through its window."""
    length = zones.shape[1]
    results = length * stride + (0 if padding == "same" else max(window - stride, 0))
    written = np.zeros((len(zones), max(results, (length - 1) * stride + window)), bool)
    for offset in range(0, window, every):
        written[:, offset : offset + (length - 1) * stride + 1 : stride] |= zones
    first = max(window - stride, 0) // 2 if padding == "same" else 0
    return written[:, first : first + results]
