"""Backpropagation through a small network: every value on the way forward, every slope on the way back."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from kerazoo.course.activations import activate
from kerazoo.course.neuron import POINTS
from kerazoo.course.style import SOFT, name, new_figure
from kerazoo.reports.figures import BLUE, INK, PAPER, SKY, VERMILION

WEIGHTS = (
    np.array([[0.8, -0.6], [0.4, 0.9]]),
    np.array([0.1, -0.2]),
    np.array([[1.0], [-1.2]]),
    np.array([0.3]),
)
"""Two inputs, two hidden neurons, one output: kernel (input, neuron) and bias (neuron,) of both layers, as those of
``mlp(classes=1, hidden=(2,), activation="sigmoid")``."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One sample on its way through a network of sigmoid neurons, and its error on the way back."""

    weights: tuple[np.ndarray, ...]
    """Kernel and bias of every layer, in turns."""
    target: float
    values: tuple[np.ndarray, ...]
    """What enters, and what the neurons of every layer answer."""
    errors: tuple[np.ndarray, ...]
    """How the loss changes with the weighted sum of every neuron, by layer."""
    gradients: tuple[np.ndarray, ...]
    """How the loss changes with every weight, in the shapes of ``weights``."""

    @property
    def loss(self) -> float:
        """The squared error."""
        return float((self.values[-1][0] - self.target) ** 2)

    def corrected(self, learning_rate: float = 1.0) -> Step:
        """The same sample after all weights have gone one step against their gradients."""
        moved = [weight - learning_rate * slope for weight, slope in zip(self.weights, self.gradients, strict=True)]
        return backpropagate(moved, self.values[0], self.target)


def backpropagate(weights: Sequence[np.ndarray], x: Sequence[float] | np.ndarray, target: float) -> Step:
    """Follow a sample forward and its error backward (Rumelhart, Hinton and Williams 1986).

    Parameters
    ----------
    weights
        Kernel (input, neuron) and bias (neuron,) of every layer, in turns; the last layer has one neuron.
    x
        (input,): the sample.
    target
        The right answer, 0 to 1.

    Returns
    -------
    Step
        float64.
    """
    values = [np.asarray(x, float)]
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        values.append(activate("sigmoid", values[-1] @ kernel + bias).value)
    slope = 2 * (values[-1] - target)
    errors, gradients = [], []
    for kernel, entering, answer in zip(weights[::2][::-1], values[-2::-1], values[:0:-1], strict=True):
        error = slope * answer * (1 - answer)  # the derivative of the sigmoid, from its value
        errors.insert(0, error)
        gradients[:0] = [np.outer(entering, error), error]
        slope = kernel @ error
    return Step(tuple(weights), target, tuple(values), tuple(errors), tuple(gradients))


def draw_step(step: Step) -> Figure:
    """Draw the network twice: with its values and weights, and with its errors and gradients.

    Parameters
    ----------
    step
        A step of a small network.

    Returns
    -------
    Figure
        Forward on the left, backward on the right.
    """
    figure, axes = new_figure(1, 2, 4.9, 3.1)
    forward, backward = axes[0]
    name(forward, f"forward: the answer is {step.values[-1][0]:.2f}, target is {step.target:g}")
    name(backward, "backward: how the error changes with every weight")
    nothing = np.zeros_like(step.values[0])
    _draw_network(forward, step.values, step.weights[::2], step.weights[1::2], BLUE)
    _draw_network(backward, (nothing, *step.errors), step.gradients[::2], step.gradients[1::2], VERMILION, back=True)
    return figure


def draw_answers(model: keras.Model, real: np.ndarray) -> Figure:
    """Draw what a network answers everywhere between the four samples.

    Parameters
    ----------
    model
        From two features to the probability of a class, the last column of its output.
    real
        (4,): the right answers to `POINTS`, 0 or 1.

    Returns
    -------
    Figure
        The more probable the answer 1, the darker the blue; the line is where it is one half.
    """
    figure, axes = new_figure(1, 1, 3.6, 3.2)
    ax, line = axes[0, 0], np.linspace(-0.5, 1.5, 81)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2).astype("float32")
    answers = np.asarray(keras.ops.convert_to_numpy(model(grid)))[:, -1].reshape(len(line), -1)
    shades = ax.contourf(line, line, answers, levels=np.linspace(0, 1, 11), cmap="Blues", alpha=0.75)
    if answers.min() < 0.5 < answers.max():
        ax.contour(line, line, answers, levels=(0.5,), colors=[INK], linewidths=1.4)
    for answer, marker, colour in ((0, "o", VERMILION), (1, "s", BLUE)):
        chosen = POINTS[real == answer]
        ax.plot(*chosen.T, marker, color=colour, markeredgecolor=PAPER, markersize=10, label=f"target {answer}")
    ax.set(aspect="equal", xticks=(0, 1), yticks=(0, 1))
    figure.colorbar(shades, ax=ax, ticks=(0, 0.5, 1), label="answer")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _draw_network(
    ax: Axes,
    values: Sequence[np.ndarray],
    kernels: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    colour: str,
    back: bool = False,
) -> None:
    places = [
        [(2.0 * layer, (number - (len(neurons) - 1) / 2) * -1.6) for number in range(len(neurons))]
        for layer, neurons in enumerate(values)
    ]
    for layer, kernel in enumerate(kernels):
        for (source, target), weight in np.ndenumerate(kernel):
            start, end = places[layer][source], places[layer + 1][target]
            ends = (end, start) if back else (start, end)
            ax.add_patch(
                FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=11, shrinkA=21, shrinkB=21, color=colour)
            )
            # nearer to where the way begins, as ways cross in the middle
            x, y = (a + (b - a) * 0.36 for a, b in zip(start, end, strict=True))
            ax.text(x, y, _short(weight), ha="center", va="center", fontsize=9, color=colour, backgroundcolor=PAPER)
    for layer, neurons in enumerate(places):
        for number, (x, y) in enumerate(neurons):
            ax.plot(x, y, "o", markersize=31, markerfacecolor=PAPER, markeredgecolor=SKY if layer else SOFT)
            if layer or not back:
                ax.text(x, y, _short(values[layer][number]), ha="center", va="center", fontsize=10, color=INK)
            text = f"x{number + 1}" if layer == 0 else f"b {_short(biases[layer - 1][number])}"
            ax.text(x, y - 0.48, text, ha="center", va="center", fontsize=9, color=SOFT if layer == 0 else colour)
    ax.set(xlim=(-0.5, 2.0 * len(kernels) + 0.5), ylim=(-1.5, 1.2))
    ax.set_axis_off()


def _short(value: float) -> str:
    return f"{round(value, 2) + 0.0:g}"  # -0 becomes 0
