"""The perceptron (Rosenblatt 1958): one neuron with a step function, and the rule by which it learns."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from bmzpack.errors import UserError


@keras.saving.register_keras_serializable("kerazoo")
class Perceptron(keras.Model):
    """A network whose last weights are changed by Rosenblatt's rule, as a step function has no gradient to follow.

    ``fit(x, y, batch_size=1, shuffle=False)`` takes the samples one by one, y is 0 or 1. The samples of a larger batch
    change the weights together, by the sum of their changes. It runs on TensorFlow and torch. A bundle gets the
    network without this class: pack the model itself, as a file of it carries the class.
    """

    def train_step(self, data: Any) -> dict[str, Any]:
        """Add ``learning_rate * (y_real - y) * x`` to the weights and ``learning_rate * (y_real - y)`` to the bias.

        Sample weights multiply the error of their samples.

        Parameters
        ----------
        data
            x, float (batch, features), and y_real, 0 or 1, (batch,) or (batch, 1); sample weights (batch,), if any.

        Returns
        -------
        dict
            `loss`: the part of the samples that were answered wrongly, each before it changed anything, by their
            weights; further metrics as compiled.
        """
        x, real, weight = keras.utils.unpack_x_y_sample_weight(data)
        x, real = ops.cast(x, "float32"), ops.reshape(ops.cast(real, "float32"), (-1, 1))
        y: Any = self(x, training=True)
        error = ops.subtract(y, real)  # an optimizer subtracts what it is given
        if weight is not None:
            error = ops.multiply(error, ops.reshape(ops.cast(weight, "float32"), (-1, 1)))
        self.optimizer.apply([ops.matmul(ops.transpose(x), error), ops.sum(error, axis=0)], self.trainable_weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(self.compute_loss(x, real, y, weight))
        return self.compute_metrics(x, real, y)


def perceptron(features: int = 2, learning_rate: float = 0.5) -> Perceptron:
    """One neuron: 1 where the weighted sum of its inputs and the bias together are above 0, else 0.

    Parameters
    ----------
    features
        Numbers per sample.
    learning_rate
        How far one wrong answer moves the weights.

    Returns
    -------
    Perceptron
        From `raw` (batch, features) to `activation` (batch, 1), float32, 0 or 1. All weights are zero, and it is
        compiled: ``fit`` can be called.

    Raises
    ------
    UserError
        An argument is out of range.
    """
    if not isinstance(features, int) or features < 1:
        raise UserError(f"perceptron: features is {features!r}; choose a whole number from 1 on.")
    if not isinstance(learning_rate, int | float) or learning_rate <= 0:
        raise UserError(f"perceptron: learning_rate is {learning_rate!r}; choose a number above 0.")
    inputs = keras.Input((features,), name="raw")
    total = layers.Dense(1, kernel_initializer="zeros", dtype="float32", name="neuron")(inputs)
    outputs = layers.Identity(name="activation")(ops.cast(ops.greater(total, 0), "float32"))
    model = Perceptron(inputs, outputs, name="perceptron")
    model.compile(keras.optimizers.SGD(learning_rate), "mean_absolute_error")
    return model
