"""The loss of StarDist, by hand."""

import keras
import numpy as np
import pytest

from kerazoo.models.stardist.loss import StarLoss


def stars(probability, *distances):
    return np.array([[[[probability, *distances]]]], np.float32)


def test_a_perfect_prediction_costs_only_the_entropy():
    truth = stars(1, 3, 4)
    assert float(StarLoss()(truth, stars(1, 3, 4))) == pytest.approx(0, abs=1e-6)


def test_terms_by_hand():
    truth = np.concatenate([stars(0.5, 2, 4), stars(0, 0, 0), stars(-1, 0, 0)], axis=2)
    predicted = np.concatenate([stars(0.5, 3, 2), stars(0.25, 6, -2), stars(0.9, 1, 1)], axis=2)
    entropy = (-np.log(0.5) - np.log(0.75)) / 2
    error = (0.5 * 1.5 / 3) / (0.5 / 3 + keras.config.epsilon())
    silence = (0.5 * 2.5 + 4 + 1) / 3
    assert float(StarLoss()(truth, predicted)) == pytest.approx(entropy + 0.2 * (error + 1e-4 * silence), rel=1e-5)
    other = StarLoss(weights=(2.0, 0.5), background=0.1)
    assert float(other(truth, predicted)) == pytest.approx(2 * entropy + 0.5 * (error + 0.1 * silence), rel=1e-5)


def test_only_background_is_finite():
    truth, predicted = stars(0, 0, 0), stars(0.5, 1, 1)
    assert float(StarLoss()(truth, predicted)) == pytest.approx(np.log(2) + 0.2e-4, rel=1e-5)
    assert float(StarLoss()(stars(-1, 0, 0), predicted)) == pytest.approx(0.2e-4, rel=1e-5)


def test_its_settings_are_saved():
    loss = StarLoss(weights=(1.0, 0.5), background=1e-3)
    again = StarLoss.from_config(loss.get_config())
    assert again.get_config() == loss.get_config() == {"weights": (1.0, 0.5), "background": 1e-3, "name": "star_loss"}
