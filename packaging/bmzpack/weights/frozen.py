"""A Keras model as a TensorFlow graph without variables: what the saved model and ONNX are made of."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from bmzpack.measure.keras_graph import all_layers, replaced_calls
from bmzpack.measure.tensorflow_graph import frozen
from bmzpack.operations.labels import AFTER
from bmzpack.weights.references import resolved


@dataclasses.dataclass(frozen=True)
class Frozen:
    """A graph and the tensors at its ends."""

    graph: tf.Graph
    inputs: list[tf.Tensor]
    outputs: list[tf.Tensor]


def freeze(model: keras.Model, names: Sequence[str]) -> Frozen:
    """Make every weight a constant that is stored once; batch and unknown sizes stay open.

    Parameters
    ----------
    model
        Any number of inputs and outputs.
    names
        Tensor ids of the inputs.
    """
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, name) for name, tensor in zip(names, model.inputs, strict=True)]

    @tf.function(input_signature=specs)
    def serve(*tensors: Any) -> list[Any]:
        return keras.tree.flatten(model(keras.tree.pack_sequence_as(model.input, tensors), training=False))

    with nearest_upsampling_at_once(model):
        return with_constants(serve.get_concrete_function())


def freeze_with_labels(model: keras.Model, name: str, labels: Mapping[str, Any]) -> Frozen:
    """The graph of a network with one input and one output, and of the operations that make labels of it.

    Parameters
    ----------
    model
        The network.
    name
        Tensor id of the input; its batch is 1.
    labels
        From `bmzpack.operations.labels.LabelsPostprocessing.in_graph`.
    """
    make_labels = resolved(labels["function"])
    shape = (1, *model.inputs[0].shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(shape, model.inputs[0].dtype, name)])
    def serve(image: Any) -> list[Any]:
        if not labels["sizes"]:
            found = make_labels(model(image, training=False), **labels["arguments"])
        else:
            height, width, extended = tf.shape(image)[1], tf.shape(image)[2], image
            for axis in (1, 2):
                extended = tf.gather(extended, _extended(tf.shape(image)[axis], **labels["sizes"]), axis=axis)
            output = model(extended, training=False)[:, :height, :width]
            # labels of coarser grids may reach a few pixels beyond
            found = make_labels(output, **labels["arguments"])[:, :height, :width]
        return [_mask_of(found) if labels["as_mask"] else found]

    with nearest_upsampling_at_once(model):
        return with_constants(serve.get_concrete_function(), lower_loops=False)


def _mask_of(labels: Any) -> Any:
    """See `bmzpack.operations.labels.mask_of`."""
    padded = tf.pad(labels, [[0, 0], [0, 1], [1, 1], [0, 0]])
    height, width = tf.shape(labels)[1], tf.shape(labels)[2]
    kept = labels > 0
    for dy, dx in AFTER:
        other = padded[:, dy : dy + height, 1 + dx : 1 + dx + width]
        kept &= (other == 0) | (other == labels)
    return tf.cast(kept, tf.float32)


def _extended(length: Any, minimum: int, step: int) -> Any:
    """Places along an axis, up to a length that the network takes: beyond the last pixel it is mirrored there."""
    whole = minimum + (tf.maximum(length - minimum, 0) + step - 1) // step * step
    period = tf.maximum(2 * length - 2, 1)
    place = tf.range(whole) % period
    return tf.minimum(place, period - place)


def with_constants(function: Any, *, lower_loops: bool = True) -> Frozen:
    """The graph of a concrete function, its variables made constants, its nodes in an order of their own.

    Parameters
    ----------
    function
        As TensorFlow has traced it.
    lower_loops
        Whether loops become switches and merges of single tensors, of which tf2onnx cannot make an ONNX loop.
    """
    constant = frozen(function, lower_loops=lower_loops)
    definition = constant.graph.as_graph_def()
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
            [graph.get_tensor_by_name(tensor.name) for tensor in constant.inputs],
            [graph.get_tensor_by_name(tensor.name) for tensor in constant.outputs],
        )


def nearest_upsampling_at_once(model: keras.Model) -> contextlib.AbstractContextManager[None]:
    """Let nearest upsampling be one operation: Keras tiles, which costs ONNX eight transpositions a network."""
    return replaced_calls(
        {
            layer: functools.partial(_resize, factor=layer.size)
            for layer in all_layers(model)
            if isinstance(layer, keras.layers.UpSampling2D)
            and layer.interpolation == "nearest"
            and layer.data_format == "channels_last"
        }
    )


def _resize(images: Any, factor: tuple[int, int]) -> Any:
    size = tf.shape(images)[1:3] * tf.constant(factor)
    return tf.raw_ops.ResizeNearestNeighbor(images=images, size=size)
