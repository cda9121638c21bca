"""Activation functions with their derivatives, and the softmax."""

from __future__ import annotations

import dataclasses

import numpy as np
from matplotlib.figure import Figure

from kerazoo.course.style import SOFT, name, new_figure
from kerazoo.reports.figures import BLUE, INK, ORANGE, PAPER, SKY

NAMES = ("step", "sigmoid", "tanh", "relu")


@dataclasses.dataclass(frozen=True)
class Activation:
    """A function at some places."""

    x: np.ndarray
    value: np.ndarray
    derivative: np.ndarray
    """NaN where there is none."""


def activate(function: str, x: np.ndarray) -> Activation:
    """An activation function and its derivative.

    Parameters
    ----------
    function
        `step` (1 above 0, else 0), `sigmoid`, `tanh` or `relu`.
    x
        Where, any shape.

    Returns
    -------
    Activation
        float64 arrays of the shape of x. The step function's derivative is 0 everywhere but at 0, where it has none:
        nothing to descend along.
    """
    x = np.asarray(x, float)
    match function:
        case "step":
            return Activation(x, np.where(x > 0, 1.0, 0.0), np.where(x == 0, np.nan, 0.0))
        case "sigmoid":
            value = (1 + np.tanh(x / 2)) / 2  # 1 / (1 + exp(-x)), which overflows
            return Activation(x, value, value * (1 - value))
        case "tanh":
            return Activation(x, np.tanh(x), 1 - np.tanh(x) ** 2)
        case "relu":
            return Activation(x, np.maximum(x, 0), np.where(x == 0, np.nan, x > 0))
        case _:
            raise ValueError(f"there is no activation {function!r}, only {', '.join(NAMES)}")


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities that grow with the exponential of the scores and add up to 1 along the last axis."""
    powers = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def draw_activations() -> Figure:
    """Draw the four functions, and their derivatives below."""
    figure, axes = new_figure(2, len(NAMES), 2.3, 2.2)
    x = np.linspace(-4, 4, 801)
    for function, (upper, lower) in zip(NAMES, axes.T, strict=True):
        curve = activate(function, x)
        for ax, values, colour in ((upper, curve.value, BLUE), (lower, curve.derivative, ORANGE)):
            values = np.where(np.abs(np.diff(values, append=values[-1])) > 0.5, np.nan, values)  # a jump is no line
            ax.axhline(0, color=SOFT, linewidth=0.6)
            ax.axvline(0, color=SOFT, linewidth=0.6)
            ax.plot(x, values, color=colour, linewidth=2.2)
        upper.set_ylim(-1.25, 2.2)
        lower.set_ylim(-0.15, 1.25)
        name(upper, {"relu": "ReLU"}.get(function, function))
        name(lower, "", "weighted sum")
    axes[0, 0].set_ylabel("output", fontsize=9)
    axes[1, 0].set_ylabel("derivative", fontsize=9)
    axes[1, 0].text(
        *(0, 0.55), "0 everywhere:\nnothing to learn from", ha="center", fontsize=8, color=INK, backgroundcolor=PAPER
    )
    return figure


def draw_softmax(scores: np.ndarray, classes: list[str]) -> Figure:
    """Draw what the softmax makes of the scores of one patch.

    Parameters
    ----------
    scores
        (class,): the last layer's sums.
    classes
        Their names.

    Returns
    -------
    Figure
        Scores on the left, probabilities on the right.
    """
    figure, axes = new_figure(1, 2, 3.2, 0.75 + 0.4 * len(classes))
    probabilities = softmax(np.asarray(scores, float))
    panels = (("scores", scores, SKY, "{:g}"), ("softmax: probabilities", probabilities, BLUE, "{:.3f}"))
    for ax, (title, values, colour, text) in zip(axes[0], panels, strict=True):
        bars = ax.barh(classes, values, color=colour, height=0.6)
        ax.bar_label(bars, [text.format(value) for value in values], padding=4, fontsize=9)
        ax.invert_yaxis()
        ax.margins(x=0.25)
        ax.axvline(0, color=INK, linewidth=0.8)
        ax.spines[["left", "bottom"]].set_visible(False)
        ax.tick_params(left=False, bottom=False, labelbottom=False, labelsize=9)
        name(ax, title)
    return figure
