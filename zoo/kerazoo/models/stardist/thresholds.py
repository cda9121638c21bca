"""The probability and overlap thresholds of StarDist that fit validation images best, all of them tried."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from bmzpack.errors import UserError
from kerazoo.models.shared.matching import Overlaps, match, overlaps
from kerazoo.models.stardist.decoding import find_candidates, render, suppress

PROBABILITIES = tuple(np.round(np.arange(0.1, 0.96, 0.01), 2).tolist())
"""Thresholds of the probability that are tried."""

OVERLAPS = (0.3, 0.4, 0.5)
"""Thresholds of the suppression that are tried, as in stardist 0.9.2."""

IOUS = (0.3, 0.5, 0.7)
"""Where objects are matched, as in stardist 0.9.2."""


def optimise_thresholds(
    outputs: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    grid: tuple[int, int],
    ignored: Sequence[np.ndarray] | None = None,
) -> tuple[float, float]:
    """Choose the thresholds of the highest accuracy TP / (TP + FP + FN), counted over all images, mean over `IOUS`.

    A candidate's fate depends on more probable ones only, and these lie on top of it in the label image. So the objects
    at a higher threshold are those at the lowest one without the less probable: every image is suppressed, drawn and
    intersected with the truth once for each overlap, whatever the number of probabilities.

    Parameters
    ----------
    outputs
        Network outputs (y / grid, x / grid, 1 + rays).
    truths
        Label images (y, x) of the same places; an output may go beyond its truth at the bottom and the right.
    grid
        Step between the pixels of the outputs in the images, (y, x).
    ignored
        Pixels that do not count, bool (y, x) for every image; by default none.

    Returns
    -------
    tuple
        Thresholds of the probability and of the overlap. Of equally good probabilities the middle one, of equally good
        overlaps the least.

    Raises
    ------
    UserError
        There are no images, or there is no object in any truth.
    """
    if not outputs or not any((truth > 0).any() for truth in truths):
        raise UserError("Thresholds cannot be chosen: there is no validation image with an object in its annotation.")
    ignored = [np.zeros(truth.shape, bool) for truth in truths] if ignored is None else ignored
    best = (-1.0, PROBABILITIES[0], OVERLAPS[0])
    for overlap in OVERLAPS:
        counts = np.zeros((len(PROBABILITIES), len(IOUS), 3), np.int64)
        for output, truth, hidden in zip(outputs, truths, ignored, strict=True):
            candidates = find_candidates(output, grid, PROBABILITIES[0])
            objects = candidates.take(suppress(candidates, overlap))
            labels = render(objects, truth.shape)
            labels[hidden] = 0
            counts += _counts(overlaps(np.where(hidden, 0, truth), labels), objects.probability)
        hits, truth_count, object_count = np.moveaxis(counts, -1, 0)
        accuracy = (hits / np.maximum(truth_count + object_count - hits, 1)).mean(axis=1)
        equal = np.flatnonzero(accuracy == accuracy.max())
        if accuracy.max() > best[0]:
            best = (float(accuracy.max()), PROBABILITIES[equal[len(equal) // 2]], overlap)
    return best[1], best[2]


def _counts(pairs: Overlaps, probability: np.ndarray) -> np.ndarray:
    """Matches, true objects and predicted objects at every probability and IoU, int (probabilities, IoUs, 3)."""
    counts = np.zeros((len(PROBABILITIES), len(IOUS), 3), np.int64)
    # Objects that others hide altogether, or that are ignored, have no pixels, and count nowhere.
    shown = probability[pairs.prediction_labels.astype(np.int64) - 1]
    number = -1
    for index, threshold in enumerate(PROBABILITIES):
        before, number = number, int((shown > threshold).sum())
        if number == before:
            counts[index] = counts[index - 1]
            continue
        kept = shown[pairs.prediction] > threshold
        fields = ("truth", "prediction", "iou", "of_truth", "of_prediction")
        part = dataclasses.replace(pairs, **{field: getattr(pairs, field)[kept] for field in fields})
        for column, iou in enumerate(IOUS):
            counts[index, column] = len(match(part, iou)), len(pairs.truth_labels), number
    return counts
