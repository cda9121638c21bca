"""The perceptron learns by Rosenblatt's rule, step by step as in the lecture."""

import keras
import numpy as np
import pytest

import bmzpack
from bmzpack.errors import UserError
from bmzpack.weights import FORMATS
from kerazoo.models.neurons.perceptron import Perceptron, perceptron

POINTS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], "float32")
"""In the order of the lecture."""
OR, AND = np.array([0, 1, 1, 1], "float32"), np.array([0, 0, 0, 1], "float32")
TRACES = {
    "or": (OR, [(0, 0, 0), (0, 0, 0), (0.5, 0, 0.5), (0.5, 0, 0.5), (0.5, 0, 0.5)]),
    "and": (
        AND,
        [(0, 0, 0)] * 4 + [(0.5, 0.5, 0.5), (0.5, 0.5, 0), (0, 0.5, -0.5), (0, 0.5, -0.5)],
    ),
}
"""w1, w2 and b before each sample."""


class States(keras.callbacks.Callback):
    """Weights and bias before every sample."""

    def __init__(self):
        super().__init__()
        self.states = []

    def on_train_batch_begin(self, batch, logs=None):
        self.states.append(state(self.model))


def state(model):
    kernel, bias = model.get_weights()
    return (*kernel[:, 0].tolist(), *bias.tolist())


def train(model, y, epochs, **options):
    return model.fit(POINTS, y, batch_size=1, shuffle=False, epochs=epochs, verbose=0, **options)


@pytest.mark.parametrize("name", TRACES)
def test_traces_of_the_lecture(name):
    y, expected = TRACES[name]
    states = States()
    model = perceptron()
    train(model, y, epochs=2, callbacks=[states])
    states.states.append(state(model))
    assert states.states[: len(expected)] == expected


@pytest.mark.parametrize("y", [OR, AND])
def test_it_learns_until_an_epoch_changes_nothing(y, tmp_path):
    model = perceptron()
    losses = train(model, y, epochs=8).history["loss"]
    assert losses[0] > 0
    assert losses[-1] == 0
    np.testing.assert_array_equal(model.predict_on_batch(POINTS)[:, 0], y)

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, Perceptron)
    assert state(loaded) == state(model)
    before = state(loaded)
    train(loaded, y, epochs=1)
    assert state(loaded) == before
    train(loaded, 1 - y, epochs=8)
    np.testing.assert_array_equal(loaded.predict_on_batch(POINTS)[:, 0], 1 - y)


def test_xor_is_not_learned():
    model = perceptron()
    losses = train(model, np.array([0, 1, 1, 0], "float32"), epochs=20).history["loss"]
    assert min(losses) > 0


def test_sample_weights_multiply_the_error():
    model = perceptron()
    loss = train(model, OR, epochs=1, sample_weight=np.array([1, 3, 1, 1], "float32")).history["loss"][0]
    assert state(model) == (1.5, 0, 1.5)
    assert loss == 3 / 4  # of four samples one is wrong, and counts three times
    model = perceptron()
    train(model, OR, epochs=1, class_weight={0: 1.0, 1: 0.0})
    assert state(model) == (0, 0, 0)


def test_zero_is_not_above_zero():
    model = perceptron(features=3, learning_rate=0.1)
    np.testing.assert_array_equal(model.predict_on_batch(np.ones((2, 3), "float32")), np.zeros((2, 1)))
    assert [tensor._keras_history.operation.name for tensor in model.outputs] == ["activation"]


@pytest.mark.slow
def test_bundle(tmp_path):
    """The network without its class agrees in every weights format; a file with the class in it is refused."""
    model = perceptron()
    train(model, OR, epochs=4)
    description = {
        "name": "Perceptron",
        "description": "One neuron that answers as OR does.",
        "authors": [{"name": "Ada Example"}],
        "cite": [{"text": "Rosenblatt (1958)", "doi": "10.1037/h0042519"}],
        "licence": "BSD-3-Clause",
        "inputs": [{"axes": "bc", "test_image": POINTS[1]}],
        "outputs": [{"channel_names": ["activation"]}],
    }
    packed = bmzpack.pack(model, description, tmp_path / "perceptron.zip")
    assert set(packed.agreement) == set(FORMATS)
    assert all(found["max_abs_error"] == 0 for found in packed.agreement.values())
    model.save(tmp_path / "model.keras")
    with pytest.raises(UserError, match="class of its own"):
        bmzpack.pack(tmp_path / "model.keras", description, tmp_path / "class.zip")


@pytest.mark.parametrize("arguments", [{"features": 0}, {"features": 2.0}, {"learning_rate": 0}])
def test_arguments_out_of_range(arguments):
    with pytest.raises(UserError, match=next(iter(arguments))):
        perceptron(**arguments)
