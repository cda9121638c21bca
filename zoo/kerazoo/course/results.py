"""Results beside the image: the way to single objects, objects in colours, classes with a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from skimage.segmentation import find_boundaries

from kerazoo.course.style import name, new_figure
from kerazoo.files.legend import CLASS_COLOURS
from kerazoo.models.classical.method import classical_steps
from kerazoo.reports.figures import displayed


def draw_objects(image: np.ndarray, results: Mapping[str, np.ndarray]) -> Figure:
    """Draw an image and label images of it.

    Parameters
    ----------
    image
        (y, x) or (y, x, channel), any dtype.
    results
        By title, labels int (y, x), 0 for the background.

    Returns
    -------
    Figure
        A colour per object, and how many there are.
    """
    figure, axes = _panels(image, len(results))
    for ax, (title, labels) in zip(axes, results.items(), strict=True):
        _paint_objects(ax, labels, title)
    return figure


def draw_classical(image: np.ndarray) -> Figure:
    """Draw the steps of explicit programming.

    Parameters
    ----------
    image
        (y, x) or (y, x, channel), any dtype.

    Returns
    -------
    Figure
        Image, blurred, above the threshold, and the objects that the watershed has cut.
    """
    steps = classical_steps(image)
    figure, axes = _panels(image, 3)
    _paint_grey(axes[0], displayed(steps.blurred[..., None]), "Gaussian blur")
    _paint_grey(axes[1], steps.foreground, "threshold")
    _paint_objects(axes[2], steps.objects, "watershed")
    return figure


def draw_decoding(
    image: np.ndarray,
    probabilities: np.ndarray,
    labels: np.ndarray,
    titles: tuple[str, str] = ("P(interior)", "P(border)"),
) -> Figure:
    """Draw how the output of a network becomes single objects.

    Parameters
    ----------
    image
        (y, x) or (y, x, channel), any dtype.
    probabilities
        (y, x, 3), between 0 and 1: background, interior and border, or what else is drawn in their place.
    labels
        What they were decoded to, int (y, x).
    titles
        Titles of the last two channels, which are drawn.

    Returns
    -------
    Figure
        Image, both channels (white is 1), and the objects.
    """
    figure, axes = _panels(image, 3)
    _paint_grey(axes[0], probabilities[..., 1], titles[0])
    _paint_grey(axes[1], probabilities[..., 2], titles[1])
    _paint_objects(axes[2], labels, "decoded")
    return figure


def draw_classes(image: np.ndarray, results: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Draw an image and class maps of it.

    Parameters
    ----------
    image
        (y, x) or (y, x, channel), any dtype.
    results
        By title, class indices int (row, column); coarse maps are enlarged.
    classes
        Names of the classes, at most seven.

    Returns
    -------
    Figure
        A colour per class, with a legend.
    """
    colours = np.array([to_rgb(colour) for colour in CLASS_COLOURS[: len(classes)]])
    figure, axes = _panels(image, len(results))
    for ax, (title, indices) in zip(axes, results.items(), strict=True):
        ax.imshow(colours[indices], interpolation="nearest")
        name(ax, title)
    handles = [Patch(color=colour, label=label) for colour, label in zip(colours, classes, strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(classes), frameon=False, fontsize=9)
    return figure


def _panels(image: np.ndarray, results: int) -> tuple[Figure, list[Axes]]:
    """A figure with the image on the left, and axes for so many results."""
    figure, axes = new_figure(1, results + 1, 2.7, 2.9)
    for ax in axes[0]:
        ax.set_axis_off()
    _paint_grey(axes[0, 0], displayed(image if image.ndim == 3 else image[..., None]), "image")
    return figure, list(axes[0, 1:])


def _paint_grey(ax: Axes, values: np.ndarray, title: str) -> None:
    ax.imshow(values, cmap="gray", vmin=0, vmax=1)
    name(ax, title)


def _paint_objects(ax: Axes, labels: np.ndarray, title: str) -> None:
    colours = np.array([to_rgb(colour) for colour in CLASS_COLOURS])
    painted = np.where((labels > 0)[..., None], colours[labels % len(colours)], 0.12)
    painted[find_boundaries(labels, mode="inner")] = 0.12  # neighbours may have the same colour
    ax.imshow(painted, interpolation="nearest")
    name(ax, f"{title}: {len(np.unique(labels[labels > 0]))} objects")
