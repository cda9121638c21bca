"""Scores by hand, against scikit-learn-like references written out, and how they are pooled."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from kerazoo.evaluation.scores import (
    BOUNDARY_TOLERANCE,
    count_boundaries,
    count_classes,
    count_instances,
    mean_scores,
    outline,
    total,
)


def squares(*corners, side=10, shape=(60, 60)):
    labels = np.zeros(shape, np.int32)
    for number, (y, x) in enumerate(corners, start=1):
        labels[y : y + side, x : x + side] = number
    return labels


def test_instances_by_hand():
    """One object exact, one shifted to IoU 80/120, one missed, one invented."""
    truth = squares((0, 0), (20, 20), (40, 40))
    prediction = squares((0, 0), (22, 20), (0, 40))
    counts = count_instances(truth, prediction)
    assert (counts.truth, counts.prediction) == (3, 3)
    assert counts.matches.tolist() == [2, 2, 2, 2, 1, 1, 1, 1, 1, 1]
    scores = counts.scores()
    assert scores["ap_50"] == 2 / 4
    assert scores["ap_75"] == 1 / 5
    assert scores["ap_50_95"] == pytest.approx((4 * 2 / 4 + 6 * 1 / 5) / 10)
    assert scores["panoptic_quality"] == pytest.approx((1 + 80 / 120) / 3)
    assert scores["mean_matched_iou"] == pytest.approx((1 + 80 / 120) / 2)
    assert scores["precision_50"] == scores["recall_50"] == scores["f1_50"] == pytest.approx(2 / 3)
    assert scores["dice"] == pytest.approx(180 / 300)
    assert scores["iou"] == pytest.approx(180 / 420)


def test_splits_and_merges():
    """One object in two halves with a speck in it, two joined objects, and one that is found."""
    truth = squares((0, 0), (20, 20), (30, 20), (50, 50))
    prediction = np.zeros_like(truth)
    prediction[0:5, 0:10], prediction[5:10, 0:10], prediction[2:3, 2:3] = 1, 2, 3
    prediction[20:40, 20:30], prediction[50:60, 50:60] = 4, 5
    scores = count_instances(truth, prediction).scores()
    assert (scores["splits"], scores["merges"]) == (1, 1)
    swapped = count_instances(prediction, truth).scores()
    assert (swapped["splits"], swapped["merges"]) == (1, 1)
    # A speck of less than a tenth splits nothing.
    prediction[5:10, 0:10] = 1
    assert count_instances(truth, prediction).scores()["splits"] == 0


def test_data_set_scores_are_those_of_all_objects():
    good, bad = squares((0, 0), (20, 0), (40, 0)), squares((0, 0))
    counts = [count_instances(good, good), count_instances(bad, squares((30, 30)))]
    assert total(counts).scores()["ap_50"] == 3 / 5
    assert mean_scores([image.scores() for image in counts])["ap_50"] == 1 / 2


def test_undefined_scores_are_none_and_left_out():
    empty, one = np.zeros((60, 60), np.int32), squares((0, 0))
    assert set(count_instances(empty, empty).scores().values()) == {None}
    missed = count_instances(one, empty).scores()
    assert (missed["ap_50"], missed["recall_50"], missed["precision_50"]) == (0, 0, None)
    per_image = [count_instances(empty, empty).scores(), count_instances(one, one).scores()]
    assert mean_scores(per_image)["ap_50"] == 1


def test_ignored_pixels_count_nowhere():
    truth, prediction = squares((0, 0), (20, 20)), squares((0, 0), (40, 40))
    valid = np.ones(truth.shape, bool)
    valid[20:] = False
    scores = count_instances(truth, prediction, valid).scores()
    assert scores == dict.fromkeys(scores, 1.0) | {"splits": 0, "merges": 0}
    assert count_classes(truth, prediction, 3, valid).confusion.sum() == valid.sum()


def test_classes_by_hand():
    truth = np.repeat([0, 0, 0, 1, 1, 2], 2).reshape(1, -1)
    prediction = np.repeat([0, 0, 1, 1, 1, 1], 2).reshape(1, -1)
    scores = count_classes(truth, prediction, 4).scores()
    assert scores["accuracy"] == pytest.approx(4 / 6)
    assert scores["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3), "class 3 is nowhere and left out"
    assert scores["iou"] == pytest.approx((2 / 3 + 2 / 4 + 0) / 3)
    assert scores["dice"] == pytest.approx((4 / 5 + 4 / 6 + 0) / 3)


def test_a_foreground_is_scored_alone():
    truth, prediction = np.array([[1, 1, 0, 0, 0, 0, 0, 0]]), np.array([[1, 0, 1, 0, 0, 0, 0, 0]])
    scores = count_classes(truth, prediction, 2, binary=True).scores()
    assert scores["dice"] == 1 / 2
    assert scores["iou"] == 1 / 3
    assert scores["accuracy"] == 6 / 8


MAPS = st.tuples(st.integers(2, 12), st.integers(2, 12)).flatmap(
    lambda shape: st.tuples(*[arrays(np.int32, shape, elements=st.integers(0, 2))] * 2)
)


@settings(max_examples=100, deadline=None)
@given(MAPS)
def test_class_scores_equal_the_slow_ones(maps):
    truth, prediction = maps
    scores = count_classes(truth, prediction, 3).scores()
    inter = [((truth == c) & (prediction == c)).sum() for c in range(3)]
    union = [((truth == c) | (prediction == c)).sum() for c in range(3)]
    assert scores["iou"] == pytest.approx(np.mean([a / b for a, b in zip(inter, union, strict=True) if b]))
    assert scores["accuracy"] == pytest.approx((truth == prediction).mean())


@settings(max_examples=100, deadline=None)
@given(MAPS)
def test_boundaries_equal_the_slow_ones(maps):
    truth, prediction = (np.argwhere(outline(labels)) for labels in maps)
    counts = count_boundaries(*maps)
    assert (counts.truth, counts.prediction) == (len(truth), len(prediction))
    if len(truth) and len(prediction):
        distance = cdist(truth, prediction)
        assert counts.truth_found == (distance.min(1) <= BOUNDARY_TOLERANCE).sum()
        assert counts.prediction_found == (distance.min(0) <= BOUNDARY_TOLERANCE).sum()
    else:
        assert counts.truth_found == counts.prediction_found == 0


def test_boundary_score_forgives_small_shifts_only():
    square = squares((20, 20), side=20)
    assert count_boundaries(square, np.roll(square, 2, axis=0)).score() == 1
    assert count_boundaries(square, np.roll(square, 6, axis=0)).score() < 0.8
