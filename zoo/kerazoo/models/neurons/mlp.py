"""The multilayer perceptron: hidden layers between the numbers and the answer, trained by backpropagation."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from bmzpack.errors import UserError

ACTIVATIONS = ("sigmoid", "tanh", "relu")


def mlp(features: int = 2, classes: int = 2, hidden: Sequence[int] = (8, 8), activation: str = "tanh") -> keras.Model:
    """Fully connected layers (Rumelhart, Hinton and Williams 1986).

    Parameters
    ----------
    features
        Numbers per sample.
    classes
        Outputs: softmax over two or more, one sigmoid for one.
    hidden
        Neurons of each hidden layer.
    activation
        Activation of the hidden layers: `sigmoid`, `tanh` or `relu`.

    Returns
    -------
    keras.Model
        From `raw` (batch, features) to `probability` (batch, class), float32; 114 parameters by default.

    Raises
    ------
    UserError
        An argument is out of range, or the activation cannot be trained by backpropagation.
    """
    _check(features, classes, hidden, activation)
    inputs = x = keras.Input((features,), name="raw")
    for number, neurons in enumerate(hidden, start=1):
        x = layers.Dense(neurons, activation=activation, name=f"hidden{number}")(x)
    outputs = layers.Dense(
        classes, activation="softmax" if classes > 1 else "sigmoid", dtype="float32", name="probability"
    )(x)
    return keras.Model(inputs, outputs, name="mlp")


def _check(features: int, classes: int, hidden: Sequence[int], activation: str) -> None:
    for name, value in {"features": features, "classes": classes}.items():
        if not isinstance(value, int) or value < 1:
            raise UserError(f"mlp: {name} is {value!r}; choose a whole number from 1 on.")
    if not isinstance(hidden, Sequence) or not all(isinstance(neurons, int) and neurons > 0 for neurons in hidden):
        raise UserError(f"mlp: hidden is {hidden!r}; write the neurons of each hidden layer, such as [8, 8].")
    if activation == "step":
        raise UserError(
            "mlp: the step function cannot be trained by backpropagation: its gradient is 0 wherever there is one, so "
            f"no weight would ever change. Choose activation {', '.join(ACTIVATIONS)}."
        )
    if activation not in ACTIVATIONS:
        raise UserError(f"mlp: activation is {activation!r}; choose {', '.join(ACTIVATIONS)}.")
