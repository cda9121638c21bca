"""The loss of Cellpose against NumPy, and what is ignored."""

import numpy as np
import pytest

from kerazoo.models.cellpose.loss import FlowLoss


@pytest.fixture
def batch():
    random = np.random.default_rng(1)
    truth = random.uniform(-1, 1, (2, 7, 9, 3)).astype(np.float32)
    truth[..., 2] = random.integers(0, 2, truth.shape[:3])
    return truth, (4 * random.normal(size=truth.shape)).astype(np.float32)


def plain_loss(truth, prediction):
    probability = 1 / (1 + np.exp(-prediction[..., 2].astype(np.float64)))
    entropy = -np.where(truth[..., 2] > 0.5, np.log(probability), np.log(1 - probability))
    return ((5 * truth[..., :2] - prediction[..., :2]) ** 2).mean() / 2 + entropy.mean()


def test_as_published(batch):
    truth, prediction = batch
    assert float(FlowLoss()(truth, prediction)) == pytest.approx(plain_loss(truth, prediction), rel=1e-6)


def test_ignored_pixels_count_nowhere(batch):
    truth, prediction = batch
    truth[:, 3:, :, 2] = -1
    expected = plain_loss(truth[:, :3], prediction[:, :3])
    prediction[:, 3:] = 1e6
    assert float(FlowLoss()(truth, prediction)) == pytest.approx(expected, rel=1e-6)
    truth[..., 2] = -1
    assert float(FlowLoss()(truth, prediction)) == 0


def test_least_where_the_prediction_is_right(batch):
    truth, _ = batch
    right = np.concatenate([5 * truth[..., :2], 200 * truth[..., 2:] - 100], axis=-1)
    assert float(FlowLoss()(truth, right)) == pytest.approx(0, abs=1e-9)
    assert np.isfinite(float(FlowLoss()(truth, -1e4 * right)))
