"""Matching against an independent slow reference, and in its properties; tests/parity compares with StarDist."""

import time

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from kerazoo.evaluation.scores import THRESHOLDS, count_instances
from kerazoo.models.shared.matching import match, overlaps

LABELS = st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(
    lambda shape: st.tuples(*[arrays(np.int32, shape, elements=st.integers(0, 5))] * 2)
)


def slow_iou(truth, prediction):
    """IoU by comparing every object with every other."""
    true_labels, predicted_labels = (sorted(set(x.flat) - {0}) for x in (truth, prediction))
    matrix = np.zeros((len(true_labels), len(predicted_labels)))
    for i, a in enumerate(true_labels):
        for j, b in enumerate(predicted_labels):
            matrix[i, j] = ((truth == a) & (prediction == b)).sum() / ((truth == a) | (prediction == b)).sum()
    return matrix


@settings(max_examples=200, deadline=None)
@given(LABELS)
def test_iou_matrix_equals_the_slow_one(labels):
    pairs = overlaps(*labels)
    matrix = np.zeros((len(pairs.truth_labels), len(pairs.prediction_labels)))
    matrix[pairs.truth, pairs.prediction] = pairs.iou
    np.testing.assert_array_equal(matrix, slow_iou(*labels))
    assert (pairs.iou > 0).all()
    assert list(pairs.truth_labels) == sorted(set(labels[0].flat) - {0})
    assert list(pairs.prediction_labels) == sorted(set(labels[1].flat) - {0})


@settings(max_examples=200, deadline=None)
@given(LABELS, st.sampled_from([0.05, 0.2, 0.34, *THRESHOLDS]))
def test_matching_is_one_to_one_and_as_large_as_possible(labels, threshold):
    pairs = overlaps(*labels)
    found = match(pairs, threshold)
    assert len(np.unique(pairs.truth[found])) == len(np.unique(pairs.prediction[found])) == len(found)
    assert (pairs.iou[found] >= threshold).all()
    matrix = slow_iou(*labels)
    weight = np.where(matrix >= threshold, 1 + matrix / 100, 0)
    assert weight[linear_sum_assignment(weight, maximize=True)].sum() == pytest.approx(
        (1 + pairs.iou[found] / 100).sum()
    )


@settings(max_examples=100, deadline=None)
@given(LABELS, st.permutations(range(1, 6)))
def test_scores_do_not_depend_on_the_numbers_of_the_labels(labels, order):
    truth, prediction = labels
    renumbered = np.array([0, *order])[prediction] * 1_000_003
    assert count_instances(truth, prediction).scores() == count_instances(truth, renumbered).scores()


@settings(max_examples=100, deadline=None)
@given(LABELS)
def test_truth_and_prediction_may_change_places(labels):
    one, other = count_instances(*labels).scores(), count_instances(*labels[::-1]).scores()
    for name in ("dice", "iou", "ap_50", "ap_75", "ap_50_95", "panoptic_quality", "f1_50", "mean_matched_iou"):
        assert one[name] == pytest.approx(other[name])
    assert one["precision_50"] == other["recall_50"]


@settings(max_examples=50, deadline=None)
@given(LABELS)
def test_an_image_matches_itself(labels):
    truth, _ = labels
    scores = count_instances(truth, truth).scores()
    assert {scores.pop("splits"), scores.pop("merges")} == ({0} if truth.any() else {None})
    assert set(scores.values()) == ({1.0} if len(np.unique(truth)) > 1 else {None} if not truth.any() else {1.0, None})


def test_ties_at_one_half_are_solved():
    """Two halves of one object both have IoU 0.5: one is matched."""
    truth = np.ones((2, 8), np.int32)
    prediction = np.repeat([[1, 1, 1, 1, 2, 2, 2, 2]], 2, axis=0)
    assert len(match(overlaps(truth, prediction), 0.5)) == 1


def test_shapes_and_signs_are_checked():
    with pytest.raises(ValueError, match="shape"):
        overlaps(np.zeros((2, 3), int), np.zeros((3, 2), int))
    with pytest.raises(ValueError, match="negative"):
        overlaps(np.full((2, 3), -1), np.zeros((2, 3), int))


def test_many_objects_in_little_time():
    grid = np.kron(np.arange(1, 170**2 + 1).reshape(170, 170), np.ones((12, 12), int)).astype(np.int32)
    start = time.perf_counter()
    pairs = overlaps(grid, np.roll(grid, 2, axis=0))
    found = match(pairs, 0.5)
    assert time.perf_counter() - start < 5
    assert len(found) > 28000
