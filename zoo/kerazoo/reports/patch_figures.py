"""Figures of classified patches: confusion matrix, ROC curves, calibration, and sheets of patches."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kerazoo.evaluation.classification import (
    Classified,
    area_under_curve,
    class_confusion,
    class_scores,
    reliability_bins,
    roc_curve,
)
from kerazoo.reports.figures import BLUE, GREEN, INK, ORANGE, PINK, SKY, VERMILION, displayed, plain, save

if TYPE_CHECKING:
    from kerazoo.evaluation.patches import ValidatedPatches

LINE_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PINK, SKY, INK)
"""As many classes as can be distinguished in one plot."""
SOFT, PALE = "#777777", "#dddddd"
RIGHT, WRONG = SKY, ORANGE
COLUMNS = 8
"""Patches side by side."""
WORST = 4 * COLUMNS
"""Mistakes in a figure."""
SAMPLES = 6 * COLUMNS
"""Patches of all classes in a figure, at most while there are not more classes."""
NAME_LENGTH = 24
"""Longer names of classes are cut in the figures."""


def draw_classified(validated: ValidatedPatches, folder: Path) -> None:
    """Draw confusion.png, roc.png, calibration.png, samples.png and worst.png.

    Parameters
    ----------
    validated
        The scored validation patches of a run.
    folder
        Gets the figures.
    """
    classified, pixels = validated.classified, validated.pixels
    draw_confusion(classified, folder / "confusion.png")
    draw_roc(classified, folder / "roc.png")
    draw_calibration(classified, folder / "calibration.png")
    draw_patches(classified, samples(classified), pixels, folder / "samples.png")
    draw_patches(classified, mistakes(classified), pixels, folder / "worst.png")


def draw_confusion(classified: Classified, path: Path) -> None:
    """Draw the confusion matrix, rows in percent of the true class, and beside it how many patches each class has.

    Parameters
    ----------
    classified
        The patches.
    path
        PNG file to write.
    """
    counts, names = class_confusion(classified), _short(classified.classes)
    number, support = len(names), counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        fractions = counts / support[:, None]
    side = min(1.05, max(0.42, 4.2 / number))
    room = 0.085 * max(map(len, names)) + 0.6
    figure = Figure(figsize=(number * side + room + 2.1, number * side + 0.75 * room + 0.5), layout="constrained")
    figure.set_layout_engine("constrained", h_pad=0.08)
    grid = figure.add_gridspec(1, 2, width_ratios=(number * side, 1.7))
    matrix = figure.add_subplot(grid[0])
    bars = figure.add_subplot(grid[1], sharey=matrix)

    shades = LinearSegmentedColormap.from_list("shades", ["white", BLUE]).with_extremes(bad="#eeeeee")
    matrix.imshow(fractions, cmap=shades, vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        if not support[row]:
            text = "no patches of this class" if column == number // 2 else ""
            matrix.text(number / 2 - 0.5, row, text, ha="center", va="center", fontsize=8, color=SOFT)
            continue
        fraction = fractions[row, column]
        text = f"{100 * fraction:.0f}" if number > 7 else f"{100 * fraction:.0f} %\n{count}"
        matrix.text(
            column,
            row,
            text if count or number <= 7 else "",
            ha="center",
            va="center",
            fontsize=9 if number <= 7 else 7.5,
            color="white" if fraction > 0.55 else INK if count else SOFT,
            linespacing=1.3,
        )
    upright = max(map(len, names)) < 11 * side
    turned = {} if upright else {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    matrix.set_xticks(range(number), names, fontsize=9, **turned)
    matrix.set_yticks(range(number), names, fontsize=9)
    matrix.set_xlabel("predicted class", fontsize=9.5, color=INK)
    matrix.set_ylabel("true class", fontsize=9.5, color=INK)
    matrix.set_xticks(np.arange(number - 1) + 0.5, minor=True)
    matrix.set_yticks(np.arange(number - 1) + 0.5, minor=True)
    matrix.grid(which="minor", color="white", linewidth=2)
    matrix.tick_params(which="both", length=0)
    matrix.spines[:].set_color(PALE)
    matrix.set_title("percent of the true class", fontsize=10, color=INK)

    bars.barh(range(number), support, color=BLUE, height=0.6)
    for row, count in enumerate(support):
        share = f" ({100 * count / support.sum():.0f} %)" if count else ""
        bars.text(count, row, f" {count}{share}", va="center", fontsize=8, color=INK)
    bars.set_xlim(0, 1.9 * support.max())
    bars.set_title("patches", fontsize=10, color=INK)
    bars.tick_params(which="both", labelleft=False, labelbottom=False, length=0)
    bars.spines[["top", "right", "bottom"]].set_visible(False)
    bars.spines["left"].set_color(SOFT)
    save(figure, path)


def draw_roc(classified: Classified, path: Path) -> None:
    """Draw the ROC curve of every class against the rest; those with the smallest areas stand out among many.

    Parameters
    ----------
    classified
        The patches.
    path
        PNG file to write.
    """
    width, height, side = 7.6, 4.6, 3.95
    figure = Figure(figsize=(width, height))
    ax = figure.add_axes((0.55 / width, 0.5 / height, side / width, side / height))
    areas = [area_under_curve(classified, index) for index in range(len(classified.classes))]
    ranked = sorted((area, index) for index, area in enumerate(areas) if area is not None)
    named = {index for _, index in ranked[: len(LINE_COLOURS)]}
    colours = dict(zip(sorted(named), LINE_COLOURS, strict=False))
    ax.plot([0, 1], [0, 1], color=PALE, linewidth=1, linestyle=(0, (4, 3)))
    for _, index in reversed(ranked):
        curve = roc_curve(classified, index)
        if curve is not None:
            outstanding = index in named
            ax.plot(*curve, color=colours.get(index, "#b5b5b5"), linewidth=1.8 if outstanding else 0.9, clip_on=False)
    names = _short(classified.classes)
    handles = [
        Line2D([], [], color=colours[index], linewidth=1.8, label=f"{names[index]}   {area:.3f}")
        for area, index in ranked
        if index in named
    ]
    others = [area for area, index in ranked if index not in named]
    if others:
        extent = f"{others[0]:.3f} to {others[-1]:.3f}" if len(others) > 1 else f"{others[0]:.3f}"
        handles.append(Line2D([], [], color="#b5b5b5", linewidth=0.9, label=f"{len(others)} more   {extent}"))
    absent = len(areas) - len(ranked)
    if absent:
        handles.append(Line2D([], [], color="none", label=f"{absent} without patches"))
    legend = figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=((0.65 + side) / width, (0.55 + side) / height),
        frameon=False,
        fontsize=9,
        title="area under the curve",
    )
    legend.set_alignment("left")
    legend.get_title().set_fontsize(9)
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(-0.01, 1.01)
    ax.set_xlabel("patches of other classes that are taken for it", fontsize=9, color=INK)
    ax.set_ylabel("patches of the class that are found", fontsize=9, color=INK)
    plain(ax)
    save(figure, path)


def draw_calibration(classified: Classified, path: Path) -> None:
    """Draw the accuracy by confidence (reliability diagram), with 95 % intervals as of independent patches.

    Nothing is drawn where the scores are no probabilities.

    Parameters
    ----------
    classified
        The patches.
    path
        PNG file to write.
    """
    bins = reliability_bins(classified)
    if not bins:
        return
    figure = Figure(figsize=(4.8, 5.4), layout="constrained")
    ax, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
    filled = [entry for entry in bins if entry["patches"]]
    confidence = np.array([entry["confidence"] for entry in filled])
    accuracy = np.array([entry["accuracy"] for entry in filled])
    low, high = _interval(accuracy, np.array([entry["patches"] for entry in filled]))
    ax.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    ax.vlines(confidence, low, high, color=BLUE, linewidth=1.4, alpha=0.6)
    ax.plot(confidence, accuracy, "o-", color=BLUE, markersize=5, linewidth=1.6)
    start = 1 / len(classified.classes)
    ax.text(start + 0.03 * (1 - start), 0.97, "too cautious", fontsize=9, color=SOFT, va="top")
    ax.text(0.99, 0.03, "too sure", fontsize=9, color=SOFT, ha="right")
    ax.set_ylim(0, 1.02)
    ax.set_ylabel("part that is right", fontsize=9, color=INK)
    error = class_scores(classified)["calibration_error"]
    ax.set_title(f"calibration error {error:.3f}", fontsize=10, color=INK)
    edges = np.array([entry["low"] for entry in bins] + [1.0])
    below.stairs([entry["patches"] for entry in bins], edges, fill=True, color=BLUE)
    below.set_ylabel("patches", fontsize=9, color=INK)
    below.set_xlabel("probability of the predicted class", fontsize=9, color=INK)
    # the highest of n probabilities is never lower than 1 / n
    below.set_xlim(math.floor(10 * start) / 10, 1)
    for each in (ax, below):
        plain(each)
    save(figure, path)


def draw_patches(
    classified: Classified, indices: Sequence[int], patches: Callable[[int], np.ndarray], path: Path
) -> None:
    """Draw a sheet of patches, framed by whether they are right, with the prediction and its confidence.

    Parameters
    ----------
    classified
        The patches.
    indices
        Which ones, in this order; see `samples` and `mistakes`. Without any nothing is drawn.
    patches
        From the index of a patch to its raw pixels (y, x, channel), any dtype.
    path
        PNG file to write.
    """
    if not len(indices):
        return
    raw = [patches(index) for index in indices]
    # one stretch for all of them, or an empty patch would show its noise as if it were something
    stretched = displayed(np.concatenate([patch.reshape(-1, 1, patch.shape[2]) for patch in raw]))
    parts = np.split(stretched, np.cumsum([patch.shape[0] * patch.shape[1] for patch in raw])[:-1])
    columns = min(COLUMNS, len(indices))
    rows = math.ceil(len(indices) / columns)
    cell, caption, foot, least = 1.4, 0.34, 0.32, 4.2
    width, height = max(least, columns * cell), rows * (cell + caption) + foot
    figure = Figure(figsize=(width, height))
    prediction, confidence = classified.prediction, classified.confidence
    for place, (index, patch, pixels) in enumerate(zip(indices, raw, parts, strict=True)):
        left, top = (place % columns) * cell, height - (place // columns) * (cell + caption)
        ax = figure.add_axes(
            ((left + 0.05) / width, (top - cell + 0.03) / height, (cell - 0.1) / width, (cell - 0.1) / height)
        )
        ax.imshow(pixels.reshape(*patch.shape[:2], *pixels.shape[2:]), cmap="gray", vmin=0, vmax=1)
        ax.set_xticks([])
        ax.set_yticks([])
        right = prediction[index] == classified.truth[index]
        ax.spines[:].set(color=RIGHT if right else WRONG, linewidth=2.2)
        lines = [f"{_cut(classified.classes[int(prediction[index])], 18)} {confidence[index]:.2f}"]
        if not right:
            lines.append(f"truth: {_cut(classified.classes[int(classified.truth[index])], 17)}")
        for line, text in enumerate(lines):
            y = top - cell - 0.1 - 0.12 * line
            figure.text((left + cell / 2) / width, y / height, text, ha="center", fontsize=7, color=INK)
    frames = [
        Line2D([], [], color=colour, linewidth=2.2, label=label)
        for colour, label in ((RIGHT, "right"), (WRONG, "wrong"))
    ]
    figure.legend(handles=frames, loc="lower center", ncols=2, frameon=False, fontsize=8.5)
    save(figure, path)


def samples(classified: Classified) -> list[int]:
    """Patches of every class that occurs, evenly spread from the best to the worst.

    Parameters
    ----------
    classified
        The patches.

    Returns
    -------
    list of int
        Indices, class by class, within a class those of the highest score of the true class first; where there are
        enough patches, so many of each class that classes and rows of the sheet end together.
    """
    occurring, chosen = np.unique(classified.truth), []
    each = next((each for each in (16, 8, 4, 2) if each * len(occurring) <= SAMPLES), 1)
    for index in occurring:
        members = np.flatnonzero(classified.truth == index)
        ranked = members[np.argsort(-classified.true_score[members], kind="stable")]
        chosen += ranked[np.linspace(0, len(ranked) - 1, min(each, len(ranked))).round().astype(int)].tolist()
    return chosen


def mistakes(classified: Classified, number: int = WORST) -> list[int]:
    """Misclassified patches, those of the highest confidence first.

    As patches of one image may show nearly the same, those of others are preferred.

    Parameters
    ----------
    classified
        The patches.
    number
        At most so many.

    Returns
    -------
    list of int
        Indices.
    """
    wrong = np.flatnonzero(~classified.right)
    ranked = wrong[np.argsort(-classified.confidence[wrong], kind="stable")].tolist()
    seen: Counter[str] = Counter()
    turn = []
    for index in ranked:
        image = classified.ids[int(index)]
        seen[image] += 1
        turn.append(seen[image])
    chosen = sorted(range(len(ranked)), key=lambda place: (turn[place], place))[:number]
    return [ranked[place] for place in sorted(chosen)]


def _interval(fraction: np.ndarray, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Limits of the 95 % interval of a measured fraction (Wilson 1927)."""
    z = 1.96
    middle = fraction + z**2 / (2 * number)
    half = z * np.sqrt(fraction * (1 - fraction) / number + z**2 / (4 * number**2))
    return (middle - half) / (1 + z**2 / number), (middle + half) / (1 + z**2 / number)


def _short(names: Sequence[str]) -> list[str]:
    return [_cut(name, NAME_LENGTH) for name in names]


def _cut(name: str, length: int) -> str:
    return name if len(name) <= length else f"{name[: length - 1].rstrip()}…"
