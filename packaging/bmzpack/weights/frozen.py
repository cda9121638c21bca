"""A Keras model as a TensorFlow graph without variables: what the saved model and ONNX are made of."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


@dataclasses.dataclass(frozen=True)
class Frozen:
    """A graph and the tensors at its ends."""

    graph: tf.Graph
    inputs: list[tf.Tensor]
    outputs: list[tf.Tensor]


@functools.lru_cache(maxsize=1)
def freeze(model: keras.Model, names: tuple[str, ...]) -> Frozen:
    """Make every weight a constant that is stored once; batch and unknown sizes stay open.

    Parameters
    ----------
    model
        Any number of inputs and outputs.
    names
        Tensor ids of the inputs.
    """
    _prepare(model)
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, name) for name, tensor in zip(names, model.inputs, strict=True)]

    @tf.function(input_signature=specs)
    def serve(*tensors: Any) -> list[Any]:
        return keras.tree.flatten(model(keras.tree.pack_sequence_as(model.input, tensors), training=False))

    return with_constants(serve.get_concrete_function())


def with_ending(model: keras.Model, name: str, ending: Mapping[str, Any]) -> Frozen:
    """The graph of a network with one input and one output, and of the operations that make labels of it.

    Parameters
    ----------
    model
        The network.
    name
        Tensor id of the input; its batch is 1.
    ending
        From `bmzpack.operations.labels.Ending.in_graph`.
    """
    _prepare(model)
    module, _, function = ending["function"].partition(":")
    labels = getattr(importlib.import_module(module), function)
    shape = (1, *model.inputs[0].shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(shape, model.inputs[0].dtype, name)])
    def serve(image: Any) -> list[Any]:
        return [labels(model(image, training=False), **ending["arguments"])]

    return with_constants(serve.get_concrete_function())


def with_constants(function: Any) -> Frozen:
    """The graph of a concrete function, its variables made constants, its nodes in an order of their own."""
    frozen = convert_variables_to_constants_v2(function)
    definition = frozen.graph.as_graph_def()
    # TensorFlow puts the constants in an order that changes from run to run
    nodes = sorted(definition.node, key=lambda node: node.name)
    ordered = tf.compat.v1.GraphDef()
    ordered.CopyFrom(definition)
    del ordered.node[:]
    ordered.node.extend(nodes)
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(ordered, name="")
        return Frozen(
            graph,
            [graph.get_tensor_by_name(tensor.name) for tensor in frozen.inputs],
            [graph.get_tensor_by_name(tensor.name) for tensor in frozen.outputs],
        )


def _prepare(model: keras.Model) -> None:
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.UpSampling2D) and layer.interpolation == "nearest":
            _resize_at_once(layer)


def _resize_at_once(layer: Any) -> None:
    """Let nearest upsampling be one operation: Keras tiles, which costs ONNX eight transpositions a network."""
    if layer.data_format == "channels_last":
        layer.call = lambda images: tf.raw_ops.ResizeNearestNeighbor(
            images=images, size=tf.shape(images)[1:3] * tf.constant(layer.size)
        )
