"""Scores of objects are those of `stardist.matching` and `cellpose.metrics`, on random pairs of label images."""

import numpy as np
import pytest

from kerazoo.evaluation.scores import THRESHOLDS, count_instances, total
from kerazoo.examples.synthetic import nuclei


@pytest.fixture(scope="module")
def pairs():
    """Nuclei, and the same moved, with some lost, joined and split."""
    truths, predictions = [], []
    for seed in range(12):
        random = np.random.default_rng(seed)
        truth = nuclei(seed, 192)[1].astype(np.int32)
        table = np.arange(truth.max() + 1)
        table[random.random(len(table)) < 0.2] = 0
        table[1:] = np.where(random.random(len(table) - 1) < 0.2, np.roll(table[1:], 1), table[1:])
        prediction = np.roll(table[truth], random.integers(-4, 5, 2), axis=(0, 1))
        prediction[96:] += (prediction[96:] > 0) * 1000
        _, numbers = np.unique(prediction, return_inverse=True)
        truths.append(truth)
        predictions.append(numbers.reshape(truth.shape).astype(np.int32))
    return np.array(truths), np.array(predictions)


def test_stardist(pairs, peer):
    official = peer("stardist", "scores")("of_stardist", truths=pairs[0], predictions=pairs[1], thresholds=THRESHOLDS)
    counts = [count_instances(*pair) for pair in zip(*pairs, strict=True)]
    for ours, theirs in zip(counts, official["singles"], strict=True):
        np.testing.assert_array_equal(ours.matches, theirs[:, 0])
        assert (theirs[:, 1:] == (ours.truth, ours.prediction)).all()
    scores = total(counts).scores()
    names = ("ap_50", "precision_50", "recall_50", "f1_50", "panoptic_quality", "mean_matched_iou")
    np.testing.assert_allclose([scores[name] for name in names], official["together"], rtol=1e-6)  # float32 there
    assert 0.1 < scores["ap_50"] < 0.9


def test_cellpose(pairs, peer):
    official = peer("cellpose", "scores")("of_cellpose", truths=pairs[0], predictions=pairs[1], thresholds=THRESHOLDS)
    for index, pair in enumerate(zip(*pairs, strict=True)):
        ours = count_instances(*pair)
        np.testing.assert_array_equal(ours.matches, official["tp"][index])
        np.testing.assert_allclose(ours.average_precision(), official["ap"][index], rtol=1e-6)
