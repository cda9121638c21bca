"""The network with processing put into its graph, where a program lacks an operation or does it differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from bmzpack.describe.description import Input, Output, Processing
from bmzpack.measure.axes import Tensor
from bmzpack.operations.processing import EPSILON


def with_processing(
    model: keras.Model,
    inputs: Sequence[Tensor[Input]],
    outputs: Sequence[Tensor[Output]],
    operations: Mapping[str, Sequence[Processing]],
) -> keras.Model:
    """Put operations into the graph that a program does not have, or does differently.

    Parameters
    ----------
    model
        The network.
    inputs, outputs
        Its tensors.
    operations
        By tensor id, of the kinds in `bmzpack.operations.processing.INTO_GRAPH`; before an input, behind an output.

    Returns
    -------
    keras.Model
        The model itself where there is nothing to add.
    """
    if not any(operations.values()):
        return model
    entrances = [keras.Input(batch_shape=tensor.shape, name=tensor.id) for tensor in inputs]
    processed = [_apply(x, tensor, operations[tensor.id]) for x, tensor in zip(entrances, inputs, strict=True)]
    results = keras.tree.flatten(model(keras.tree.pack_sequence_as(model._inputs_struct, processed)))
    finished = [_apply(x, tensor, operations[tensor.id]) for x, tensor in zip(results, outputs, strict=True)]
    inside, outside = model._inputs_struct, model._outputs_struct
    return keras.Model(
        keras.tree.pack_sequence_as(inside, entrances),
        keras.tree.pack_sequence_as(outside, finished),
        name=f"{model.name}_with_processing",
    )


def with_rim(model: keras.Model, rim: int) -> keras.Model:
    """Put zeros around every output, so that it is as large as the input.

    Parameters
    ----------
    model
        A network of images, channels last.
    rim
        Pixels on each side, from `bmzpack.measure.axes.rim_of`.

    Returns
    -------
    keras.Model
        The model itself where there is nothing to add.
    """
    if not rim:
        return model

    def padded(output: Any) -> Any:
        kind = keras.layers.ZeroPadding2D if len(output.shape) == 4 else keras.layers.ZeroPadding3D
        return kind(rim, data_format="channels_last")(output)

    outputs = keras.tree.map_structure(padded, model._outputs_struct)
    return keras.Model(model._inputs_struct, outputs, name=f"{model.name}_with_rim")


def _apply(x: Any, tensor: Tensor[Any], operations: Sequence[Processing]) -> Any:
    for number, operation in enumerate(operations):
        x = _layer(operation, tensor, f"{tensor.id}_{operation.id}_{number}")(x)
    return x


def _layer(operation: Processing, tensor: Tensor[Any], name: str) -> keras.layers.Layer:
    channel_axis = tensor.axes.index("c")
    along_channels = [-1 if letter == "c" else 1 for letter in tensor.axes[1:]]

    def vector(value: Any) -> Any:
        return np.reshape(value, along_channels).tolist() if isinstance(value, Sequence) else value

    kwargs = operation.kwargs
    match operation.id:
        case "scale_linear":
            return keras.layers.Rescaling(vector(kwargs.get("gain", 1.0)), vector(kwargs.get("offset", 0.0)), name=name)
        case "fixed_zero_mean_unit_variance":
            gain = 1 / (np.asarray(kwargs["std"], np.float64) + EPSILON)
            offset = -np.asarray(kwargs["mean"], np.float64) * gain
            return keras.layers.Rescaling(vector(gain.tolist()), vector(offset.tolist()), name=name)
        case "sigmoid":
            return keras.layers.Activation("sigmoid", name=name)
        case "softmax":
            return keras.layers.Softmax(axis=channel_axis, name=name)
    raise AssertionError(f"{operation.id} cannot be put into a graph")
