"""A Keras network made fast for prediction."""

from __future__ import annotations

import functools
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bmzpack.errors import UserError
from bmzpack.measure.tensorflow_graph import frozen

if TYPE_CHECKING:
    import keras

    from kerazoo.models.exchange import PromptNetwork
    from kerazoo.models.family import Family


def load_model(path: Path) -> keras.Model:
    """Load a Keras file for prediction.

    Raises
    ------
    UserError
        It is damaged, or made of what Keras does not load without trust (Lambda layers, unknown classes).
    """
    import keras

    if path.suffix == ".keras" and not zipfile.is_zipfile(path):
        raise UserError(f"{path} is damaged: it is not complete. Copy it again, or train anew.")
    try:
        model = keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError) as error:
        raise UserError(f"{path} holds no network that Keras can load: {str(error).splitlines()[0]}") from error
    assert isinstance(model, keras.Model)
    return model


LARGE = 50_000_000
"""Parameters: a network with more gains little by constants, and takes gigabytes for them."""
Batch = dict[str, np.ndarray]
"""Arrays (batch, ...), float32, by the id of an input or output."""


def compiled(model: keras.Model, size: int | None = None) -> Callable[[Batch], Batch]:
    """Turn a network into a function of a batch.

    On TensorFlow the network is traced once for all sizes, and its variables become constants: then the graph optimiser
    folds batch normalisation into the convolutions and fuses bias and activation with them, which it cannot do with
    variables. Outputs change by rounding only. The variables of a large network stay variables, as the optimiser copies
    constants many times. On other backends Keras compiles the network.

    Parameters
    ----------
    model
        A network.
    size
        Number of images in a batch; by default any.

    Returns
    -------
    callable
        From the inputs to the outputs, by their ids. Inputs that the network does not have are not used; that of a
        network with one input may have any name.
    """
    import keras

    names, outputs = [tensor.name for tensor in model.inputs], model.output_names

    def arranged(batch: Batch) -> list[np.ndarray]:
        return list(batch.values()) if len(names) == 1 else [batch[name] for name in names]

    if keras.backend.backend() != "tensorflow":

        def predicted(batch: Batch) -> Batch:
            inputs = arranged(batch)
            result = model.predict_on_batch(inputs[0] if len(names) == 1 else inputs)
            return dict(zip(outputs, keras.tree.flatten(result), strict=True))

        return predicted

    import tensorflow as tf

    dtypes = ["int32" if tensor.dtype == "int32" else "float32" for tensor in model.inputs]  # of float16, too
    signature = [
        tf.TensorSpec((size, *tensor.shape[1:]), dtype) for tensor, dtype in zip(model.inputs, dtypes, strict=True)
    ]

    @tf.function(input_signature=signature)
    def forward(*inputs):
        result = model(inputs[0] if len(names) == 1 else list(inputs), training=False)
        return [tf.cast(tensor, tf.float32) for tensor in keras.tree.flatten(result)]

    traced = forward.get_concrete_function()
    function = frozen(traced) if model.count_params() < LARGE else traced

    def computed(batch: Batch) -> Batch:
        results = function(*(tf.constant(array) for array in arranged(batch)))
        # the buffers of the results, which numpy() would copy
        return {name: np.asarray(memoryview(tensor)) for name, tensor in zip(outputs, results, strict=True)}

    return computed


class Network:
    """A network of this process; see `kerazoo.models.exchange.AppliedNetwork`.

    Parameters
    ----------
    model
        The network.
    family
        Its family, which says what part of it goes from an image to the result; by default all of it does.
    size
        Number of images in a batch; by default any.

    Raises
    ------
    UserError
        Its inputs differ in size, or its outputs in the number of axes.
    """

    def __init__(self, model: keras.Model, family: Family | None = None, size: int | None = None) -> None:
        self._whole, self._family, self._size = model, family, size
        self._model = model if family is None else family.image_network(model)
        outputs = dict(zip(self._model.output_names, self._model.outputs, strict=True))
        self.channels: dict[str, int] = {name: output.shape[-1] for name, output in outputs.items()}
        self.axes = _common([len(output.shape) for output in outputs.values()], f"axes of {', '.join(outputs)}")
        self.side: int | None = _common([tensor.shape[1] for tensor in self._model.inputs], "sides of the inputs")

    @functools.cached_property
    def _call(self) -> Callable[[Batch], Batch]:
        return compiled(self._model, self._size)

    def __call__(self, batch: Batch) -> Batch:
        """The outputs for a batch."""
        return self._call(batch)

    def memory_per_pixel(self, size: int) -> int:
        """See `memory_per_pixel`."""
        return memory_per_pixel(self._model, size)

    def prompted(self) -> PromptNetwork:
        """See `kerazoo.models.exchange.AppliedNetwork`."""
        assert self._family is not None
        return self._family.prompted(self._whole, compiled)


def _common(values: list[Any], what: str) -> Any:
    """The value that all have."""
    if len(set(values)) > 1:
        raise UserError(f"The {what} differ ({', '.join(map(str, values))}): such networks cannot be applied.")
    return values[0]


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
    import keras

    within = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    tensors = keras.tree.flatten([layer.output for layer in model.layers if layer not in within])
    shapes = keras.Model(model.inputs, tensors).compute_output_shape(_shapes(model, size))
    return max([math.prod(shape) for shape in shapes] + [_largest(network, size) for network in within])


def _shapes(model: keras.Model, size: int) -> Any:
    """Shapes of the inputs for one image with sides of so many pixels."""
    shapes = [(1, size, size, tensor.shape[-1]) for tensor in model.inputs]
    return shapes[0] if len(shapes) == 1 else shapes
