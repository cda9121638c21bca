"""The slopes are those of Keras, and those that a small change of a weight gives."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerazoo.course.backpropagation import WEIGHTS, backpropagate
from kerazoo.models.neurons.mlp import mlp


@pytest.mark.parametrize(("x", "target"), [([1, 1], 0), ([1, 0], 1), ([0.3, -2], 0.5)])
def test_gradients_of_keras(x, target):
    step = backpropagate(WEIGHTS, x, target)
    model = mlp(classes=1, hidden=(2,), activation="sigmoid")
    model.set_weights(WEIGHTS)
    with tf.GradientTape() as tape:
        answer = model(np.array([x], "float32"))
        loss = keras.ops.sum((answer - target) ** 2)
    np.testing.assert_allclose(step.values[-1], keras.ops.convert_to_numpy(answer)[0], atol=1e-6)
    assert step.loss == pytest.approx(float(loss), abs=1e-6)
    for found, expected in zip(step.gradients, tape.gradient(loss, model.trainable_weights), strict=True):
        np.testing.assert_allclose(found, keras.ops.convert_to_numpy(expected), atol=1e-6)


def test_a_deeper_network_by_small_changes():
    random = np.random.default_rng(1)
    weights = [random.normal(size=shape) for shape in ((3, 4), (4,), (4, 2), (2,), (2, 1), (1,))]
    step = backpropagate(weights, [0.5, -1, 2], 1)
    for number, weight in enumerate(weights):
        for place in np.ndindex(weight.shape):
            losses = []
            for change in (1e-6, -1e-6):
                changed = [array.copy() for array in weights]
                changed[number][place] += change
                losses.append(backpropagate(changed, [0.5, -1, 2], 1).loss)
            assert step.gradients[number][place] == pytest.approx((losses[0] - losses[1]) / 2e-6, abs=1e-6)


def test_a_step_makes_the_error_smaller():
    step = backpropagate(WEIGHTS, [1, 1], 0)
    assert step.corrected().corrected().loss < step.corrected().loss < step.loss
    assert step.corrected(0).loss == step.loss
