"""What all figures share: colours (Okabe and Ito 2008), displayed images, axes, PNG files; and the learning curves."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bmzpack.files import new_file
from kerazoo.files.legend import CLASS_COLOURS

SKY, ORANGE, GREEN, PINK, BLUE, VERMILION, _ = CLASS_COLOURS
INK, PAPER = "#222222", "white"
GAMMA = 0.7
"""Exponent of displayed grey values."""
RESOLUTION = 125
"""Dots per inch of the figures."""


def draw_curves(history: Path, path: Path) -> None:
    """Draw loss and metrics over the epochs.

    Parameters
    ----------
    history
        CSV file with the column `epoch`, and pairs of columns such as `loss` and `val_loss`.
    path
        PNG file to write.
    """
    columns = read_history(history)
    metrics = [name for name in columns if f"val_{name}" in columns]
    if not metrics:
        return
    epochs = columns["epoch"] if columns["epoch"].min() >= 1 else columns["epoch"] + 1
    figure = Figure(figsize=(3.9 * min(len(metrics), 3), 3.0 * math.ceil(len(metrics) / 3)), layout="constrained")
    axes = figure.subplots(math.ceil(len(metrics) / 3), min(len(metrics), 3), squeeze=False).ravel()
    for ax, name in zip(axes, metrics, strict=False):
        for column, label, colour in ((name, "training", ORANGE), (f"val_{name}", "validation", BLUE)):
            marker = "o" if len(epochs) < 3 else None
            ax.plot(epochs, columns[column], color=colour, label=label, linewidth=1.6, marker=marker, markersize=4)
        if name == "loss":
            best = int(np.nanargmin(columns["val_loss"]))
            ax.plot(epochs[best], columns["val_loss"][best], "o", color=BLUE, markersize=5, label="best")
        ax.set_title(name.replace("_", " "), fontsize=10, color=INK)
        ax.set_xlabel("epoch", fontsize=9)
        ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, nbins=6))
        plain(ax)
        ax.legend(frameon=False, fontsize=8)
    for ax in axes[len(metrics) :]:
        ax.set_axis_off()
    save(figure, path)


def read_history(path: Path) -> dict[str, np.ndarray]:
    """The columns of a history.csv by name, float (epoch); NaN where a cell is empty, nothing without any epoch."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in (rows[0] if rows else ())}


def displayed(image: np.ndarray) -> np.ndarray:
    """An image as grey values or colours in 0 to 1; other than 8-bit colours are stretched, and dim parts lifted.

    Parameters
    ----------
    image
        (y, x, channel), any dtype.

    Returns
    -------
    numpy.ndarray
        float32 (y, x) for one channel, else (y, x, 3); two channels in magenta and green, of more than three the first.
    """
    values = image.astype(np.float32)
    if image.shape[2] == 3 and image.dtype == np.uint8:
        return values / 255
    low, high = np.percentile(values, (1, 99.8), axis=(0, 1))
    values = np.clip((values - low) / np.maximum(high - low, 1e-6), 0, 1).astype(np.float32) ** GAMMA
    if image.shape[2] == 1:
        return values[..., 0]
    if image.shape[2] == 2:
        return values[..., (0, 1, 0)]
    return values[..., :3]


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG in one piece, the same bytes for the same figure; an existing file is replaced."""
    with new_file(path, overwrite=True) as written:
        figure.savefig(written, dpi=RESOLUTION, facecolor=PAPER, metadata={"Software": None})


def plain(ax: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    """Give axes a faint grid, small numbers and no frame above and on the right."""
    ax.grid(axis=grid, alpha=0.25, linewidth=0.6)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
