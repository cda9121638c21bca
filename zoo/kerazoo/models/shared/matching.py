"""Which predicted object is which true one: overlaps by one sparse histogram, and their matching."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.optimize
import scipy.sparse

PART = 0.1
"""A part of a split or merged object has at least so much of its pixels: specks within an object split nothing."""


@dataclasses.dataclass(frozen=True)
class Overlaps:
    """All pairs of a true and a predicted object that share at least one pixel."""

    truth_labels: np.ndarray
    """Label of every true object, int (objects,)."""
    prediction_labels: np.ndarray
    """Label of every predicted object, int (objects,)."""
    truth: np.ndarray
    """Index of the true object of every pair, int (pairs,)."""
    prediction: np.ndarray
    """Index of the predicted object of every pair, int (pairs,)."""
    iou: np.ndarray
    """Intersection over union of every pair, float64 (pairs,)."""
    of_truth: np.ndarray
    """Part of the true object that the predicted one covers, of every pair, float64 (pairs,)."""
    of_prediction: np.ndarray
    """Part of the predicted object that lies in the true one, of every pair, float64 (pairs,)."""


def overlaps(truth: np.ndarray, prediction: np.ndarray) -> Overlaps:
    """Intersect two label images.

    Parameters
    ----------
    truth, prediction
        Label images of one shape, non-negative integers; 0 is background, labels need not be consecutive.

    Returns
    -------
    Overlaps
        The pairs in the order of their labels.

    Raises
    ------
    ValueError
        The shapes differ, or a label is negative.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"label images of different shape: {truth.shape} and {prediction.shape}")
    true_index, true_labels, true_area = _consecutive(truth)
    predicted_index, predicted_labels, predicted_area = _consecutive(prediction)
    both = (true_index > 0) & (predicted_index > 0)
    shape = (len(true_labels) + 1, len(predicted_labels) + 1)
    position = true_index[both], predicted_index[both]
    histogram = scipy.sparse.coo_array((np.ones(position[0].size, np.int64), position), shape=shape).tocsr()
    histogram.sort_indices()
    row, column = histogram.nonzero()
    row, column = row - 1, column - 1
    intersection = histogram.data.astype(np.float64)
    union = true_area[row] + predicted_area[column] - intersection
    return Overlaps(
        true_labels,
        predicted_labels,
        row,
        column,
        iou=intersection / union,
        of_truth=intersection / true_area[row],
        of_prediction=intersection / predicted_area[column],
    )


def match(pairs: Overlaps, threshold: float = 0.5) -> np.ndarray:
    """The largest one-to-one assignment of objects whose IoU is at least ``threshold``; ties by the larger total IoU.

    Above 0.5 an object has at most one such partner, and the candidates are the matching (Kirillov et al. 2019,
    Panoptic Segmentation). Otherwise only the contested objects go through the Hungarian algorithm.

    Parameters
    ----------
    pairs
        What `overlaps` returns.
    threshold
        Smallest IoU of a match, above 0.

    Returns
    -------
    numpy.ndarray
        Positions of the matched pairs in ``pairs``, int (matches,), in rising order.
    """
    candidates = np.flatnonzero(pairs.iou >= threshold)
    truth, prediction = pairs.truth[candidates], pairs.prediction[candidates]
    contested = (np.bincount(truth)[truth] > 1) | (np.bincount(prediction)[prediction] > 1)
    if not contested.any():
        return candidates
    # Both objects of a free pair have no other candidate, so that the rest can be solved without it.
    free, contested = candidates[~contested], candidates[contested]
    rows, row = np.unique(pairs.truth[contested], return_inverse=True)
    columns, column = np.unique(pairs.prediction[contested], return_inverse=True)
    gain = np.zeros((len(rows), len(columns)))
    # One more match outweighs any sum of overlaps.
    gain[row, column] = 1 + pairs.iou[contested] / (2 * min(gain.shape))
    position = np.full(gain.shape, -1)
    position[row, column] = contested
    chosen = position[scipy.optimize.linear_sum_assignment(gain, maximize=True)]
    return np.sort(np.concatenate([free, chosen[chosen >= 0]]))


def splits(pairs: Overlaps) -> int:
    """True objects that are split: two or more predicted ones lie in them.

    Parameters
    ----------
    pairs
        What `overlaps` returns.

    Returns
    -------
    int
        How many there are. A part has more than half of its own pixels in the object, and at least `PART` of those of
        the object.
    """
    parts = (pairs.of_prediction > 0.5) & (pairs.of_truth >= PART)
    return int((np.bincount(pairs.truth[parts]) > 1).sum())


def merges(pairs: Overlaps) -> int:
    """Predicted objects that are merged: two or more true ones lie in them, by the same rule as `splits`."""
    parts = (pairs.of_truth > 0.5) & (pairs.of_prediction >= PART)
    return int((np.bincount(pairs.prediction[parts]) > 1).sum())


def _consecutive(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The flat image with labels 0, 1, 2, ...; the original labels and the areas of the objects."""
    flat = labels.ravel()
    if flat.size == 0:
        return flat.astype(np.intp), np.zeros(0, labels.dtype), np.zeros(0, np.int64)
    if flat.min() < 0:
        raise ValueError("a label image has negative labels")
    if flat.max() > max(flat.size, 65535):
        values, flat = np.unique(flat, return_inverse=True)
    else:
        values = np.arange(int(flat.max()) + 1)
    area = np.bincount(flat, minlength=len(values))
    present = (area > 0) & (values > 0)
    index = np.zeros(len(values), np.intp)
    index[present] = np.arange(1, present.sum() + 1)
    return index[flat], values[present], area[present]
