"""The artificial neuron (Rosenblatt 1958): its rule sample by sample, its line, and why XOR is too much for it.

`kerazoo.models.neurons.perceptron` is the same as a Keras model; here every step is kept.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kerazoo.course.style import FAINT, SOFT, name, new_figure
from kerazoo.reports.figures import BLUE, GREEN, INK, ORANGE, SKY, VERMILION

POINTS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], float)
"""The four samples in the order of the lecture."""
PROBLEMS = {"OR": np.array([0, 1, 1, 1]), "AND": np.array([0, 0, 0, 1]), "XOR": np.array([0, 1, 1, 0])}
"""What the neuron should answer to `POINTS`."""


@dataclasses.dataclass(frozen=True)
class Trace:
    """Every step of a neuron that learns; iteration i shows sample ``i % samples``."""

    x: np.ndarray
    """(sample, feature)."""
    real: np.ndarray
    """(sample,): the right answers, 0 or 1."""
    weights: np.ndarray
    """(iteration + 1, feature): before every iteration, and at the end."""
    biases: np.ndarray
    """(iteration + 1,)."""
    answers: np.ndarray
    """(iteration,): 0 or 1, before the weights were changed."""

    @property
    def mistakes(self) -> np.ndarray:
        """Wrong answers in every epoch, (epoch,)."""
        return np.sum(self.answers.reshape(-1, len(self.x)) != self.real, axis=1)

    @property
    def converged(self) -> bool:
        """Whether the last epoch changed nothing."""
        return bool(self.mistakes[-1] == 0)

    @property
    def cycle(self) -> tuple[int, int] | None:
        """The first epoch that starts with weights that were there before, and how many epochs before.

        What follows the same weights is the same, so the neuron goes round from here on and never learns. None where
        no weights come back, or where they stay as nothing is wrong any more.
        """
        seen: dict[tuple[float, ...], int] = {}
        for epoch in range(len(self.mistakes) + 1):
            state = (*self.weights[epoch * len(self.x)], self.biases[epoch * len(self.x)])
            if state in seen and self.mistakes[epoch - 1] > 0:
                return epoch, epoch - seen[state]
            seen[state] = epoch
        return None


def learn(x: np.ndarray, real: np.ndarray, learning_rate: float = 0.5, epochs: int = 100) -> Trace:
    """Train a neuron by Rosenblatt's rule, one sample after the other, from weights of zero.

    Parameters
    ----------
    x
        (sample, feature).
    real
        (sample,): the right answers, 0 or 1.
    learning_rate
        How far one wrong answer moves the weights.
    epochs
        At most so many passes over the samples; it stops after one without a mistake.

    Returns
    -------
    Trace
        All states and answers, float64.
    """
    x = np.asarray(x, float)
    weights, bias = np.zeros(x.shape[1]), 0.0
    states, biases, answers = [weights], [bias], []
    for _ in range(epochs):
        before = len(answers)
        for sample, target in zip(x, real, strict=True):
            answer = int(weights @ sample + bias > 0)
            weights = weights + learning_rate * (target - answer) * sample
            bias = bias + learning_rate * (target - answer)
            states.append(weights)
            biases.append(bias)
            answers.append(answer)
        if answers[before:] == list(real):
            break
    return Trace(x, np.asarray(real), np.array(states), np.array(biases), np.array(answers))


def draw_table(trace: Trace, iterations: int = 12) -> Figure:
    """Draw the first iterations as a table, the wrong answers and what they change in colour.

    Parameters
    ----------
    trace
        A neuron of two features.
    iterations
        Rows, at most.

    Returns
    -------
    Figure
        One row per sample shown.
    """
    shown = min(iterations, len(trace.answers))
    heads = ("iteration", "x1", "x2", "target", "w1", "w2", "b", "sum", "answer", "new w1", "new w2", "new b")
    figure = Figure(figsize=(0.78 * len(heads), 0.3 * (shown + 2)))
    ax = figure.add_axes((0.01, 0, 0.98, 1))
    ax.set_axis_off()
    ax.set(xlim=(-0.5, len(heads) - 0.5), ylim=(shown - 0.3, -1.5))
    for column, head in enumerate(heads):
        ax.text(column, -0.9, head, ha="center", va="center", fontsize=9, color=SOFT)
    ax.axhline(-0.5, color=INK, linewidth=0.8)
    for row in range(shown):
        sample, target = trace.x[row % len(trace.x)], trace.real[row % len(trace.x)]
        before = (*trace.weights[row], trace.biases[row])
        after = (*trace.weights[row + 1], trace.biases[row + 1])
        total = trace.weights[row] @ sample + trace.biases[row]
        cells = (row, *sample, target, *before, total, trace.answers[row], *after)
        wrong = trace.answers[row] != target
        if row % len(trace.x) == 0 and row:
            ax.axhline(row - 0.5, color=FAINT, linewidth=1)
        for column, value in enumerate(cells):
            changed = column == 8 if column < 9 else after[column - 9] != before[column - 9]
            marked = wrong and changed
            ax.text(
                column,
                row,
                f"{value:g}",
                ha="center",
                va="center",
                fontsize=10,
                color=VERMILION if marked else INK,
                fontweight="bold" if marked else "normal",
            )
    return figure


def draw_lines(trace: Trace, iterations: int = 12) -> Figure:
    """Draw the line between the two answers after every one of the first iterations.

    Parameters
    ----------
    trace
        A neuron of two features.
    iterations
        Panels, at most.

    Returns
    -------
    Figure
        The sample that was shown has a ring; the side where the neuron answers 1 is shaded.
    """
    shown = min(iterations, len(trace.answers))
    columns = min(4, shown)
    figure, axes = new_figure(-(-shown // columns), columns, 2.1, 2.2)
    for iteration, ax in enumerate(axes.ravel()):
        if iteration >= shown:
            ax.set_axis_off()
            continue
        weights, bias = trace.weights[iteration + 1], trace.biases[iteration + 1]
        number = iteration % len(trace.x)
        right = trace.answers[iteration] == trace.real[number]
        name(ax, f"iteration {iteration}: {'right' if right else 'wrong, corrected'}")
        ax.title.set(fontsize=9, color=INK if right else VERMILION)
        _paint_line(ax, trace, weights, bias)
        ax.plot(*trace.x[number], "o", markersize=17, markerfacecolor="none", markeredgecolor=INK)
    handles = [
        *(
            axes[0, 0].plot([], [], marker, color=colour, label=f"target {answer}")[0]
            for answer, marker, colour in _KINDS
        ),
        *axes[0, 0].fill([], [], color=SKY, alpha=0.35, label="answer 1"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def draw_cycle(trace: Trace, epochs: int = 7) -> Figure:
    """Draw the weights sample by sample, and the mistakes of every epoch: XOR goes round in a circle.

    Parameters
    ----------
    trace
        A neuron of two features.
    epochs
        How many are shown, at most.

    Returns
    -------
    Figure
        Where weights come back that were there before, a line marks it.
    """
    shown, samples = min(epochs, len(trace.mistakes)), len(trace.x)
    figure, axes = new_figure(1, 2, 4.2, 2.9)
    left, right = axes[0]
    iterations = np.arange(shown * samples + 1)
    columns = (("w1", trace.weights[:, 0], BLUE), ("w2", trace.weights[:, 1], GREEN), ("b", trace.biases, ORANGE))
    for number, (label, values, colour) in enumerate(columns):
        # a little apart, so that equal values can be seen
        left.step(
            iterations / samples, values[iterations] + 0.02 * (number - 1), where="post", color=colour, label=label
        )
    name(left, "weights, changed by every wrong answer", "epoch")
    left.margins(y=0.1)
    right.bar(np.arange(shown) + 0.5, trace.mistakes[:shown], color=VERMILION, width=0.6)
    right.set(xlim=left.get_xlim(), ylim=(0, 1.3 * samples), yticks=range(samples + 1))
    name(right, f"wrong answers, of {samples}", "epoch")
    cycle = trace.cycle
    if cycle is not None and cycle[0] <= shown:
        epoch, length = cycle
        for ax in (left, right):
            ax.axvline(epoch, color=INK, linewidth=1, linestyle=(0, (2, 2)))
        ago = "one epoch" if length == 1 else f"{length} epochs"
        right.text(
            epoch + 0.1,
            1.28 * samples,
            f"the same weights as {ago} before:\nit goes round for ever",
            fontsize=8,
            color=INK,
            va="top",
        )
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", frameon=False, fontsize=9, ncols=3)
    return figure


_KINDS = ((0, "o", VERMILION), (1, "s", BLUE))
"""Target, marker and colour."""


def _paint_line(ax: Axes, trace: Trace, weights: np.ndarray, bias: float) -> None:
    low, high = trace.x.min() - 0.5, trace.x.max() + 0.5
    grid = np.linspace(low, high, 201)
    total = weights[0] * grid + weights[1] * grid[:, None] + bias
    if (total > 0).any():
        ax.contourf(grid, grid, total > 0, levels=(0.5, 1.5), colors=[SKY], alpha=0.35)
    if weights.any():
        ax.contour(grid, grid, total, levels=(0,), colors=[INK], linewidths=1.4)
    for answer, marker, colour in _KINDS:
        chosen = trace.x[trace.real == answer]
        ax.plot(chosen[:, 0], chosen[:, 1], marker, color=colour, markersize=8)
    ax.set(xlim=(low, high), ylim=(low, high), aspect="equal", xticks=(0, 1), yticks=(0, 1))
    ax.set_xlabel(f"w1 {weights[0]:g}   w2 {weights[1]:g}   b {bias:g}", fontsize=8, color=SOFT)
