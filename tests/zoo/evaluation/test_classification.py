"""Scores of classified patches, against scikit-learn and by hand."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from kerazoo.evaluation.classification import (
    CURVE_POINTS,
    Classified,
    area_under_curve,
    class_confusion,
    class_scores,
    class_summary,
    per_class,
    per_image,
    reliability_bins,
    roc_curve,
    worst_first,
)

NAMES = ("gland", "stroma", "lumen", "debris", "mucus")


def classified(truth, scores, ids=None):
    truth, scores = np.asarray(truth), np.asarray(scores, np.float32)
    return Classified(truth, scores, ids or [str(index) for index in range(len(truth))], NAMES[: scores.shape[1]])


@st.composite
def random_cases(draw):
    """Probabilities with ties, classes that do not occur, few patches."""
    classes, patches = draw(st.integers(2, 5)), draw(st.integers(1, 60))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    occurring = random.choice(classes, draw(st.integers(1, classes)), replace=False)
    truth = random.choice(occurring, patches)
    evidence = random.random((patches, classes)) + draw(st.sampled_from([0, 0.7])) * np.eye(classes)[truth]
    if draw(st.booleans()):
        evidence = np.round(4 * evidence) + 1
    return classified(truth, evidence / evidence.sum(axis=1, keepdims=True))


@settings(max_examples=60, deadline=None)
@given(random_cases())
@pytest.mark.filterwarnings("ignore")
def test_scores_are_those_of_scikit_learn(case):
    truth, prediction, labels = case.truth, case.prediction, range(len(case.classes))
    probabilities = case.scores.astype(np.float64)
    mine = class_scores(case)
    expected = {
        "accuracy": metrics.accuracy_score(truth, prediction),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, prediction),
        "macro_f1": metrics.f1_score(truth, prediction, average="macro"),
        "cohen_kappa": metrics.cohen_kappa_score(truth, prediction),
        "log_loss": metrics.log_loss(truth, case.scores, labels=labels),
        "brier": metrics.brier_score_loss(truth, case.scores, labels=labels, scale_by_half=False),
    }
    for k in (2, 3):
        if k < len(labels):  # of equal scores scikit-learn takes the last, and the prediction is the first
            flipped = len(labels) - 1 - truth, case.scores[:, ::-1]
            expected[f"top_{k}"] = metrics.top_k_accuracy_score(*flipped, k=k, labels=labels)
    areas = []
    for index in set(truth) if len(set(truth)) > 1 else ():
        areas.append(metrics.roc_auc_score(truth == index, probabilities[:, index]))
        false, true, _ = metrics.roc_curve(truth == index, probabilities[:, index], drop_intermediate=False)
        curve = roc_curve(case, index)
        np.testing.assert_allclose(curve, (false, true))
        assert metrics.auc(*curve) == pytest.approx(areas[-1])
    expected["auc"] = np.mean(areas) if areas else None
    assert set(mine) == {*expected, "calibration_error"}
    for name, value in expected.items():
        if value is None or math.isnan(value):
            assert mine[name] is None, name
        else:
            assert mine[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name

    assert (class_confusion(case) == metrics.confusion_matrix(truth, prediction, labels=labels)).all()
    table = metrics.precision_recall_fscore_support(truth, prediction, labels=labels, zero_division=np.nan)
    for name, *values in zip(case.classes, *table, strict=True):
        row = per_class(case)[name]
        for column, value in zip(("precision", "recall", "f1", "support"), values, strict=True):
            assert row[column] == (None if math.isnan(value) else pytest.approx(value)), (name, column)


def test_calibration_by_hand():
    case = classified([0, 0, 1, 1], [[0.9, 0.1], [0.82, 0.18], [0.7, 0.3], [0.45, 0.55]])
    bins = {entry["high"]: entry for entry in reliability_bins(case) if entry["patches"]}
    assert list(bins) == [0.6, 0.7, 0.9]
    assert (bins[0.9]["patches"], bins[0.9]["accuracy"]) == (2, 1)
    assert bins[0.9]["confidence"] == pytest.approx(0.86)
    assert bins[0.7]["accuracy"] == 0
    by_hand = (2 * abs(0.86 - 1) + abs(0.7 - 0) + abs(0.55 - 1)) / 4
    assert class_scores(case)["calibration_error"] == pytest.approx(by_hand)
    sure = classified([0, 1], [[1, 0], [0, 1]])
    assert class_scores(sure)["calibration_error"] == class_scores(sure)["brier"] == 0


def test_a_calibrated_network_has_no_calibration_error():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(3), 40_000).astype(np.float32)
    truth = (random.random((40_000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(max=2)
    honest = class_scores(classified(truth, probabilities))
    assert honest["calibration_error"] < 0.01
    sharpened = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    boasting = class_scores(classified(truth, sharpened))
    assert boasting["accuracy"] == honest["accuracy"]
    assert boasting["calibration_error"] > 0.1
    assert boasting["log_loss"] > honest["log_loss"]


@pytest.mark.parametrize("scores", [[[1.02, -0.9], [-1.1, 0.8]], [[0.9, 0.6], [0.1, 0.7]]])
def test_scores_that_are_no_probabilities(scores):
    case = classified([0, 1], scores)
    result = class_summary(case)
    assert result["scores"]["accuracy"] == result["scores"]["auc"] == 1
    assert {name for name, value in result["scores"].items() if value is None} == {
        "log_loss",
        "brier",
        "calibration_error",
    }
    assert result["calibration"] == []


def test_a_single_class():
    case = classified([1, 1], [[0.4, 0.6], [0.7, 0.3]])
    result = class_summary(case)
    assert result["scores"]["auc"] is None
    assert result["scores"]["balanced_accuracy"] == 0.5
    assert result["roc"] == {"gland": None, "stroma": None}
    assert result["per_class"]["gland"] == {"support": 0, "precision": 0, "recall": None, "f1": 0, "auc": None}
    assert result["balance"] == {
        "gland": {"patches": 0, "fraction": 0},
        "stroma": {"patches": 2, "fraction": 1},
    }


def test_images_and_their_order():
    case = classified(
        [0, 0, 1, 1, 0, 1],
        [[0.6, 0.4], [0.1, 0.9], [0.3, 0.7], [0.2, 0.8], [0.9, 0.1], [0.6, 0.4]],
        ["b", "b", "a", "a", "mixed", "mixed"],
    )
    b, a, mixed = per_image(case)
    assert b == {
        "id": "b",
        "patches": 2,
        "accuracy": 0.5,
        "truth": "gland",
        "prediction": "stroma",
        "true_score": pytest.approx(0.35),
    }
    assert (a["id"], a["prediction"], a["accuracy"]) == ("a", "stroma", 1)
    assert (mixed["truth"], mixed["accuracy"]) == (None, 0.5)
    assert worst_first([b, a, mixed]) == ["b", "mixed", "a"]
    assert class_summary(case)["mean_scores"] == {"accuracy": pytest.approx(2 / 3)}


def test_images_are_scored_by_the_mean_of_their_patches():
    case = classified(
        [0, 0, 1, 1, 1],
        [[0.6, 0.4], [0.45, 0.55], [0.3, 0.7], [0.9, 0.1], [0.9, 0.1]],
        ["a", "a", "b", "c", "c"],
    )
    scores = class_scores(case)
    assert (scores["image_accuracy"], scores["image_balanced_accuracy"]) == (pytest.approx(2 / 3), 0.75)
    assert "image_accuracy" not in class_scores(classified([0, 1], [[0.6, 0.4], [0.3, 0.7]], ["a", "b"]))


def test_the_summary_is_json_and_its_curves_are_thin():
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 20_000)
    evidence = random.gamma(1, size=(20_000, 3)) + np.eye(3)[truth]
    case = classified(
        truth, evidence / evidence.sum(axis=1, keepdims=True), [f"i{index % 50}" for index in range(20_000)]
    )
    result = class_summary(case)
    assert json.loads(json.dumps(result)) == result
    assert list(result) == [
        "task", "scores", "mean_scores", "per_class", "per_image", "confusion", "balance", "calibration", "roc",
    ]  # fmt: skip
    assert sum(map(sum, result["confusion"])) == sum(entry["patches"] for entry in result["per_image"]) == 20_000
    for index, curve in enumerate(result["roc"].values()):
        false, true = curve["false_positive_rate"], curve["true_positive_rate"]
        assert len(false) == len(true) <= CURVE_POINTS
        assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
        assert metrics.auc(false, true) == pytest.approx(area_under_curve(case, index), abs=2e-4)


def test_lists_that_do_not_fit():
    with pytest.raises(ValueError, match="do not fit"):
        classified([0, 1, 1], [[0.5, 0.5], [0.5, 0.5]])
