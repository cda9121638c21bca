"""Gradients are slopes of the losses, losses those of Keras, and every optimiser gets down."""

import keras
import numpy as np
import pytest

from kerazoo.course.activations import activate
from kerazoo.course.optimisation import LOSSES, OPTIMISERS, START, descend, gradient_of, loss_of, some_cells

CELLS = some_cells()


@pytest.mark.parametrize(
    ("loss", "function"), list(zip(LOSSES, ("MeanSquaredError", "BinaryCrossentropy"), strict=True))
)
def test_losses_are_those_of_keras(loss, function):
    answers = activate("sigmoid", 1.3 * CELLS.x - 0.4).value
    expected = getattr(keras.losses, function)()(CELLS.y.astype("float32"), answers.astype("float32"))
    assert loss_of(loss, CELLS, np.array(1.3), np.array(-0.4)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_slopes(loss):
    for weight, bias in (START, (0.5, -1.0), (4.0, 2.0)):
        step = 1e-6
        slopes = [
            (loss_of(loss, CELLS, *map(np.array, high)) - loss_of(loss, CELLS, *map(np.array, low))) / (2 * step)
            for high, low in (
                ((weight + step, bias), (weight - step, bias)),
                ((weight, bias + step), (weight, bias - step)),
            )
        ]
        np.testing.assert_allclose(gradient_of(loss, CELLS, weight, bias), slopes, atol=1e-7)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_optimiser_gets_down(loss):
    paths = descend(loss, CELLS, steps=80)
    assert list(paths) == list(OPTIMISERS)
    weights, biases = np.meshgrid(np.linspace(-4, 8, 200), np.linspace(-4, 6, 200))
    surface = loss_of(loss, CELLS, weights, biases)
    for path in paths.values():
        assert path.shape == (81, 2)
        assert tuple(path[0]) == START
        first, last = loss_of(loss, CELLS, path[0, 0], path[0, 1]), loss_of(loss, CELLS, path[-1, 0], path[-1, 1])
        assert last - surface.min() < 0.05 * (first - surface.min())


def test_first_steps_are_the_rules():
    """SGD goes against the gradient; Adam and RMSprop by about their rate along every axis, however steep it is."""
    gradient = gradient_of("cross-entropy", CELLS, *START)
    steps = {name: path[1] - path[0] for name, path in descend("cross-entropy", CELLS, steps=1).items()}
    np.testing.assert_allclose(steps["SGD"], -gradient, atol=1e-5)
    np.testing.assert_allclose(steps["SGD, momentum"], -gradient, atol=1e-5)
    np.testing.assert_allclose(steps["Adam"], -0.2 * np.sign(gradient), atol=1e-4)
    np.testing.assert_allclose(steps["RMSprop"], -0.15 * np.sign(gradient) / np.sqrt(0.1), atol=1e-4)
