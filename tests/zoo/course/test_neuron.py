"""The traces of the lecture, the same rule in Keras, and XOR, which is never learned."""

import numpy as np
import pytest

from kerazoo.course.neuron import POINTS, PROBLEMS, learn
from kerazoo.models.neurons.perceptron import perceptron


def states(trace):
    return [(*weights, bias) for weights, bias in zip(trace.weights.tolist(), trace.biases.tolist(), strict=True)]


def test_trace_of_or():
    trace = learn(POINTS, PROBLEMS["OR"])
    assert states(trace)[:5] == [(0, 0, 0), (0, 0, 0), (0.5, 0, 0.5), (0.5, 0, 0.5), (0.5, 0, 0.5)]


def test_trace_of_and():
    trace = learn(POINTS, PROBLEMS["AND"])
    assert states(trace)[:8] == [(0, 0, 0)] * 4 + [(0.5, 0.5, 0.5), (0.5, 0.5, 0), (0, 0.5, -0.5), (0, 0.5, -0.5)]


@pytest.mark.parametrize("problem", ["OR", "AND"])
def test_it_stops_when_an_epoch_changes_nothing(problem):
    trace = learn(POINTS, PROBLEMS[problem])
    assert trace.converged
    assert trace.cycle is None
    assert (trace.mistakes[:-1] > 0).all()
    np.testing.assert_array_equal(trace.answers[-4:], PROBLEMS[problem])
    assert states(trace)[-1] == states(trace)[-5]


def test_xor_is_not_learned_in_10000_epochs():
    """Nor ever: after three epochs the weights are those of an epoch before, and everything is repeated."""
    trace = learn(POINTS, PROBLEMS["XOR"], epochs=10_000)
    assert len(trace.mistakes) == 10_000
    assert trace.mistakes.min() > 0
    assert not trace.converged
    assert trace.cycle == (3, 1)
    assert states(trace)[8:13] == states(trace)[12:17]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_keras_does_the_same(problem):
    real, epochs = PROBLEMS[problem], 5
    trace, model = learn(POINTS, real, epochs=epochs), perceptron()
    losses = model.fit(POINTS, real, batch_size=1, shuffle=False, epochs=epochs, verbose=0).history["loss"]
    kernel, bias = model.get_weights()
    assert states(trace)[-1] == (*kernel[:, 0], *bias)
    # Keras goes on when nothing is wrong any more
    np.testing.assert_array_equal(np.multiply(losses, 4), np.pad(trace.mistakes, (0, epochs - len(trace.mistakes))))


def test_another_rate_and_more_features():
    random = np.random.default_rng(1)
    x = random.normal(size=(40, 3))
    real = (x @ [1, -2, 0.5] + 0.3 > 0).astype(int)
    trace, model = learn(x, real, learning_rate=0.1, epochs=3), perceptron(3, 0.1)
    model.fit(x, real, batch_size=1, shuffle=False, epochs=3, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0][:, 0], trace.weights[-1], atol=1e-5)
    assert learn(x, real, epochs=1000).converged
