"""Fluorescence nuclei made from a seed: a scene, a microscope and a camera. For the demo and for tests.

Nuclei are deformed ellipses with chromatin texture, some alone and some in clusters where they touch. The microscope
adds out-of-focus haze, blurs with a Gaussian point spread function and lights the field unevenly. The camera counts
photons (Poisson), adds its offset and read noise (Gaussian) and digitises to 16 bits.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from kerazoo.examples.write import picture_seed, write_pairs

_DIAMETER = 22.0
"""Mean diameter of a nucleus in pixels."""
_SPREAD = 1.1
"""Standard deviation of the point spread function in pixels."""
_CAMERA_OFFSET, _READ_NOISE, _GAIN = 400.0, 6.0, 8.0
"""Grey values without light, their standard deviation, and grey values per photon."""


def nuclei(seed: int, size: int = 256, density: float = 0.18) -> tuple[np.ndarray, np.ndarray]:
    """Make one image with its label image.

    Parameters
    ----------
    seed
        The same seed gives the same image.
    size
        Side in pixels.
    density
        Fraction of the area that is nuclei, about.

    Returns
    -------
    tuple of np.ndarray
        Image uint16 and labels uint16, each (size, size). Every label is one connected object of at least 30 pixels.
    """
    random = np.random.default_rng(seed)
    labels, light = _scene(random, size, density * random.uniform(0.6, 1.4))
    return _camera(random, _microscope(random, light)), labels


def write_nuclei(folder: str | Path, images: int = 24, seed: int = 1, size: int = 256) -> None:
    """Write a data set of `nuclei`.

    Parameters
    ----------
    folder
        Gets the folders `images` and `masks` with TIFF files of the same names; files of these names are replaced.
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
    pairs = (nuclei(picture_seed(seed, number), size) for number in range(images))
    write_pairs(folder, "nuclei_{:03d}.tif", pairs)


def smooth_field(random: np.random.Generator, size: int, width: float) -> np.ndarray:
    """A random field.

    Parameters
    ----------
    random
        Where its numbers come from.
    size
        Side in pixels.
    width
        Standard deviation of the Gaussian that smooths it, in pixels.

    Returns
    -------
    np.ndarray
        (size, size), float32, of zero mean and unit deviation.
    """
    step = max(1, int(width / 2))  # made coarse and enlarged: a wide blur is slow
    coarse = random.standard_normal((size // step + 2,) * 2, dtype=np.float32)
    field = cv2.resize(cv2.GaussianBlur(coarse, (0, 0), width / step), (size, size), interpolation=cv2.INTER_CUBIC)
    return (field - field.mean()) / field.std()


def _scene(random: np.random.Generator, size: int, density: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and the light of the nuclei in photons before the microscope."""
    labels = np.zeros((size, size), np.uint16)
    light = np.zeros((size, size), np.float32)
    texture = smooth_field(random, size, 2.0) * 0.16 + smooth_field(random, size, 5.0) * 0.1 + 1
    brightness = random.uniform(35, 110)
    wanted, covered, count = density * size**2, 0, 0
    centres: list[tuple[float, float]] = []
    for _ in range(size * size // 40):
        if covered >= wanted:
            break
        if centres and random.random() < 0.55:  # a daughter beside another nucleus, so that clusters form
            row, column = centres[random.integers(len(centres))]
            angle, distance = random.uniform(0, 2 * np.pi), _DIAMETER * random.uniform(0.75, 1.1)
            row, column = row + distance * np.sin(angle), column + distance * np.cos(angle)
        else:
            row, column = random.uniform(0, size, 2)
        if not (0 <= row < size and 0 <= column < size):
            continue
        window, inside, profile = _nucleus(random, size, row, column)
        free = inside & (labels[window] == 0)
        if free.sum() < max(30, 0.8 * inside.sum()):
            continue
        free = _largest_part(free)
        area = int(free.sum())
        if area < 30:
            continue
        count, covered = count + 1, covered + area
        labels[window][free] = count
        light[window][free] = (profile * texture[window])[free] * brightness * random.lognormal(0, 0.25)
        centres.append((row, column))
    return labels, light


def _nucleus(
    random: np.random.Generator, size: int, row: float, column: float
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """A window of the image, where in it a nucleus is, and how thick it is there (1 in the middle)."""
    reach = int(2 * _DIAMETER)
    top, left = max(0, int(row) - reach), max(0, int(column) - reach)
    window = np.s_[top : min(size, int(row) + reach), left : min(size, int(column) + reach)]
    rows, columns = np.ogrid[window]
    y, x = rows - row, columns - column

    radius = _DIAMETER / 2 * random.lognormal(0, 0.15)
    stretch = random.uniform(1.0, 1.5)
    angle = random.uniform(0, np.pi)
    along = (x * np.cos(angle) + y * np.sin(angle)) / np.sqrt(stretch)
    across = (y * np.cos(angle) - x * np.sin(angle)) * np.sqrt(stretch)
    direction = np.arctan2(across, along)
    outline = np.ones_like(direction)
    for waves in (2, 3, 4):
        outline += random.normal(0, 0.05 / (waves - 1)) * np.cos(waves * direction + random.uniform(0, 2 * np.pi))
    distance = np.hypot(along, across) / (radius * outline)
    return window, distance < 1, np.sqrt(np.clip(1.05 - distance**2, 0, None)) ** 0.6


def _microscope(random: np.random.Generator, light: np.ndarray) -> np.ndarray:
    """Photons on the camera."""
    size = len(light)
    haze = cv2.GaussianBlur(light, (0, 0), 12.0) * 0.12
    sharp = cv2.GaussianBlur(light, (0, 0), _SPREAD * random.uniform(0.85, 1.4))
    background = random.uniform(4, 12) * (1 + 0.15 * smooth_field(random, size, size / 6))
    rows, columns = np.ogrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    top, left = random.uniform(-0.4, 0.4, 2)
    lamp = 1 - random.uniform(0.1, 0.3) * ((rows - top) ** 2 + (columns - left) ** 2)
    return np.clip((sharp + haze + background) * lamp, 0, None)


def _camera(random: np.random.Generator, photons: np.ndarray) -> np.ndarray:
    """Grey values."""
    counts = random.poisson(photons) * _GAIN
    values = counts + random.normal(_CAMERA_OFFSET, _READ_NOISE, photons.shape)
    return np.clip(np.rint(values), 0, 65535).astype(np.uint16)


def _largest_part(mask: np.ndarray) -> np.ndarray:
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return parts == 1 + np.argmax(statistics[1:, cv2.CC_STAT_AREA])
