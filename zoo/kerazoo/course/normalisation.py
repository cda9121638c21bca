"""The three normalisations of the lecture on one image: scaling, centering, standardisation."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from matplotlib.figure import Figure

from kerazoo.config import NormalisationConfig
from kerazoo.course.style import SOFT, name, new_figure
from kerazoo.data.normalise import fit_normalisation
from kerazoo.files.pairs import Sample
from kerazoo.reports.figures import BLUE, ORANGE, displayed

Method = Literal["scaling", "centering", "standardisation"]


def normalise(image: np.ndarray) -> dict[str, np.ndarray]:
    """Normalise an image in the three ways.

    Parameters
    ----------
    image
        (y, x, channel), any integer type.

    Returns
    -------
    dict
        float32 (y, x, channel) by the name of the method: `scaling` to 0..1 by the largest value of the type,
        `centering` to zero mean after scaling, `standardisation` to zero mean and unit variance.
    """
    sample = Sample("image", image, np.zeros(image.shape[:2], np.int32))
    return {
        method: fit_normalisation(NormalisationConfig(method=method), [sample]).apply(image)
        for method in get_args(Method)
    }


def draw_normalisation(image: np.ndarray) -> Figure:
    """Draw the image and the histograms of its values before and after.

    Parameters
    ----------
    image
        (y, x, channel), any integer type.

    Returns
    -------
    Figure
        One panel with the image, which normalisation does not change visibly, and four histograms with mean and
        standard deviation.
    """
    panels = {"raw values": image.astype(float), **normalise(image)}
    figure, axes = new_figure(1, 5, 2.35, 2.5)
    axes[0, 0].imshow(displayed(image), cmap="gray", vmin=0, vmax=1)
    axes[0, 0].set_axis_off()
    name(axes[0, 0], "image")
    for ax, (title, values) in zip(axes[0, 1:], panels.items(), strict=True):
        ax.hist(values.ravel(), bins=60, color=BLUE)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        ax.axvline(values.mean(), color=ORANGE, linewidth=1.8)
        name(ax, title, f"mean {_short(values.mean())}   deviation {_short(values.std())}")
        ax.xaxis.label.set_color(SOFT)
        ax.xaxis.label.set_fontsize(8)
        ax.locator_params(axis="x", nbins=4)
    return figure


def _short(value: float) -> str:
    return f"{0.0 if abs(value) < 5e-4 else value:.3g}"
