"""Objects as regions, drawn into a label image: what all annotation files that hold outlines have in common.

Coordinates are those of ImageJ, QuPath and COCO: (0, 0) is the upper left corner of the first pixel, whose centre lies
at (0.5, 0.5). A pixel belongs to a region if its centre lies within. OpenCV's contours, which many programs save as
outlines (Cellpose among them), run through the pixels instead, and include those; they are known by their steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from bmzpack.errors import UserError

_SHORTEST_CHAIN = 8
"""Corners that outlines have at least, in the middle, before they are taken for chains of pixels."""
_ELLIPSE_CORNERS = 256
"""Corners of the polygon that an ellipse becomes."""


@dataclasses.dataclass(frozen=True)
class Region:
    """One object."""

    parts: Sequence[Sequence[np.ndarray]] = ()
    """Each part an outline and its holes, (corner, 2) with x and y; what an even number of them encloses is a hole."""
    pictures: Sequence[tuple[np.ndarray, tuple[int, int]]] = ()
    """Pixels, bool (y, x), and row and column in the image of the first of them."""
    category: str | None = None


@dataclasses.dataclass(frozen=True)
class Objects:
    """The objects of an image."""

    labels: np.ndarray
    """Int32 (y, x), numbered from 1 in the file's order."""
    categories: list[str | None]
    """The class of every object, in this order."""
    hidden: int = 0
    """Pixels on which two objects lie; they belong to the later one."""


def drawn(regions: Sequence[Region], shape: tuple[int, int], path: Path) -> Objects:
    """Draw regions into a label image, the later ones on top.

    Parameters
    ----------
    regions
        In the file's order.
    shape
        Rows and columns of the image.
    path
        The file, for messages.

    Returns
    -------
    Objects
        Without regions that hold no pixel's centre, or lie outside of the image.

    Raises
    ------
    UserError
        There are regions, and none of them lies within the image.
    """
    labels, categories, hidden = np.zeros(shape, np.int32), [], 0
    chains = _are_pixel_chains([ring for region in regions for part in region.parts for ring in part])
    for region in regions:
        number, present = len(categories) + 1, False
        pictures = [_filled(part, shape, chains=chains) for part in region.parts] + list(region.pictures)
        for pixels, (top, left) in pictures:
            place = labels[max(0, top) : max(0, top + len(pixels)), max(0, left) : max(0, left + pixels.shape[1])]
            pixels = pixels[max(0, -top) :, max(0, -left) :][: place.shape[0], : place.shape[1]]
            hidden += int(np.count_nonzero((place != 0) & (place != number) & pixels))
            place[pixels] = number
            present = present or bool(pixels.any())
        if present:
            categories.append(region.category)
    if regions and not categories:
        raise UserError(
            f"{path} has {len(regions)} objects, none of which lies within its image of {shape[1]} x {shape[0]} "
            "pixels: was it drawn on another image, or in micrometres?"
        )
    return Objects(labels, categories, hidden)


def ellipse(middle: np.ndarray, radii: np.ndarray | float) -> np.ndarray:
    """The outline (corner, 2) of an ellipse, from x and y of its middle, and its radii along x and y."""
    angles = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS, endpoint=False)
    return middle + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii


def _filled(part: Sequence[np.ndarray], shape: tuple[int, int], *, chains: bool) -> tuple[np.ndarray, tuple[int, int]]:
    """The pixels of an outline with its holes, and row and column of the first of them."""
    corners = np.concatenate(part)
    first = np.floor(corners.min(axis=0)).astype(int).clip(0, shape[::-1])
    last = (np.ceil(corners.max(axis=0)).astype(int) + 1).clip(0, shape[::-1])
    width, height = (last - first).tolist()
    filled = np.zeros((height, width), bool)
    for number, ring in enumerate(part):
        if chains:
            filled ^= _within_chain(ring - first, (height, width), hole=number > 0)
        else:
            filled ^= _inside(ring - first, (height, width))
    return filled, (int(first[1]), int(first[0]))


def _within_chain(ring: np.ndarray, shape: tuple[int, int], *, hole: bool) -> np.ndarray:
    """The pixels that a chain of pixels encloses, the chain itself counted to the object."""
    picture, corners = np.zeros(shape, np.uint8), [ring.astype(np.int32)]
    cv2.fillPoly(picture, corners, 1)
    if hole:
        cv2.polylines(picture, corners, isClosed=True, color=0)
    return picture > 0


def _inside(ring: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Which pixels' centres a polygon encloses, by the crossings of each row's middle with its edges."""
    x, y = ring[:, 0], ring[:, 1]
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    low, high = np.minimum(y, next_y), np.maximum(y, next_y)
    first = np.ceil(low - 0.5).astype(int).clip(0, shape[0])
    last = np.ceil(high - 0.5).astype(int).clip(0, shape[0])
    counts = np.maximum(last - first, 0)
    edge = np.repeat(np.arange(len(x)), counts)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    slope = (next_x - x)[edge] / (next_y - y)[edge]
    crossing = x[edge] + (rows + 0.5 - y[edge]) * slope
    columns = np.ceil(crossing - 0.5).astype(int).clip(0, shape[1])
    flips = np.zeros((shape[0], shape[1] + 1), np.int64)
    np.add.at(flips, (rows, columns), 1)
    return np.cumsum(flips, axis=1)[:, :-1] % 2 == 1


def _are_pixel_chains(rings: Sequence[np.ndarray]) -> bool:
    """Whether outlines are contours through pixels: whole numbers, every edge along an axis or a diagonal, of both."""
    if not rings or np.median([len(ring) for ring in rings]) < _SHORTEST_CHAIN:
        return False
    oblique = False
    for ring in rings:
        if (ring != np.rint(ring)).any():
            return False
        steps = np.abs(np.diff(ring, axis=0, append=ring[:1]))
        diagonal = steps[:, 0] == steps[:, 1]
        if not (diagonal | (steps == 0).any(axis=1)).all():
            return False
        oblique = oblique or bool((diagonal & (steps[:, 0] > 0)).any())
    return oblique
