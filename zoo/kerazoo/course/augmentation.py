"""Data augmentation: one image becomes many, changed as training changes its patches."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from kerazoo.config import AugmentationConfig
from kerazoo.course.style import name, new_figure
from kerazoo.data.augment import change_intensities, intensities_of, random_map
from kerazoo.data.normalise import Normalisation

EXAMPLE = AugmentationConfig(rotation=180, scale=0.3, elastic=3.0, intensity=0.3, gamma=0.3, blur=1.0, gaussian=0.3)
"""Stronger than by default, so that it can be seen."""


def augment(image: np.ndarray, config: AugmentationConfig = EXAMPLE, number: int = 11, seed: int = 1) -> np.ndarray:
    """Change an image at random, by the same functions as the training pipeline.

    Parameters
    ----------
    image
        (y, x, channel), any integer or float type.
    config
        The largest changes.
    number
        How many versions.
    seed
        The same seed gives the same versions.

    Returns
    -------
    numpy.ndarray
        (number, size, size, channel), float32, standardised with mean and deviation of the image; size is the shorter
        side of the image.
    """
    size = min(image.shape[:2])
    intensities = intensities_of(image, Normalisation(method="standardisation"))
    nothing = np.zeros(image.shape[:2], np.uint8)
    versions = np.empty((number, size, size, image.shape[2]), np.float32)
    for version, out in enumerate(versions):
        random = np.random.default_rng((seed, version))
        patch, _ = random_map(random, config, image.shape[:2], size).resample(image, nothing)
        change_intensities(random, config, patch, intensities, out=out)
    return versions


def draw_augmentation(image: np.ndarray, versions: np.ndarray) -> Figure:
    """Draw the original and what was made of it, all at the same contrast.

    Parameters
    ----------
    image
        (y, x, channel) with one channel, or three in 8 bit.
    versions
        As `augment` gives them.

    Returns
    -------
    Figure
        Four panels a row, the original first.
    """
    original = Normalisation(method="standardisation").apply(image)
    low, high = np.percentile(original, (0.5, 99.8))
    rows = -(-(len(versions) + 1) // 4)
    figure, axes = new_figure(rows, 4, 1.9, 1.9)
    for ax in axes.ravel():
        ax.set_axis_off()
    for number, (ax, values) in enumerate(zip(axes.ravel(), [original, *versions], strict=False)):
        shown = np.clip((values - low) / (high - low), 0, 1)
        ax.imshow(shown[..., 0] if shown.shape[2] == 1 else shown, cmap="gray", vmin=0, vmax=1)
        name(ax, "augmented" if number else "original")
        ax.title.set_fontweight("normal" if number else "bold")
    return figure
