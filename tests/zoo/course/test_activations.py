"""Functions are those of Keras, derivatives their slopes."""

import keras
import numpy as np
import pytest

from kerazoo.course.activations import NAMES, activate, softmax

X = np.array([-800, -3, -1.5, -0.2, 0.2, 1.5, 3, 800])


@pytest.mark.parametrize("function", ["sigmoid", "tanh", "relu"])
def test_functions_are_those_of_keras(function):
    expected = keras.ops.convert_to_numpy(keras.activations.get(function)(X.astype("float32")))
    np.testing.assert_allclose(activate(function, X).value, expected, atol=1e-6)


@pytest.mark.parametrize("function", NAMES)
def test_derivatives_are_slopes(function):
    step = 1e-5
    slope = (activate(function, X + step).value - activate(function, X - step).value) / (2 * step)
    np.testing.assert_allclose(activate(function, X).derivative, slope, atol=1e-8)


def test_at_zero():
    assert activate("step", 0).value == 0
    assert np.isnan(activate("step", 0).derivative)
    assert activate("sigmoid", 0).value == 0.5
    assert activate("sigmoid", 0).derivative == 0.25
    assert activate("tanh", 0).derivative == 1
    with pytest.raises(ValueError, match="no activation 'gelu'"):
        activate("gelu", 0)


def test_softmax():
    scores = np.random.default_rng(1).normal(size=(5, 3)) * 50
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(scores.astype("float32")))
    np.testing.assert_allclose(softmax(scores), expected, atol=1e-5)
    np.testing.assert_allclose(softmax(scores + 1000), softmax(scores), atol=1e-9)
    np.testing.assert_allclose(softmax(scores).sum(axis=1), 1)
