"""Stained tissue made from a seed, every pixel of a known class. For the demo, the notebooks and the tests.

Regions with smooth borders are filled with what a pathologist tells them by: glands of crowded round nuclei, wavy
fibres with a few spindle-shaped nuclei, bare glass. Two dyes absorb the light (Beer-Lambert); their hue and strength,
and the lamp, change from slide to slide, so that no colour stands for a class.
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from kerazoo.examples.synthetic import smooth_field
from kerazoo.examples.write import picture_seed, write_pairs, write_pictures

CLASSES = ("background", "epithelium", "stroma")
"""In the order of the mask's values."""

_BACKGROUND, _EPITHELIUM, _STROMA = range(3)
_HAEMATOXYLIN, _EOSIN = np.array([0.65, 0.70, 0.29]), np.array([0.10, 0.96, 0.25])
"""Absorption of red, green and blue by the two dyes (after Ruifrok and Johnston 2001), before they vary."""
_NUCLEUS = 4.2
"""Mean radius of an epithelial nucleus in pixels."""
_SPREAD = 0.7
"""Standard deviation of the point spread function in pixels."""


def tissue(seed: int, size: int = 512) -> tuple[np.ndarray, np.ndarray]:
    """Make one image, as if stained with haematoxylin and eosin, with its mask.

    Parameters
    ----------
    seed
        The same seed gives the same image; every seed is a slide of its own.
    size
        Side in pixels.

    Returns
    -------
    tuple of np.ndarray
        Image uint8 (size, size, 3), red, green and blue, and mask uint8 (size, size), values as in `CLASSES`.
    """
    random = np.random.default_rng(seed)
    mask = _regions(random, size)
    return _slide(random, mask), mask


def write_tissue(folder: str | Path, images: int = 12, seed: int = 1, size: int = 256) -> None:
    """Write a data set of `tissue`.

    Parameters
    ----------
    folder
        Gets the folders `images` and `masks` with PNG files of the same names; files of these names are replaced.
    images
        How many.
    seed
        Seed of the set; other seeds give other images.
    size
        Side of the images in pixels.

    Raises
    ------
    UserError
        The folder cannot be written.
    """
    pairs = (tissue(picture_seed(seed, number), size) for number in range(images))
    write_pairs(folder, "tissue_{:03d}.png", pairs)


def write_tissue_patches(folder: str | Path, patches: int = 60, seed: int = 1, size: int = 64) -> None:
    """Write patches that show one class each, every patch from a slide of its own.

    Parameters
    ----------
    folder
        Gets one folder of PNG files per class, named as in `CLASSES`; files of these names are replaced.
    patches
        How many in all, the same number of every class (one more of the first classes where it does not divide).
    seed
        Seed of the set; other seeds give other patches.
    size
        Side of the patches in pixels.

    Raises
    ------
    UserError
        The folder cannot be written.
    """
    pictures = []
    for number in range(patches):
        label = number % len(CLASSES)
        mask = np.full((size, size), label, np.uint8)
        image = _slide(np.random.default_rng(picture_seed(seed, number)), mask)
        pictures.append((f"{CLASSES[label]}/{CLASSES[label]}_{number // len(CLASSES):03d}.png", image))
    write_pictures(folder, pictures)


def _regions(random: np.random.Generator, size: int) -> np.ndarray:
    """A mask: glands, most of them with a lumen, in stroma, and the edge of the tissue."""
    glands = smooth_field(random, size, 26.0)
    border = np.quantile(glands, random.uniform(0.4, 0.65))
    rough = glands + 0.1 * smooth_field(random, size, 6.0)
    mask = np.where(rough > border, _EPITHELIUM, _STROMA).astype(np.uint8)
    mask[glands > border + random.uniform(1.1, 1.7)] = _BACKGROUND
    rows, columns = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    angle = random.uniform(0, 2 * np.pi)
    away = rows * np.sin(angle) + columns * np.cos(angle) + 0.28 * smooth_field(random, size, size / 8)
    mask[away > np.quantile(away, random.uniform(0.75, 0.9))] = _BACKGROUND
    return cv2.medianBlur(mask, 5)


def _slide(random: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """The image of a mask: its tissue, stained and lit."""
    size = len(mask)
    haematoxylin, eosin = np.zeros((2, size, size), np.float32)
    is_epithelium, is_stroma = (mask == label for label in (_EPITHELIUM, _STROMA))

    grain = smooth_field(random, size, 1.5)
    cloud = smooth_field(random, size, 9.0)
    haematoxylin += is_epithelium * random.uniform(0.1, 0.3) * (1 + 0.25 * cloud)
    eosin += is_epithelium * random.uniform(0.25, 0.65) * (1 + 0.2 * cloud + 0.12 * grain)
    fibres, direction = _fibres(random, size)
    eosin += is_stroma * random.uniform(0.35, 0.6) * (1 + 0.3 * fibres + 0.1 * cloud)
    haematoxylin += is_stroma * random.uniform(0.02, 0.4)

    nuclei = np.zeros((size, size), np.float32)
    gap = random.uniform(2.2, 3.1) * _NUCLEUS
    _draw_nuclei(random, nuclei, _lattice(random, size, gap), is_epithelium, (1.0, 1.5), None)
    _draw_nuclei(random, nuclei, _lattice(random, size, 3.3 * gap), is_stroma, (2.6, 5.0), direction)
    haematoxylin += nuclei * random.uniform(0.5, 1.05) * (1 + 0.22 * grain)
    eosin *= 1 - 0.4 * np.minimum(nuclei, 1)
    eosin += 0.012 * (mask == _BACKGROUND) * (1 + cloud)

    dyes = [_HAEMATOXYLIN + random.normal(0, [0.1, 0.05, 0.07]), _EOSIN + random.normal(0, [0.06, 0.05, 0.08])]
    strengths = random.uniform(0.65, 1.35, 2)
    absorbed = sum(
        np.clip(cv2.GaussianBlur(dye, (0, 0), _SPREAD * random.uniform(0.8, 1.6)), 0, None)[..., None]
        * (strength * np.clip(colour, 0.02, None)).astype(np.float32)
        for dye, colour, strength in zip((haematoxylin, eosin), dyes, strengths, strict=True)
    )
    lamp = 255 * random.uniform(0.86, 0.99) * (1 - random.uniform(0, 0.05, 3)).astype(np.float32)
    light = lamp * np.exp(-absorbed) + random.normal(0, 2.2, (size, size, 1)) + random.normal(0, 1.0, (size, size, 3))
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def _fibres(random: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A field of zero mean and unit deviation, long in one direction at every place, and that direction in radians."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    bend = 14.0 * smooth_field(random, size, 24.0) + 3.0 * smooth_field(random, size, 8.0)
    angle = random.uniform(0, math.pi)
    across = columns * math.sin(angle) - rows * math.cos(angle) + bend
    along = columns * math.cos(angle) + rows * math.sin(angle)
    # Straight fibres are bent by looking them up at bent places.
    straight = 0.75 * smooth_field(random, 128, 1.2) + 0.6 * smooth_field(random, 128, 3.0)
    field = cv2.remap(straight, along / random.uniform(9, 16), across, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    slope_y, slope_x = np.gradient(across)
    return (field - field.mean()) / field.std(), np.arctan2(slope_x, -slope_y)


def _lattice(random: np.random.Generator, size: int, gap: float) -> np.ndarray:
    """Places (n, 2) of rows and columns, about ``gap`` apart from each other, without any visible order."""
    rows, columns = np.mgrid[-gap : size + gap : gap * 0.87, -gap : size + gap : gap]
    columns[1::2] += gap / 2
    places = np.stack([rows, columns], axis=-1).reshape(-1, 2)
    return places + random.normal(0, 0.17 * gap, places.shape)


def _draw_nuclei(
    random: np.random.Generator,
    onto: np.ndarray,
    places: np.ndarray,
    where: np.ndarray,
    stretches: tuple[float, float],
    direction: np.ndarray | None,
) -> None:
    """Fill deformed ellipses with the density of their chromatin, those whose middle lies well within ``where``."""
    size = len(where)
    pixels = np.clip(places.astype(int), 0, size - 1)
    depth = cv2.distanceTransform(np.pad(where, 16, "edge").astype(np.uint8), cv2.DIST_L2, 3)[16:-16, 16:-16]
    kept = depth[*pixels.T] > 0.7 * _NUCLEUS
    places, pixels, count = places[kept], pixels[kept], int(kept.sum())

    stretch = random.uniform(*stretches, count)
    angle = (
        random.uniform(0, np.pi, count) if direction is None else direction[*pixels.T] + random.normal(0, 0.15, count)
    )
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    radius = _NUCLEUS * random.lognormal(0, 0.12, (count, 1)) * np.ones_like(turn)
    for waves in (2, 3):
        radius *= 1 + random.normal(0, 0.05, (count, 1)) * np.cos(waves * turn + random.uniform(0, 7, (count, 1)))
    along = radius * np.cos(turn) * np.sqrt(stretch)[:, None]
    across = radius * np.sin(turn) / np.sqrt(stretch)[:, None]
    sine, cosine = np.sin(angle)[:, None], np.cos(angle)[:, None]
    x = places[:, 1:] + along * cosine - across * sine
    y = places[:, :1] + along * sine + across * cosine
    outlines = np.rint(16 * np.stack([x, y], axis=-1)).astype(np.int32)
    for outline, chromatin in zip(outlines, random.lognormal(0, 0.2, count), strict=True):
        cv2.fillPoly(onto, [outline], float(chromatin), cv2.LINE_8, shift=4)
