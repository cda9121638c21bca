"""Gradient descent on a loss that can be drawn: one neuron, one weight and one bias, and the optimisers of Keras."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import keras
import numpy as np
from matplotlib.figure import Figure

from kerazoo.course.activations import activate
from kerazoo.course.style import name, new_figure
from kerazoo.reports.figures import BLUE, GREEN, INK, ORANGE, VERMILION

Loss = Literal["mean squared error", "cross-entropy"]
LOSSES: tuple[Loss, ...] = get_args(Loss)
START = (-2.0, 3.0)
"""Weight and bias where descents begin: everything is answered wrongly, or by chance."""
OPTIMISERS = {
    "SGD": lambda: keras.optimizers.SGD(1.0),
    "SGD, momentum": lambda: keras.optimizers.SGD(1.0, momentum=0.8),
    "RMSprop": lambda: keras.optimizers.RMSprop(0.15),
    "Adam": lambda: keras.optimizers.Adam(0.2),
}
_COLOURS = {"SGD": BLUE, "SGD, momentum": GREEN, "RMSprop": ORANGE, "Adam": VERMILION}


_WEIGHTS, _BIASES = (-4.0, 8.0), (-4.0, 6.0)
"""The part of the landscape that is drawn."""


@dataclasses.dataclass(frozen=True)
class Cells:
    """One measurement of every cell, and its class."""

    x: np.ndarray
    """(cell,), standardised."""
    y: np.ndarray
    """(cell,), 0 or 1."""


def some_cells(number: int = 60, seed: int = 1) -> Cells:
    """Cells of two classes whose measurements overlap, so that no line is right for all."""
    random = np.random.default_rng(seed)
    y = np.arange(number) % 2
    return Cells(random.normal(2.0 * y - 1, 0.9), y)


def loss_of(loss: Loss, cells: Cells, weights: np.ndarray, biases: np.ndarray) -> np.ndarray:
    """The loss of the neuron ``sigmoid(weight x + bias)``.

    Parameters
    ----------
    loss
        Which one.
    cells
        Over which it is averaged.
    weights, biases
        Any shape, the same for both.

    Returns
    -------
    numpy.ndarray
        float64, of the same shape.
    """
    total = np.multiply.outer(weights, cells.x) + np.asarray(biases)[..., None]
    if loss == "cross-entropy":
        return np.mean(np.logaddexp(0, total) - cells.y * total, axis=-1)
    return np.mean((activate("sigmoid", total).value - cells.y) ** 2, axis=-1)


def gradient_of(loss: Loss, cells: Cells, weight: float, bias: float) -> np.ndarray:
    """The derivatives of `loss_of` by weight and bias, (2,), by the chain rule: backpropagation through one neuron."""
    neuron = activate("sigmoid", weight * cells.x + bias)
    slope = neuron.value - cells.y  # of the cross-entropy: the sigmoid's derivative cancels out
    if loss == "mean squared error":
        slope = 2 * slope * neuron.derivative
    return np.array([np.mean(slope * cells.x), np.mean(slope)])


def descend(loss: Loss, cells: Cells, start: tuple[float, float] = START, steps: int = 80) -> dict[str, np.ndarray]:
    """Let every optimiser of `OPTIMISERS` go down a loss from the same place.

    Parameters
    ----------
    loss, cells
        As for `loss_of`.
    start
        Weight and bias.
    steps
        How many every optimiser takes.

    Returns
    -------
    dict
        By optimiser (steps + 1, 2): weight and bias before every step, and at the end.
    """
    paths = {}
    for optimiser, make in OPTIMISERS.items():
        place, descent = keras.Variable(start, dtype="float32"), make()
        path = [np.array(start)]
        for _ in range(steps):
            descent.apply([keras.ops.convert_to_tensor(gradient_of(loss, cells, *path[-1]), "float32")], [place])
            path.append(np.asarray(keras.ops.convert_to_numpy(place), float))
        paths[optimiser] = np.array(path)
    return paths


def draw_descent(cells: Cells, steps: int = 80) -> Figure:
    """Draw both losses as landscapes with the ways of the optimisers, and how the loss falls.

    Parameters
    ----------
    cells
        As for `loss_of`.
    steps
        How many every optimiser takes.

    Returns
    -------
    Figure
        One row per loss; dark is low.
    """
    figure, axes = new_figure(len(LOSSES), 2, 4.3, 3.3)
    weights, biases = np.meshgrid(np.linspace(*_WEIGHTS, 180), np.linspace(*_BIASES, 180))
    for loss, (landscape, fall) in zip(LOSSES, axes, strict=True):
        surface = loss_of(loss, cells, weights, biases)
        levels = np.linspace(surface.min(), surface.max(), 22)
        landscape.contourf(weights, biases, surface, levels=levels, cmap="Greys_r", alpha=0.75)
        landscape.contour(weights, biases, surface, levels=levels, colors="white", linewidths=0.4)
        for optimiser, path in descend(loss, cells, steps=steps).items():
            colour = _COLOURS[optimiser]
            landscape.plot(path[:, 0], path[:, 1], "-", color=colour, linewidth=1.8, label=optimiser)
            landscape.plot(path[::10, 0], path[::10, 1], "o", color=colour, markersize=3.5)
            fall.plot(loss_of(loss, cells, path[:, 0], path[:, 1]), color=colour, linewidth=1.8)
        landscape.plot(*START, "o", color=INK, markersize=8)
        landscape.annotate("start", START, (-14, -16), textcoords="offset points", fontsize=9, color=INK)
        lowest = np.unravel_index(surface.argmin(), surface.shape)
        landscape.plot(weights[lowest], biases[lowest], "*", color="white", markeredgecolor=INK, markersize=14)
        landscape.set(xlim=_WEIGHTS, ylim=_BIASES)
        fall.set_ylim(0, None)
        name(landscape, loss, "weight", "bias")
        name(fall, "on the way down", "step", loss)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=9
    )
    return figure
