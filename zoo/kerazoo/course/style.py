"""One style for all figures of the lecture."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kerazoo.reports.figures import INK

SOFT, FAINT = "#777777", "#e4e4e4"


def new_figure(rows: int, columns: int, width: float = 3.4, height: float = 3.1) -> tuple[Figure, np.ndarray]:
    """A figure of equal panels.

    Parameters
    ----------
    rows, columns
        How many panels.
    width, height
        Size of one panel, in inches.

    Returns
    -------
    figure
        To be drawn on.
    axes
        Array (rows, columns) of its `Axes`.
    """
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.ravel():
        tidy(ax)
    return figure, axes


def tidy(ax: Axes) -> None:
    """Take away what no reader needs."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8)


def name(ax: Axes, title: str, x: str = "", y: str = "") -> None:
    """Write a panel's title and the names of its axes."""
    ax.set_title(title, fontsize=10, color=INK)
    ax.set_xlabel(x, fontsize=9)
    ax.set_ylabel(y, fontsize=9)
