"""The network with processing put into its graph, where a program lacks an operation or does it differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from bmzpack.describe.description import Input, Output
from bmzpack.measure.axes import Tensor
from bmzpack.measure.keras_graph import input_structure, output_structure
from bmzpack.operations.section import Processing


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
        By tensor id, those that have a layer; before an input, behind an output.

    Returns
    -------
    keras.Model
        The model itself where there is nothing to add.
    """
    if not any(operations.values()):
        return model
    entrances = [keras.Input(batch_shape=tensor.shape, name=tensor.id) for tensor in inputs]
    processed = [_apply(x, tensor, operations[tensor.id]) for x, tensor in zip(entrances, inputs, strict=True)]
    results = keras.tree.flatten(model(keras.tree.pack_sequence_as(input_structure(model), processed)))
    finished = [_apply(x, tensor, operations[tensor.id]) for x, tensor in zip(results, outputs, strict=True)]
    inside, outside = input_structure(model), output_structure(model)
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

    outputs = keras.tree.map_structure(padded, output_structure(model))
    return keras.Model(input_structure(model), outputs, name=f"{model.name}_with_rim")


def _apply(x: Any, tensor: Tensor[Any], operations: Sequence[Processing]) -> Any:
    for number, step in enumerate(operations):
        x = step.operation.layer(tensor.axes, f"{tensor.id}_{step.id}_{number}")(x)
    return x
