"""Scores of patches that have one class each, from what the network says of all of them.

| score | of patches |
| --- | --- |
| accuracy | of the right class |
| balanced_accuracy | mean recall of the classes that occur |
| top_2, top_3 | whose class is among the two, three of the highest scores |
| macro_f1 | mean F1 of the classes that occur or are predicted |
| cohen_kappa | agreement beyond that of chance (Cohen 1960) |
| auc | area under the ROC curve of one class against the rest, mean of the classes that occur (Fawcett 2006) |
| log_loss | mean negative logarithm of the true class's probability |
| brier | mean squared distance of the probabilities to 1 for the true class, 0 for the others (Brier 1950) |
| calibration_error | mean distance of confidence and accuracy in `BINS` bins of confidence (Guo et al. 2017) |
| image_accuracy, image_balanced_accuracy | the same of images, by the highest mean score of their patches |

Those of images are there where images have one class each and more than one patch. A score that is not defined is None:
of a class that does not occur, or one of probabilities where the network gives other numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from kerazoo.evaluation.scores import (
    Scores,
    confusion_matrix,
    dice,
    mean_defined,
    precision,
    recall,
)

BINS = 10
"""Bins of equal width in which confidence and accuracy are compared."""
CURVE_POINTS = 200
"""Points of a ROC curve that are kept, at most."""
SUM_TOLERANCE = 1e-3
"""So far from one may a patch's probabilities add up, as networks compute in single precision or less."""


@dataclasses.dataclass(frozen=True)
class Classified:
    """Patches with their true class and the network's output, in one order."""

    truth: np.ndarray
    """Class indices, int (patch)."""
    scores: np.ndarray
    """The output, probabilities or other scores of which the highest decides, float (patch, class)."""
    ids: Sequence[str]
    """Id of the image that each patch is from."""
    classes: Sequence[str]
    """Names of the classes."""
    smaller: int = 0
    """Images that are smaller than a patch, so that they were mirrored beyond their edges."""
    unused: int = 0
    """Images without a patch of which one class covers enough."""

    def __post_init__(self) -> None:
        if not len(self.truth) == len(self.ids) == len(self.scores) or self.scores.shape[1] != len(self.classes):
            raise ValueError(
                f"{len(self.truth)} classes, scores {self.scores.shape} and {len(self.ids)} ids of "
                f"{len(self.classes)} classes do not fit each other"
            )

    @property
    def prediction(self) -> np.ndarray:
        """The class of the highest score, int (patch)."""
        return self.scores.argmax(axis=1)

    @property
    def confidence(self) -> np.ndarray:
        """The highest score of every patch, (patch)."""
        return self.scores.max(axis=1)

    @property
    def true_score(self) -> np.ndarray:
        """The score of every patch's true class, (patch)."""
        return self.scores[np.arange(len(self.truth)), self.truth]

    @property
    def right(self) -> np.ndarray:
        """Whether the predicted class is the true one, bool (patch)."""
        return self.prediction == self.truth

    @property
    def probable(self) -> bool:
        """Whether the scores are probabilities: between 0 and 1, and adding up to one."""
        low, high = self.scores.min(initial=0), self.scores.max(initial=0)
        return bool(low >= 0 and high <= 1 and (abs(self.scores.sum(axis=1) - 1) <= SUM_TOLERANCE).all())


def class_scores(classified: Classified) -> Scores:
    """The scores of the table above.

    Parameters
    ----------
    classified
        At least one patch.

    Returns
    -------
    dict
        By name; top_2 and top_3 where there are more classes than that, those of images where they say more.
    """
    confusion = class_confusion(classified)
    order = np.argsort(-classified.scores, axis=1, kind="stable")
    place = (order == classified.truth[:, None]).argmax(axis=1)
    return {
        "accuracy": float(classified.right.mean()),
        "balanced_accuracy": mean_defined(recall(confusion)),
        **{f"top_{k}": float((place < k).mean()) for k in (2, 3) if k < len(classified.classes)},
        "macro_f1": mean_defined(dice(confusion)),
        "cohen_kappa": _cohen_kappa(confusion),
        "auc": mean_defined(area_under_curve(classified, index) for index in range(len(classified.classes))),
        **_probability_scores(classified),
        **_image_scores(classified),
    }


def per_class(classified: Classified) -> dict[str, dict[str, Any]]:
    """Support (patches of the class), precision, recall, F1 and AUC against the rest, by the class's name."""
    confusion = class_confusion(classified)
    columns = {
        "support": confusion.sum(axis=1).tolist(),
        "precision": precision(confusion),
        "recall": recall(confusion),
        "f1": dice(confusion),
        "auc": [area_under_curve(classified, index) for index in range(len(classified.classes))],
    }
    return {
        name: dict(zip(columns, values, strict=True))
        for name, *values in zip(classified.classes, *columns.values(), strict=True)
    }


def class_confusion(classified: Classified) -> np.ndarray:
    """Patches by truth (row) and prediction (column), int (class, class)."""
    return confusion_matrix(classified.truth, classified.prediction, len(classified.classes))


def balance(classified: Classified) -> dict[str, dict[str, Any]]:
    """How many patches have each class, and which part of all that is, by the class's name."""
    counts = np.bincount(classified.truth, minlength=len(classified.classes))
    return {
        name: {"patches": int(count), "fraction": float(count / len(classified.truth))}
        for name, count in zip(classified.classes, counts, strict=True)
    }


def area_under_curve(classified: Classified, index: int) -> float | None:
    """Probability that a patch of a class has a higher score for it than one of another class, ties counted half.

    Parameters
    ----------
    classified
        The patches.
    index
        Index of the class.

    Returns
    -------
    float or None
        None where no patch has the class, or all have.
    """
    mine = classified.truth == index
    positive, negative = int(mine.sum()), int((~mine).sum())
    if not positive or not negative:
        return None
    ranks = rankdata(classified.scores[:, index])[mine].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * negative))


def roc_curve(classified: Classified, index: int) -> tuple[np.ndarray, np.ndarray] | None:
    """False and true positive rate at every threshold of a class's score, from the strictest.

    Parameters
    ----------
    classified
        The patches.
    index
        Index of the class.

    Returns
    -------
    tuple of numpy.ndarray or None
        Both float (point), from 0 to 1; None where no patch has the class, or all have.
    """
    order = np.argsort(-classified.scores[:, index], kind="stable")
    scores, mine = classified.scores[order, index], classified.truth[order] == index
    if mine.all() or not mine.any():
        return None
    last_of_ties = np.r_[np.flatnonzero(np.diff(scores)), len(scores) - 1]
    true = np.r_[0, np.cumsum(mine)[last_of_ties]]
    false = np.r_[0, last_of_ties + 1] - true
    return false / false[-1], true / true[-1]


def reliability_bins(classified: Classified) -> list[dict[str, Any]]:
    """How often the network is right where it is so sure.

    Parameters
    ----------
    classified
        The patches.

    Returns
    -------
    list of dict
        For each of the `BINS` bins of the highest probability: its limits ``low`` (excluded) and ``high``, the number
        of ``patches``, their mean ``confidence`` and their ``accuracy``, which are None in an empty bin. Empty where
        the scores are no probabilities.
    """
    if not classified.probable:
        return []
    edges = np.linspace(0, 1, BINS + 1)
    confidence, right = classified.confidence.astype(np.float64), classified.right
    bins = np.digitize(confidence, edges[1:-1], right=True)
    return [
        {
            "low": round(float(edges[number]), 6),
            "high": round(float(edges[number + 1]), 6),
            "patches": int(inside.sum()),
            "confidence": float(confidence[inside].mean()) if inside.any() else None,
            "accuracy": float(right[inside].mean()) if inside.any() else None,
        }
        for number, inside in ((number, bins == number) for number in range(BINS))
    ]


def per_image(classified: Classified) -> list[dict[str, Any]]:
    """What is found of every image.

    Parameters
    ----------
    classified
        The patches.

    Returns
    -------
    list of dict
        In the order in which the images come first: ``id``; number of ``patches``; their ``accuracy``; ``truth``, the
        name of the image's class, None where its patches have several; ``prediction``, the class of the highest mean
        score; ``true_score``, the mean score of the patches' true classes.
    """
    names, first, image = np.unique(np.asarray(classified.ids, dtype=object), return_index=True, return_inverse=True)
    patches = np.bincount(image)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(image, values) / patches

    accuracy, true_score = mean(classified.right), mean(classified.true_score)
    prediction = np.stack([mean(column) for column in classified.scores.T], axis=1).argmax(axis=1)
    one_class = np.bincount(image, classified.truth != classified.truth[first][image]) == 0
    return [
        {
            "id": str(names[number]),
            "patches": int(patches[number]),
            "accuracy": float(accuracy[number]),
            "truth": classified.classes[int(classified.truth[first[number]])] if one_class[number] else None,
            "prediction": classified.classes[int(prediction[number])],
            "true_score": float(true_score[number]),
        }
        for number in np.argsort(first)
    ]


def worst_first(images: Iterable[Mapping[str, Any]]) -> list[str]:
    """Ids of images: the lowest accuracy first, of several the one whose true class has the lowest score.

    Parameters
    ----------
    images
        Entries of `per_image`.
    """
    return [
        entry["id"] for entry in sorted(images, key=lambda item: (item["accuracy"], item["true_score"], item["id"]))
    ]


def class_summary(classified: Classified) -> dict[str, Any]:
    """All results of a set of patches, ready for JSON.

    Parameters
    ----------
    classified
        At least one patch.

    Returns
    -------
    dict
        ``task``; ``scores`` of all patches together; ``mean_scores``: the accuracy as mean over images; ``per_class``;
        ``per_image``; ``confusion``: rows of counts; ``balance``; ``calibration``; ``roc``: by class the
        ``false_positive_rate`` and ``true_positive_rate`` of at most `CURVE_POINTS` points, or None.
    """
    images = per_image(classified)
    curves = {name: roc_curve(classified, index) for index, name in enumerate(classified.classes)}
    return {
        "task": "classification",
        "scores": class_scores(classified),
        "mean_scores": {"accuracy": mean_defined(entry["accuracy"] for entry in images)},
        "per_class": per_class(classified),
        "per_image": images,
        "confusion": class_confusion(classified).tolist(),
        "balance": balance(classified),
        "calibration": reliability_bins(classified),
        "roc": {
            name: curve and dict(zip(("false_positive_rate", "true_positive_rate"), _thinned(*curve), strict=True))
            for name, curve in curves.items()
        },
    }


def _thinned(false: np.ndarray, true: np.ndarray) -> tuple[list[float], list[float]]:
    """Corners of a curve only, and of those so many, evenly spread along it."""
    straight = np.zeros(len(false), bool)
    straight[1:-1] = (np.diff(false, 2) == 0) & (np.diff(true, 2) == 0)
    corners = np.flatnonzero(~straight)
    if len(corners) > CURVE_POINTS:
        along = (false + true)[corners]
        corners = corners[np.searchsorted(along, np.linspace(0, along[-1], CURVE_POINTS))]
    return false[corners].round(5).tolist(), true[corners].round(5).tolist()


def _cohen_kappa(confusion: np.ndarray) -> float | None:
    part = confusion / confusion.sum()
    chance = float(part.sum(axis=0) @ part.sum(axis=1))
    return float((np.trace(part) - chance) / (1 - chance)) if chance < 1 else None


def _image_scores(classified: Classified) -> Scores:
    images = per_image(classified)
    if len(images) == len(classified.truth) or any(entry["truth"] is None for entry in images):
        return {}
    index = {name: place for place, name in enumerate(classified.classes)}
    pairs = np.array([(index[entry["truth"]], index[entry["prediction"]]) for entry in images])
    confusion = confusion_matrix(pairs[:, 0], pairs[:, 1], len(index))
    return {
        "image_accuracy": float((pairs[:, 0] == pairs[:, 1]).mean()),
        "image_balanced_accuracy": mean_defined(recall(confusion)),
    }


def _probability_scores(classified: Classified) -> Scores:
    if not classified.probable:
        return dict.fromkeys(("log_loss", "brier", "calibration_error"))
    hits = np.arange(len(classified.classes)) == classified.truth[:, None]
    probabilities = classified.scores.astype(np.float64)
    filled = [entry for entry in reliability_bins(classified) if entry["patches"]]
    distances = [entry["patches"] * abs(entry["confidence"] - entry["accuracy"]) for entry in filled]
    smallest = np.finfo(np.float32).eps
    return {
        "log_loss": float(-np.log(np.maximum(classified.true_score.astype(np.float64), smallest)).mean()),
        "brier": float(((probabilities - hits) ** 2).sum(axis=1).mean()),
        "calibration_error": sum(distances) / len(classified.truth),
    }
