"""The graph of a Keras model, through interfaces of Keras that are not public: this file is the only one with them.

Seen in Keras 3.12 to 3.15.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
from keras.src.backend.common import global_state
from keras.src.ops import math as math_operations
from keras.src.ops import nn as nn_operations
from keras.src.ops import numpy as numpy_operations
from keras.src.ops.numpy import Pad as Pad
from keras.src.ops.numpy import Reshape as Reshape
from keras.src.ops.numpy import Transpose as Transpose

POINTWISE_OPERATIONS = (
    math_operations.Erf,
    nn_operations.Relu,
    nn_operations.Sigmoid,
    nn_operations.Silu,
    *(
        getattr(numpy_operations, name)
        for name in ("Abs", "Absolute", "Add", "Clip", "Cos", "Divide", "Exp", "Maximum", "Minimum", "Multiply")
    ),
    *(
        getattr(numpy_operations, name)
        for name in ("Negative", "Sin", "Sqrt", "Square", "Subtract", "Tanh", "TrueDivide")
    ),
)
"""Operations of keras.ops that compute every value of the output from the values at the same place."""


@dataclasses.dataclass(frozen=True)
class FirstCall:
    """The call of an operation that put it into the graph."""

    inputs: Sequence[keras.KerasTensor]
    outputs: Sequence[keras.KerasTensor]
    args: tuple[Any, ...]
    """Positional arguments of the call, symbolic tensors among them."""
    kwargs: dict[str, Any]
    """Keyword arguments of the call."""


def all_layers(model: keras.Model, *, include_self: bool = True) -> list[keras.layers.Layer]:
    """The layers of a model and of the models in it, to any depth.

    Parameters
    ----------
    model
        Any model.
    include_self
        Whether the model itself is the first of them.
    """
    return list(model._flatten_layers(include_self=include_self))


def operation_of(tensor: Any) -> Any:
    """The layer, or operation of keras.ops, that made a symbolic tensor."""
    return tensor._keras_history.operation


def first_call(operation: Any) -> FirstCall:
    """The first call of a layer or operation.

    Parameters
    ----------
    operation
        One that is part of a functional model.
    """
    node = operation._inbound_nodes[0]
    return FirstCall(node.input_tensors, node.output_tensors, node.arguments.args, node.arguments.kwargs)


def run_through(model: Any, inputs: Sequence[Any], rule: Callable[[Any], Callable[..., Any]]) -> list[Any]:
    """Send values of any kind through a functional model in the place of tensors.

    Parameters
    ----------
    model
        A functional or sequential model.
    inputs
        What stands for its inputs, in their order.
    rule
        Gives for an operation the function that takes and gives such values in the operation's place.

    Returns
    -------
    list
        What stands for the outputs.
    """
    functional = getattr(model, "_functional", None) or model
    return keras.tree.flatten(functional._run_through_graph(list(inputs), operation_fn=rule))


def is_built_of_layers(model: Any) -> bool:
    """Whether a model, also one of a class of its own, is a functional one: a graph of layers."""
    return getattr(model, "_functional", None) is None and hasattr(model, "_run_through_graph")


def input_structure(model: keras.Model) -> Any:
    """The inputs of a functional model, nested as it takes them."""
    return model._inputs_struct


def output_structure(model: keras.Model) -> Any:
    """The outputs of a functional model, nested as it gives them."""
    return model._outputs_struct


def keep_tensors_on_the_cpu() -> None:
    """Let the torch backend take tensors on the CPU for what they are.

    Keras compares its device with that of a tensor. Its own text equals none, and every step would go to the CPU.
    """
    import torch

    global_state.set_global_attribute("torch_device", torch.device("cpu"))


@contextlib.contextmanager
def replaced_calls(calls: Mapping[keras.layers.Layer, Callable[..., Any]]) -> Iterator[None]:
    """Let layers compute with other functions than their ``call`` until the block ends.

    Parameters
    ----------
    calls
        Functions of a layer's input, by layer.
    """
    for layer, call in calls.items():
        layer.call = call
    try:
        yield
    finally:
        for layer in calls:
            del layer.call
