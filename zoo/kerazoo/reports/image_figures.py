"""Figures of label images and class maps: the prediction beside the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from skimage.measure import find_contours, regionprops

from kerazoo.evaluation.scores import count
from kerazoo.files.legend import class_colours
from kerazoo.models.recipe import Recipe
from kerazoo.models.shared.matching import match, overlaps
from kerazoo.reports.figures import INK, ORANGE, PAPER, SKY, displayed, save

if TYPE_CHECKING:
    from kerazoo.evaluation.images import Example, ValidatedImages

MATCHED, UNMATCHED = SKY, ORANGE
WINDOW = 320
"""Largest side of the part of an image that is shown, in pixels."""


def draw_images(validated: ValidatedImages, folder: Path) -> None:
    """Draw samples.png and worst.png.

    Parameters
    ----------
    validated
        The scored validation images of a run.
    folder
        Gets the figures.
    """
    for name, ids in (("samples", validated.samples), ("worst", validated.worst)):
        draw_examples([validated.example(id) for id in ids], validated.recipe, folder / f"{name}.png")


def draw_examples(examples: Sequence[Example], recipe: Recipe, path: Path) -> None:
    """Draw image, ground truth and prediction side by side, one row per example.

    A large image is shown by the part with the most wrong pixels. The colour of an outline says whether the object is
    matched at IoU 0.5; classes are laid over the image in colour.

    Parameters
    ----------
    examples
        What to show.
    recipe
        Its task, classes and ignored value.
    path
        PNG file to write.
    """
    views = [_View(example, recipe) for example in examples]
    side, title, caption, foot, gap = 2.9, 0.27, 0.24, 0.42, 0.04
    heights = [side * view.aspect for view in views]
    width, height = 3 * side, title + sum(heights) + caption * len(views) + foot
    figure = Figure(figsize=(width, height))
    for column, name in enumerate(("image", "truth", "prediction")):
        figure.text((column + 0.5) / 3, 1 - 0.06 / height, name, ha="center", va="top", fontsize=10, color=INK)
    top = height - title
    for view, row_height in zip(views, heights, strict=True):
        figure.text(gap / width, (top - caption + 0.05) / height, view.caption, fontsize=8, color=INK)
        top -= caption + row_height
        for column, paint in enumerate((view.paint_image, view.paint_truth, view.paint_prediction)):
            ax = figure.add_axes(
                ((column * side + gap) / width, top / height, (side - 2 * gap) / width, (row_height - gap) / height)
            )
            ax.set_axis_off()
            paint(ax)
    figure.legend(handles=_legend(recipe), loc="lower center", ncols=4, frameon=False, fontsize=9)
    save(figure, path)


class _View:
    """One row of the figure: an example, cut to the part that is shown."""

    def __init__(self, example: Example, recipe: Recipe) -> None:
        self.recipe = recipe
        self.objects = recipe.task == "instances"
        valid = example.truth != recipe.ignore
        truth, prediction = np.where(valid, example.truth, 0), np.where(valid, example.prediction, 0)
        if self.objects:
            pairs = overlaps(truth, prediction)
            found = match(pairs, 0.5)
            self.true_matches = pairs.truth_labels[pairs.truth[found]]
            self.predicted_matches = pairs.prediction_labels[pairs.prediction[found]]
            right = np.isin(truth, [0, *self.true_matches]) & np.isin(prediction, [0, *self.predicted_matches])
            wrong = ~right | ((truth > 0) != (prediction > 0))
        else:
            if recipe.binary:
                truth, prediction = (truth > 0).astype(np.int32), (prediction > 0).astype(np.int32)
            wrong = truth != prediction
        part = _window(wrong)
        self.truth, self.prediction, self.valid = truth[part], prediction[part], valid[part]
        self.picture = displayed(example.image)[part]
        self.grey = self.picture if self.picture.ndim == 2 else self.picture.mean(axis=2)
        self.aspect = self.truth.shape[0] / self.truth.shape[1]
        scores = count(example.truth, example.prediction, recipe).scores()
        shown = ("ap_50", "dice") if self.objects else ("dice",) if recipe.binary else ("iou", "accuracy")
        figures = [f"{_NAMES[name]} {scores[name]:.2f}" for name in shown if scores[name] is not None]
        name = example.id if len(example.id) <= 40 else f"{example.id[:37]}..."
        whole = truth.shape == self.truth.shape
        size = f"{truth.shape[1]} x {truth.shape[0]} px"
        extent = size if whole else f"{self.truth.shape[1]} x {self.truth.shape[0]} px of {size}"
        self.caption = "   ".join([name, *figures, extent])

    def paint_image(self, ax: Axes) -> None:
        ax.imshow(self.picture, cmap="gray", **_EXACT)

    def paint_truth(self, ax: Axes) -> None:
        if self.objects:
            self._paint_objects(ax, self.truth, self.true_matches)
        else:
            self._paint_classes(ax, self.truth)

    def paint_prediction(self, ax: Axes) -> None:
        if self.objects:
            self._paint_objects(ax, self.prediction, self.predicted_matches)
        else:
            self._paint_classes(ax, self.prediction)

    def _paint_objects(self, ax: Axes, labels: np.ndarray, matched: np.ndarray) -> None:
        # Coloured outlines need a background without colours, and not a bright one.
        ax.imshow(self.grey * (1 if self.picture.ndim == 2 else 0.7), cmap="gray", **_EXACT)
        for kept, colour in ((np.isin(labels, matched), MATCHED), (~np.isin(labels, matched), UNMATCHED)):
            ax.add_collection(LineCollection(_outlines(np.where(kept, labels, 0)), colors=colour, linewidths=1.1))

    def _paint_classes(self, ax: Axes, classes: np.ndarray) -> None:
        # On a pale grey the classes keep the colours of the legend.
        shade = 0.35 + 0.65 * self.grey if self.recipe.named_classes else self.grey
        ax.imshow(shade, cmap="gray", **_EXACT)
        colours = np.array([to_rgba(colour, 0.5) for colour in _class_colours(self.recipe)])
        if self.recipe.binary:
            colours[0, 3] = 0
        overlay = colours[classes]
        overlay[~self.valid] = to_rgba(PAPER, 0.8)
        ax.imshow(overlay, **_EXACT)


_EXACT: dict[str, Any] = {"vmin": 0, "vmax": 1, "aspect": "auto", "interpolation": "nearest"}
_NAMES = {"ap_50": "AP50", "dice": "Dice", "iou": "mean IoU", "accuracy": "accuracy"}


def _outlines(labels: np.ndarray) -> list[np.ndarray]:
    """Outlines of all objects as lines of points (x, y)."""
    lines = []
    # numbered anew, for regionprops goes through all numbers up to the largest
    numbers = np.unique(np.append(labels, 0), return_inverse=True)[1][:-1].reshape(labels.shape)
    for region in regionprops(numbers):
        corner = np.array(region.bbox[:2])
        for line in find_contours(np.pad(region.image, 1).astype(np.float32), 0.5):
            lines.append((line + corner - 1)[:, ::-1])
    return lines


def _window(wrong: np.ndarray) -> tuple[slice, slice]:
    """The part of at most `WINDOW` pixels a side, not too slender, with the most wrong pixels."""
    largest = min(WINDOW, max(1, 3 * min(wrong.shape) // 2))
    height, width = (min(length, largest) for length in wrong.shape)
    integral = cv2.integral(wrong.astype(np.uint8))
    inside = (
        integral[height:, width:]
        - integral[:-height, width:]
        - integral[height:, :-width]
        + integral[:-height, :-width]
    )
    y, x = np.unravel_index(inside.argmax(), inside.shape)
    return np.s_[y : y + height, x : x + width]


def _class_colours(recipe: Recipe) -> list[str]:
    return [PAPER, SKY] if recipe.binary else class_colours(len(recipe.classes))


def _legend(recipe: Recipe) -> list[Line2D | Patch]:
    if recipe.task == "instances":
        return [
            Line2D([], [], color=MATCHED, label="matched (IoU 0.5 or more)"),
            Line2D([], [], color=UNMATCHED, label="missed in the truth, false in the prediction"),
        ]
    entries = list(zip(recipe.classes, _class_colours(recipe), strict=True))
    return [Patch(color=colour, alpha=0.7, label=name) for name, colour in entries[recipe.binary :]]
