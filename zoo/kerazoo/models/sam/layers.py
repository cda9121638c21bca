"""What the parts of Segment Anything are made of: Keras layers and operations only, which every program loads."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers

ops: Any = keras.ops


def gelu(x: Any) -> Any:
    """Gaussian error linear unit, exact; written out, as Keras' own one has no valid ONNX form."""
    return 0.5 * x * (1.0 + ops.erf(x * math.sqrt(0.5)))


def table(like: Any, indices: np.ndarray, rows: int, width: int, name: str) -> Any:
    """Learned rows of a table.

    Parameters
    ----------
    like
        Any Keras tensor of the network of rank 4, to which the table is tied.
    indices
        Rows that are read, integer, of any shape.
    rows, width
        Shape of the table.
    name
        Name of the layer.

    Returns
    -------
    Keras tensor
        (*indices.shape, width).
    """
    zero = ops.cast(ops.zeros_like(like[0, 0, 0, 0]), "int32")
    return layers.Embedding(rows, width, name=name)(ops.add(zero, indices.astype(np.int32)))


def perceptron(x: Any, widths: tuple[int, ...], name: str) -> Any:
    """Dense layers with ReLU between them."""
    for number, width in enumerate(widths):
        x = layers.Dense(width, activation="relu" if number < len(widths) - 1 else None, name=f"{name}_{number}")(x)
    return x


def relative_positions(side: int) -> np.ndarray:
    """Row of a table of relative positions for every pair of places on an axis, int (side, side)."""
    places = np.arange(side)
    return places[:, None] - places[None, :] + side - 1


class ComputedAgain(layers.Layer):
    """A part of a network in a training, that is computed again for the gradients and not kept (Chen et al. 2016).

    Parameters
    ----------
    inputs, outputs
        A list of Keras tensors, and what follows from them: the part between them shares all layers. None of these may
        change a state, as batch normalisation does: it would change twice.
    """

    def __init__(self, inputs: Any, outputs: Any) -> None:
        super().__init__()
        self._part: Any = keras.Model(inputs, outputs)

    def call(self, inputs: list[Any]) -> Any:
        learned = [keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype)) for tensor in inputs]

        def part(*tensors: Any) -> Any:
            others = iter(tensors)
            return self._part([next(others) if own else tensor for own, tensor in zip(learned, inputs, strict=True)])

        # keras.RematScope passes keywords on, which TensorFlow refuses in a graph
        return keras.remat(part)(*[tensor for own, tensor in zip(learned, inputs, strict=True) if own])

    def compute_output_spec(self, inputs: list[Any]) -> Any:
        return self._part.compute_output_spec(inputs)
