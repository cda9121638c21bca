"""The loss of Omnipose: its terms on their own, what is left out, and that it can be descended anywhere."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerazoo.models.omnipose.loss import FieldLoss
from kerazoo.models.omnipose.targets import field_targets


@pytest.fixture
def truth():
    labels = np.zeros((2, 32, 40), np.int32)
    labels[:, 4:15, 5:30], labels[:, 15:22, 5:30] = 1, 2
    return np.stack([field_targets(image) for image in labels])


def perfect(truth):
    return np.concatenate([truth[..., :3], 40 * truth[..., 3:4] - 20], axis=-1)


def loss(truth, prediction):
    return float(FieldLoss()(truth, prediction))


def test_a_perfect_output_has_no_loss(truth):
    assert loss(truth, perfect(truth)) == pytest.approx(0, abs=1e-5)


def test_a_wrong_distance_costs_by_its_square_and_weight(truth):
    prediction = perfect(truth)
    prediction[..., 2] += 3
    assert loss(truth, prediction) == pytest.approx(2 * 9 * truth[..., 4].mean(), rel=1e-4)


def test_a_flow_that_is_too_long_costs_by_error_and_length(truth):
    prediction = perfect(truth)
    prediction[..., :2] *= 2
    squares = np.square(truth[..., :2]).sum(axis=-1)
    inside = truth[..., 2] > 0
    slopes = 0.0
    pairs = 0
    for axis in (1, 2):
        one, other = np.roll(inside, -1, axis), inside
        both = one & other
        slopes += (np.square(np.roll(truth[..., :2], -1, axis) - truth[..., :2]).mean(axis=-1) * both).sum()
        pairs += both.sum()
    expected = 10 * (truth[..., 4] * squares / 2).mean() + 2 * squares[inside].mean() + 0.1 * slopes / pairs
    assert loss(truth, prediction) == pytest.approx(expected, rel=5e-4)


def test_a_flow_that_points_elsewhere_costs_by_its_angle(truth):
    """Uniform flows of 5 pixels' length in one object, so that there are no slopes; the length is right."""
    truth[..., :2], truth[..., 2], truth[..., 4] = [5, 0], 3, 1
    for angle in (np.pi / 2, np.pi, 0.3):
        prediction = perfect(truth)
        prediction[..., :2] = 5 * np.cos(angle), 5 * np.sin(angle)
        error = 25 * ((1 - np.cos(angle)) ** 2 + np.sin(angle) ** 2)
        assert loss(truth, prediction) == pytest.approx(10 * error / 2 + 1 - np.cos(angle), rel=1e-3)


def test_the_boundary_costs_its_cross_entropy(truth):
    prediction = perfect(truth)
    prediction[..., 3] = 0
    assert loss(truth, prediction) == pytest.approx(2 * np.log(2), rel=1e-4)


def test_ignored_pixels_count_nowhere(truth):
    rng = np.random.default_rng(0)
    prediction = perfect(truth) + rng.normal(0, 1, (*truth.shape[:3], 4)).astype(np.float32)
    truth[:, 10:18, 8:20, 4] = -1
    before = loss(truth, prediction)
    prediction[:, 10:18, 8:20] = rng.normal(0, 100, (2, 8, 12, 4))
    truth[:, 10:18, 8:20, :4] = rng.normal(0, 100, (2, 8, 12, 4))
    assert loss(truth, prediction) == pytest.approx(before, rel=1e-6)
    truth[..., 4] = -1
    assert loss(truth, prediction) == 0


@pytest.mark.parametrize("prediction", ["zeros", "perfect", "large"])
def test_the_gradient_is_finite(truth, prediction):
    values = {"zeros": 0 * perfect(truth), "perfect": perfect(truth), "large": 1e4 * perfect(truth)}[prediction]
    variable = tf.Variable(values)
    with tf.GradientTape() as tape:
        value = FieldLoss()(truth, variable)
    assert np.isfinite(tape.gradient(value, variable)).all()


def test_gradient_descent_finds_the_target(truth):
    variable = tf.Variable(np.zeros_like(perfect(truth)))
    optimizer = keras.optimizers.Adam(0.1)
    optimizer.build([variable])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = FieldLoss()(truth, variable)
        optimizer.apply([tape.gradient(value, variable)], [variable])

    first = loss(truth, variable.numpy())
    for _ in range(300):
        step()
    assert loss(truth, variable.numpy()) < 0.01 * first
    assert np.abs(variable.numpy()[..., :3] - truth[..., :3]).max() < 0.5
