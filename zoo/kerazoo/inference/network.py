"""A Keras network made fast for prediction."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from bmzpack.errors import UserError


def load_model(path: Path) -> keras.Model:
    """Load a Keras file for prediction.

    Raises
    ------
    UserError
        It is damaged, or made of what Keras does not load without trust (Lambda layers, unknown classes).
    """
    try:
        model = keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError) as error:
        raise UserError(f"{path} holds no network that Keras can load: {str(error).splitlines()[0]}") from error
    assert isinstance(model, keras.Model)
    return model


def compiled(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Turn a network into a function of one tile, see `compiled_batch`.

    Parameters
    ----------
    model
        A network with one input (batch, y, x, channel) and one output (batch, y, x, class).

    Returns
    -------
    callable
        From a tile (y, x, channel), float32, to the output (y, x, class), float32.

    Raises
    ------
    UserError
        The network has several inputs or outputs.
    """
    forward = compiled_batch(model, 1)
    return lambda tile: forward(tile[None])[0]


def compiled_batch(model: keras.Model, size: int | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """Turn a network into a function of a batch.

    On TensorFlow the network is traced once for all sizes, and its variables become constants: then the graph optimiser
    folds batch normalisation into the convolutions and fuses bias and activation with them, which it cannot do with
    variables. Outputs change by rounding only. On other backends Keras compiles the network.

    Parameters
    ----------
    model
        A network with one input and one output.
    size
        Of the batches; by default any.

    Returns
    -------
    callable
        From an array (batch, ...) to the output (batch, ...), both float32.

    Raises
    ------
    UserError
        The network has several inputs or outputs.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UserError(
            f"The network {model.name} has {len(model.inputs)} inputs and {len(model.outputs)} outputs: "
            "only networks with one of each can be applied to images."
        )
    if keras.backend.backend() != "tensorflow":
        return lambda batch: keras.tree.flatten(model.predict_on_batch(batch))[0]

    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    signature = tf.TensorSpec((size, *model.inputs[0].shape[1:]), tf.float32)

    @tf.function(input_signature=[signature])
    def forward(batch):
        return tf.cast(keras.tree.flatten(model(batch, training=False))[0], tf.float32)

    frozen = convert_variables_to_constants_v2(forward.get_concrete_function())
    # the buffer of the result, which numpy() would copy
    return lambda batch: np.asarray(memoryview(frozen(tf.constant(batch))[0]))


def memory_per_pixel(model: keras.Model, size: int) -> int:
    """Bytes that running the network takes for every pixel of its input.

    A chain of layers needs the input and the output of the one that is running, and a U-Net the tensors that wait for
    the way up beside them; three times the largest tensor of the network covers both (measured: 2.7 times).

    Parameters
    ----------
    model
        The network.
    size
        A height and width that it accepts.

    Returns
    -------
    int
        An estimate.
    """
    return math.ceil(3 * 4 * _largest(model, size) / size**2)


def _largest(model: keras.Model, size: int) -> int:
    """Values of the largest tensor, also of networks within the network."""
    within = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    tensors = keras.tree.flatten([layer.output for layer in model.layers if layer not in within])
    shapes = keras.Model(model.inputs, tensors).compute_output_shape((1, size, size, model.inputs[0].shape[-1]))
    return max([math.prod(shape) for shape in shapes] + [_largest(network, size) for network in within])
