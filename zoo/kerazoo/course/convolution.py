"""Convolution, number by number: a window slides over the image, and what is under it is weighted and summed."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.lib.stride_tricks import sliding_window_view

from kerazoo.course.style import FAINT, SOFT, name, new_figure
from kerazoo.reports.figures import INK, ORANGE, PAPER, SKY

IMAGE = np.array([[5, 5, 5], [5, 10, 5], [5, 5, 5]])
"""The example of the lecture."""
FILTER = np.ones((3, 3), int)
PADDING = 2
FILTERS = {
    "mean": np.ones((9, 9)) / 81,
    "left and right edges": np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
    "upper and lower edges": np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]]),
    "fine texture": np.outer(*[np.array([1, 4, 6, 4, 1]) / 16] * 2) - np.ones((5, 5)) / 25,
}
"""Filters as a person would design them; a network learns its own."""


def convolve(image: np.ndarray, kernel: np.ndarray, padding: int = 0) -> np.ndarray:
    """Convolve an image as networks do: the kernel is not turned round.

    Parameters
    ----------
    image
        (y, x), any number type.
    kernel
        (y, x), at most as large as the padded image.
    padding
        Zeros put around the image, in pixels.

    Returns
    -------
    numpy.ndarray
        (y, x): the image's size + 2 padding - the kernel's size + 1.
    """
    windows = sliding_window_view(np.pad(image, padding), kernel.shape)
    return np.einsum("yxij,ij->yx", windows, kernel)


def draw_convolution(
    image: np.ndarray = IMAGE, kernel: np.ndarray = FILTER, padding: int = PADDING, place: tuple[int, int] = (1, 2)
) -> Figure:
    """Draw image, filter and result as numbers, and the window that makes one of them.

    Parameters
    ----------
    image, kernel, padding
        As for `convolve`.
    place
        (y, x) of the number in the result.

    Returns
    -------
    Figure
        Padding in grey, the window and its result framed.
    """
    padded, result = np.pad(image, padding), convolve(image, kernel, padding)
    widths = (padded.shape[1], kernel.shape[1], result.shape[1])
    tallest, gap = max(padded.shape[0], kernel.shape[0], result.shape[0]), 1.2
    width, height = sum(widths) + 2 * gap + 0.4, tallest + 2.2
    figure = Figure(figsize=(0.5 * width, 0.5 * height))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set(xlim=(-0.2, width - 0.2), ylim=(tallest + 1.1, -1.1), aspect="equal")

    inside = np.pad(np.ones(image.shape, bool), padding)
    y, x = place
    lefts, tops = [], []
    for number, (values, title) in enumerate(
        ((padded, f"image, {padding} zeros around" if padding else "image"), (kernel, "filter"), (result, "result"))
    ):
        left = sum(widths[:number]) + number * gap
        top = (tallest - len(values)) / 2
        lefts.append(left)
        tops.append(top)
        ax.text(left + values.shape[1] / 2, top - 0.25, title, ha="center", va="bottom", fontsize=10, color=INK)
        for (row, column), value in np.ndenumerate(values):
            empty = number == 0 and not inside[row, column]
            _cell(ax, left + column, top + row, f"{value:g}", SOFT if empty else INK, FAINT if empty else PAPER)
    for number, sign in enumerate(("∗", "=")):
        ax.text(lefts[number + 1] - gap / 2, tallest / 2, sign, ha="center", va="center", fontsize=17, color=INK)
    rows, columns = kernel.shape
    for left, top, wide, high, colour in (
        (lefts[0] + x, tops[0] + y, columns, rows, ORANGE),
        (lefts[2] + x, tops[2] + y, 1, 1, ORANGE),
    ):
        ax.add_patch(Rectangle((left, top), wide, high, fill=False, edgecolor=colour, linewidth=2.6, zorder=3))
        ax.add_patch(Rectangle((left, top), wide, high, color=colour, alpha=0.18, linewidth=0, zorder=2))
    window = padded[y : y + rows, x : x + columns]
    terms = [
        f"{weight:g}·{value:g}" if weight != 1 else f"{value:g}"
        for weight, value in zip(kernel.ravel(), window.ravel(), strict=True)
        if weight and value
    ]
    ax.text(
        width / 2 - 0.2,
        tallest + 0.75,
        f"{' + '.join(terms) or '0'} = {result[place]:g}",
        ha="center",
        va="center",
        fontsize=11,
        color=INK,
    )
    return figure


def draw_filters(image: np.ndarray, filters: dict[str, np.ndarray] = FILTERS) -> Figure:
    """Draw an image and what filters make of it.

    Parameters
    ----------
    image
        (y, x) or (y, x, 1), any number type.
    filters
        By name, (y, x) with odd sides.

    Returns
    -------
    Figure
        Grey is 0 where a filter has negative weights, white is much and black is the opposite.
    """
    plane = np.asarray(image, float).reshape(image.shape[:2])
    plane = (plane - plane.mean()) / plane.std()
    figure, axes = new_figure(1, len(filters) + 1, 2.2, 2.4)
    results = {title: convolve(np.pad(plane, len(kernel) // 2, "edge"), kernel) for title, kernel in filters.items()}
    for ax, (title, values) in zip(axes[0], {"image": plane, **results}.items(), strict=True):
        signed = title in filters and (filters[title] < 0).any()
        most = np.percentile(np.abs(values), 99.5)
        ax.imshow(values, cmap="gray", vmin=-most if signed else np.percentile(values, 0.5), vmax=most)
        ax.set_axis_off()
        name(ax, title)
    return figure


def _cell(ax: Axes, left: float, top: float, text: str, colour: str, fill: str) -> None:
    ax.add_patch(Rectangle((left, top), 1, 1, facecolor=fill, edgecolor=SKY, linewidth=0.8))
    ax.text(left + 0.5, top + 0.5, text, ha="center", va="center", fontsize=10, color=colour, zorder=4)
