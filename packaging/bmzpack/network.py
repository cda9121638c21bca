"""The network with processing put into its graph, where a program lacks an operation or does it differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from bmzpack.description import Processing

EPSILON = 1e-6
"""What bioimageio.core adds to a standard deviation."""


def with_processing(
    model: keras.Model,
    before: Mapping[str, Sequence[Processing]],
    after: Mapping[str, Sequence[Processing]],
    channel_axes: Mapping[str, int],
) -> keras.Model:
    """Put operations into the graph that a program does not have, or does differently.

    Parameters
    ----------
    model
        The network.
    before
        Operations on an input, by tensor id: ``scale_linear`` and ``fixed_zero_mean_unit_variance`` (also per channel),
        ``sigmoid``, ``softmax``.
    after
        The same on an output, by tensor id, in the order of the outputs.
    channel_axes
        Index of the channel axis, by tensor id.

    Returns
    -------
    keras.Model
        The model itself where there is nothing to add.
    """
    if not any(before.values()) and not any(after.values()):
        return model
    inputs, processed = [], []
    for tensor in model.inputs:
        entrance = keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)
        inputs.append(entrance)
        processed.append(_apply(entrance, before[tensor.name], channel_axes, tensor.name))
    results = keras.tree.flatten(model(keras.tree.pack_sequence_as(model._inputs_struct, processed)))
    outputs = [
        _apply(result, operations, channel_axes, name)
        for result, (name, operations) in zip(results, after.items(), strict=True)
    ]
    return keras.Model(inputs, outputs, name=f"{model.name}_with_processing")


def _apply(tensor: Any, operations: Sequence[Processing], channel_axes: Mapping[str, int], name: str) -> Any:
    for number, operation in enumerate(operations):
        tensor = _layer(operation, channel_axes.get(name, -1), len(tensor.shape), f"{name}_{operation.id}_{number}")(
            tensor
        )
    return tensor


def _layer(operation: Processing, channel_axis: int, rank: int, name: str) -> keras.layers.Layer:
    along_channels = [1] * (rank - 1)
    along_channels[channel_axis - 1] = -1

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
