"""Scores of one image or of a data set, from counts that can be added.

Every image is reduced to counts (objects, pixels, boundary pixels). The scores of a data set are those of the sum of
its images' counts, so that every object weighs the same, whatever image it lies in: the convention of StarDist's
``matching_dataset``. The mean over images, the convention of the Data Science Bowl 2018, is `mean_scores`. A score that
is not defined (no object in truth and prediction, a class in neither) is None, and left out of every mean.

| score | of instances | of classes |
| --- | --- | --- |
| dice, iou | of the foreground: pixels of any object | mean over the classes; of a `foreground` target: its own |
| accuracy, balanced_accuracy | - | pixels of the right class; mean recall of the classes |
| boundary_f | outlines of objects, found within `BOUNDARY_TOLERANCE` | outlines of class regions |
| ap_50, ap_75 | TP / (TP + FP + FN) of objects matched at IoU 0.5, 0.75 | - |
| ap_50_95 | mean of the ten at 0.50, 0.55, ..., 0.95 | - |
| precision_50, recall_50, f1_50 | at IoU 0.5 | - |
| mean_matched_iou | mean IoU of the pairs matched at 0.5 | - |
| splits, merges | true objects found in parts, predicted ones that join several (`shared.matching`) | - |
| panoptic_quality | sum of that IoU / (TP + FP / 2 + FN / 2) at 0.5 (Kirillov et al. 2019) | - |
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Self

import cv2
import numpy as np

from kerazoo.models.shared.matching import match, merges, overlaps, splits

if TYPE_CHECKING:
    from kerazoo.models.recipe import Recipe

Scores = dict[str, float | None]

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""IoU at which objects count as found."""
BOUNDARY_TOLERANCE = 2.0
"""Distance in pixels at which an outline counts as found."""


class Counts(abc.ABC):
    """What the scores of one image, or of several, are made of."""

    @abc.abstractmethod
    def __add__(self, other: Self) -> Self: ...

    @abc.abstractmethod
    def scores(self) -> Scores:
        """The scores of the table above, by name."""


@dataclasses.dataclass(frozen=True)
class BoundaryCounts:
    """Outline pixels and how many of them are found on the other side (Csurka et al. 2013)."""

    truth: int = 0
    truth_found: int = 0
    prediction: int = 0
    prediction_found: int = 0

    def __add__(self, other: BoundaryCounts) -> BoundaryCounts:
        return BoundaryCounts(*np.add(dataclasses.astuple(self), dataclasses.astuple(other)).tolist())

    def score(self) -> float | None:
        """The F-score: harmonic mean of the found fractions."""
        if not self.truth or not self.prediction:
            return 0.0 if self.truth or self.prediction else None
        recall, precision = self.truth_found / self.truth, self.prediction_found / self.prediction
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@dataclasses.dataclass(frozen=True)
class InstanceCounts(Counts):
    """What the scores of a label image are made of."""

    truth: int
    """Objects in the truth."""
    prediction: int
    """Objects in the prediction."""
    matches: np.ndarray
    """Objects matched at each of `THRESHOLDS`, int (10,)."""
    matched_iou: float
    """Sum of the IoU of the pairs matched at 0.5."""
    splits: int
    """True objects that are found in parts."""
    merges: int
    """Predicted objects that join several true ones."""
    confusion: np.ndarray
    """Pixels by truth (row) and prediction (column), background and foreground, int (2, 2)."""
    boundary: BoundaryCounts

    def __add__(self, other: InstanceCounts) -> InstanceCounts:
        return InstanceCounts(
            self.truth + other.truth,
            self.prediction + other.prediction,
            self.matches + other.matches,
            self.matched_iou + other.matched_iou,
            self.splits + other.splits,
            self.merges + other.merges,
            self.confusion + other.confusion,
            self.boundary + other.boundary,
        )

    def scores(self) -> Scores:
        """The scores of instances."""
        average_precision = self.average_precision()
        found, mean = int(self.matches[0]), [value for value in average_precision if value is not None]
        return {
            "dice": dice(self.confusion)[1],
            "iou": iou(self.confusion)[1],
            "ap_50": average_precision[THRESHOLDS.index(0.5)],
            "ap_75": average_precision[THRESHOLDS.index(0.75)],
            "ap_50_95": float(np.mean(mean)) if mean else None,
            "panoptic_quality": _ratio(2 * self.matched_iou, self.truth + self.prediction),
            "precision_50": _ratio(found, self.prediction),
            "recall_50": _ratio(found, self.truth),
            "f1_50": _ratio(2 * found, self.truth + self.prediction),
            "mean_matched_iou": _ratio(self.matched_iou, found),
            "splits": self.splits if self.truth else None,
            "merges": self.merges if self.prediction else None,
            "boundary_f": self.boundary.score(),
        }

    def average_precision(self) -> list[float | None]:
        """TP / (TP + FP + FN) at each of `THRESHOLDS`."""
        return [_ratio(found, self.truth + self.prediction - found) for found in self.matches.tolist()]


@dataclasses.dataclass(frozen=True)
class ClassCounts(Counts):
    """What the scores of a class map are made of."""

    confusion: np.ndarray
    """Pixels by truth (row) and prediction (column), int (classes, classes)."""
    boundary: BoundaryCounts
    binary: bool
    """Whether Dice and IoU are those of class 1 alone, or the mean over all classes."""

    def __add__(self, other: ClassCounts) -> ClassCounts:
        return ClassCounts(self.confusion + other.confusion, self.boundary + other.boundary, self.binary)

    def scores(self) -> Scores:
        """The scores of classes."""
        every_dice, every_iou = dice(self.confusion), iou(self.confusion)
        return {
            "dice": every_dice[1] if self.binary else mean_defined(every_dice),
            "iou": every_iou[1] if self.binary else mean_defined(every_iou),
            "accuracy": _ratio(float(np.trace(self.confusion)), float(self.confusion.sum())),
            "balanced_accuracy": mean_defined(recall(self.confusion)),
            "boundary_f": self.boundary.score(),
        }


def count(truth: np.ndarray, prediction: np.ndarray, recipe: Recipe) -> Counts:
    """Count one image by the recipe's task.

    Parameters
    ----------
    truth
        Annotation as `kerazoo.files.masks.read_mask` gives it: labels, class indices or 0/1, int (y, x).
    prediction
        Result of the same shape, int (y, x).
    recipe
        Its task, targets, classes and ignored value.

    Returns
    -------
    Counts
        `InstanceCounts` or `ClassCounts`.
    """
    valid = np.ones(truth.shape, bool) if recipe.ignore is None else truth != recipe.ignore
    if recipe.task == "instances":
        return count_instances(truth, prediction, valid)
    if recipe.binary:
        return count_classes(truth > 0, prediction > 0, 2, valid, binary=True)
    return count_classes(truth, prediction, len(recipe.classes), valid)


def count_instances(truth: np.ndarray, prediction: np.ndarray, valid: np.ndarray | None = None) -> InstanceCounts:
    """Count the objects of two label images.

    Parameters
    ----------
    truth, prediction
        Label images of one shape, non-negative integers (y, x).
    valid
        Pixels that are scored, bool (y, x); elsewhere both are taken as background.
    """
    if valid is not None and not valid.all():
        truth, prediction = np.where(valid, truth, 0), np.where(valid, prediction, 0)
    pairs = overlaps(truth, prediction)
    matched = [match(pairs, threshold) for threshold in THRESHOLDS]
    return InstanceCounts(
        truth=len(pairs.truth_labels),
        prediction=len(pairs.prediction_labels),
        matches=np.array([len(found) for found in matched]),
        matched_iou=float(pairs.iou[matched[0]].sum()),
        splits=splits(pairs),
        merges=merges(pairs),
        confusion=confusion_matrix(truth > 0, prediction > 0, 2, valid),
        boundary=count_boundaries(truth, prediction, valid),
    )


def count_classes(
    truth: np.ndarray, prediction: np.ndarray, classes: int, valid: np.ndarray | None = None, binary: bool = False
) -> ClassCounts:
    """Count the pixels of two class maps.

    Parameters
    ----------
    truth, prediction
        Class indices, integers (y, x) below ``classes`` wherever ``valid``.
    classes
        Number of classes.
    valid
        Pixels that are scored, bool (y, x).
    binary
        Whether class 1 is the foreground and class 0 all else.
    """
    if valid is not None and not valid.all():
        truth, prediction = np.where(valid, truth, 0), np.where(valid, prediction, 0)
    return ClassCounts(
        confusion_matrix(truth, prediction, classes, valid), count_boundaries(truth, prediction, valid), binary
    )


def count_boundaries(truth: np.ndarray, prediction: np.ndarray, valid: np.ndarray | None = None) -> BoundaryCounts:
    """Count the outline pixels of two label images or class maps, and those near the other's.

    Parameters
    ----------
    truth, prediction
        Labels or class indices of one shape, integers (y, x).
    valid
        Pixels that are scored, bool (y, x); outlines along the others are left out.

    Returns
    -------
    BoundaryCounts
        Outline pixels as `outline` defines them; near is within `BOUNDARY_TOLERANCE`.
    """
    true_outline, predicted_outline = outline(truth), outline(prediction)
    if valid is not None:
        inside = valid & ~outline(valid)
        true_outline &= inside
        predicted_outline &= inside
    return BoundaryCounts(
        int(true_outline.sum()),
        int((true_outline & _near(predicted_outline)).sum()),
        int(predicted_outline.sum()),
        int((predicted_outline & _near(true_outline)).sum()),
    )


def outline(labels: np.ndarray) -> np.ndarray:
    """Pixels of another value than their right or lower neighbour, bool (y, x)."""
    edge = np.zeros(labels.shape, bool)
    edge[:, :-1] = labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    return edge


def dice(confusion: np.ndarray) -> list[float | None]:
    """Dice coefficient of every class, 2 TP / (2 TP + FP + FN)."""
    both = confusion.sum(0) + confusion.sum(1)
    return [_ratio(2 * a, b) for a, b in zip(confusion.diagonal().tolist(), both.tolist(), strict=True)]


def iou(confusion: np.ndarray) -> list[float | None]:
    """Intersection over union of every class, TP / (TP + FP + FN)."""
    union = confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
    return [_ratio(a, b) for a, b in zip(confusion.diagonal().tolist(), union.tolist(), strict=True)]


def recall(confusion: np.ndarray) -> list[float | None]:
    """Recall of every class, TP / (TP + FN)."""
    return [_ratio(a, b) for a, b in zip(confusion.diagonal().tolist(), confusion.sum(1).tolist(), strict=True)]


def precision(confusion: np.ndarray) -> list[float | None]:
    """Precision of every class, TP / (TP + FP)."""
    return [_ratio(a, b) for a, b in zip(confusion.diagonal().tolist(), confusion.sum(0).tolist(), strict=True)]


def confusion_matrix(
    truth: np.ndarray, prediction: np.ndarray, classes: int, valid: np.ndarray | None = None
) -> np.ndarray:
    """Count what is taken for what.

    Parameters
    ----------
    truth, prediction
        Class indices of one shape, integers below ``classes``.
    classes
        Number of classes.
    valid
        What is counted, bool of the same shape; by default everything.

    Returns
    -------
    numpy.ndarray
        Counts by truth (row) and prediction (column), int (classes, classes).
    """
    pair = truth.astype(np.intp) * classes + prediction
    return np.bincount(pair.ravel() if valid is None else pair[valid], minlength=classes**2).reshape(classes, classes)


def mean_defined(values: Iterable[float | None]) -> float | None:
    """The mean of those that are not None; None where all are."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def total(counts: Iterable[Counts]) -> Counts:
    """The counts of all images together."""
    return reduce(lambda one, other: one + other, counts)


def mean_scores(per_image: Iterable[Mapping[str, float | None]]) -> Scores:
    """The mean over images of every score, images where it is not defined left out."""
    per_image = list(per_image)
    return {name: mean_defined([scores[name] for scores in per_image]) for name in per_image[0]} if per_image else {}


def ranking(per_image: Sequence[Mapping[str, float | str | None]], recipe: Recipe) -> list[str]:
    """Ids of the scored images, worst first."""
    name = "ap_50" if recipe.task == "instances" else "iou"
    scored = [entry for entry in per_image if entry[name] is not None]
    return [str(entry["id"]) for entry in sorted(scored, key=lambda entry: (entry[name], entry["id"]))]


def _near(outline: np.ndarray) -> np.ndarray:
    if not outline.any():
        return outline
    distance = cv2.distanceTransform((~outline).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distance <= BOUNDARY_TOLERANCE


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
