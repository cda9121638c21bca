"""The multilayer perceptron solves what one neuron cannot."""

import keras
import numpy as np
import pytest

from bmzpack.errors import UserError
from kerazoo.models.neurons.mlp import ACTIVATIONS, mlp

POINTS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], "float32")
XOR = np.array([0, 1, 1, 0])


def test_xor_from_every_start():
    """Ten seeds of ten, 200 steps each, in a network that is compiled once."""
    model = mlp()
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy", jit_compile=False)
    solved = []
    for seed in range(10):
        keras.utils.set_random_seed(seed)
        model.set_weights(mlp().get_weights())
        assert (model.predict_on_batch(POINTS).argmax(axis=1) != XOR).any(), "solved before it was trained"
        for variable in model.optimizer.variables[2:]:
            variable.assign(keras.ops.zeros_like(variable))
        model.fit(np.tile(POINTS, (200, 1)), np.tile(XOR, 200), batch_size=4, shuffle=False, verbose=0)
        right = model.predict_on_batch(POINTS)[range(4), XOR]
        solved.append(bool((right > 0.9).all()))
    assert solved == [True] * 10


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_outputs_are_probabilities(activation):
    several = mlp(5, 3, (7,), activation)
    assert several.count_params() == 5 * 7 + 7 + 7 * 3 + 3
    assert [layer.name for layer in several.layers] == ["raw", "hidden1", "probability"]
    x = np.random.default_rng(1).normal(size=(6, 5)).astype("float32")
    np.testing.assert_allclose(several.predict_on_batch(x).sum(axis=1), 1, atol=1e-6)
    one = mlp(5, 1, activation=activation).predict_on_batch(x)
    assert one.shape == (6, 1)
    assert ((one > 0) & (one < 1)).all()


def test_the_step_function_has_no_gradient():
    with pytest.raises(UserError, match=r"step function.*gradient is 0.*sigmoid, tanh, relu"):
        mlp(activation="step")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"features": 0}, "features is 0"),
        ({"classes": 1.5}, "classes is 1.5"),
        ({"hidden": 8}, "hidden is 8"),
        ({"hidden": [8, 0]}, r"hidden is \[8, 0\]"),
        ({"activation": "gelu"}, "activation is 'gelu'"),
    ],
)
def test_arguments_out_of_range(arguments, expected):
    with pytest.raises(UserError, match=expected):
        mlp(**arguments)
