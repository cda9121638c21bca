"""Training and validation: the annotated images are divided in two, and both losses are watched."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
from matplotlib.figure import Figure

from kerazoo.course.style import name, new_figure
from kerazoo.models.neurons.mlp import mlp
from kerazoo.reports.figures import BLUE, INK, ORANGE, PAPER


@dataclasses.dataclass(frozen=True)
class Division:
    """Which samples are trained on, and which only watched."""

    training: np.ndarray
    """Indices, sorted."""
    validation: np.ndarray
    """Indices, sorted; none of them is in the other."""


@dataclasses.dataclass(frozen=True)
class Curves:
    """Both losses after every epoch, (epoch,)."""

    training: np.ndarray
    validation: np.ndarray

    @property
    def best(self) -> int:
        """The epoch (from 0) with the lowest validation loss: the weights that are kept."""
        return int(self.validation.argmin())


def divide(number: int, validation: float = 0.25, seed: int = 1) -> Division:
    """Divide samples at random.

    Parameters
    ----------
    number
        How many there are.
    validation
        The part that is held out.
    seed
        The same seed gives the same division.

    Returns
    -------
    Division
        At least one sample on each side of two or more.
    """
    held_out = min(max(1, round(validation * number)), number - 1)
    order = np.random.default_rng(seed).permutation(number)
    return Division(np.sort(order[held_out:]), np.sort(order[:held_out]))


def overfit(number: int = 80, epochs: int = 120, seed: int = 1) -> tuple[Curves, Division]:
    """Train a network with far more weights than its few samples of two overlapping classes deserve.

    Parameters
    ----------
    number
        Samples of two features, before they are divided.
    epochs
        How long.
    seed
        Seed of samples, division and weights.

    Returns
    -------
    curves
        The training loss keeps falling, the validation loss rises again: the network learns its samples by heart.
    division
        What it was trained on.
    """
    random = np.random.default_rng(seed)
    y = random.permutation(np.arange(number) % 2)
    x = random.normal(size=(number, 2)) + (1.6 * y - 0.8)[:, None]
    division = divide(number, seed=seed)
    keras.utils.set_random_seed(seed)
    model = mlp(hidden=(64, 64), activation="relu")
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")

    def loss(members: np.ndarray) -> float:
        model.reset_metrics()  # else it is the mean of all calls so far
        return float(model.test_on_batch(x[members], y[members]))

    losses = []
    for _ in range(epochs):
        model.train_on_batch(x[division.training], y[division.training])
        losses.append((loss(division.training), loss(division.validation)))
    return Curves(*np.array(losses).T), division


def draw_division(number: int, division: Division) -> Figure:
    """Draw every sample as a square in the colour of its side."""
    columns = min(number, 20)
    figure, axes = new_figure(1, 1, 0.32 * columns + 0.4, 0.32 * -(-number // columns) + 0.75)
    ax = axes[0, 0]
    for members, colour, label in (
        (division.training, ORANGE, f"training: {len(division.training)}"),
        (division.validation, BLUE, f"validation: {len(division.validation)}"),
    ):
        ax.scatter(members % columns, members // columns, s=230, marker="s", color=colour, label=label)
    for member in range(number):
        ax.text(member % columns, member // columns, member, ha="center", va="center", fontsize=7, color=PAPER)
    ax.set(xlim=(-0.6, columns - 0.4), ylim=((number - 1) // columns + 0.6, -0.6), aspect="equal")
    ax.set_axis_off()
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def draw_curves(curves: Curves) -> Figure:
    """Draw both losses over the epochs, and where the weights are kept."""
    figure, axes = new_figure(1, 1, 4.6, 3.2)
    ax, epochs = axes[0, 0], np.arange(1, len(curves.training) + 1)
    ax.plot(epochs, curves.training, color=ORANGE, linewidth=2, label="training")
    ax.plot(epochs, curves.validation, color=BLUE, linewidth=2, label="validation")
    ax.axvline(curves.best + 1, color=INK, linewidth=1, linestyle=(0, (2, 2)))
    ax.text(curves.best + 1, ax.get_ylim()[1], "  these weights are kept", fontsize=8, color=INK, va="top")
    ax.set_ylim(0, None)
    name(ax, "training goes on, learning does not", "epoch", "loss (cross-entropy)")
    ax.legend(frameon=False, fontsize=9)
    return figure
