"""A Keras model as a TensorFlow graph without variables: what the saved model and ONNX are made of."""

from __future__ import annotations

import functools

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


@functools.lru_cache(maxsize=1)
def frozen_graph(model: keras.Model, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> tf.Graph:
    """The graph of a model, every weight a constant that is stored once.

    Parameters
    ----------
    model
        Any number of inputs and outputs; batch and unknown sizes stay open.
    inputs, outputs
        Tensor ids; the graph's collection ``inputs`` and ``outputs`` hold its tensors in this order.
    """
    _repeat_by_resizing(model)
    specs = [
        tf.TensorSpec(tensor.shape, tensor.dtype, name=name) for name, tensor in zip(inputs, model.inputs, strict=True)
    ]

    @tf.function(input_signature=specs)
    def serve(*tensors: tf.Tensor) -> list[tf.Tensor]:
        return keras.tree.flatten(model(keras.tree.pack_sequence_as(model.input, tensors), training=False))

    frozen = convert_variables_to_constants_v2(serve.get_concrete_function())
    graph = tf.Graph()
    with graph.as_default():
        definition = frozen.graph.as_graph_def()
        tf.import_graph_def(definition, name="")
        for tensor in frozen.inputs:
            tf.compat.v1.add_to_collection("inputs", graph.get_tensor_by_name(tensor.name))
        for tensor in frozen.outputs:
            tf.compat.v1.add_to_collection("outputs", graph.get_tensor_by_name(tensor.name))
    return graph


def _repeat_by_resizing(model: keras.Model) -> None:
    """Let nearest upsampling be one operation: Keras repeats by tiling, which ONNX does with eight transpositions."""
    for layer in model._flatten_layers():
        if (
            isinstance(layer, keras.layers.UpSampling2D)
            and layer.interpolation == "nearest"
            and layer.data_format == "channels_last"
        ):
            layer.call = functools.partial(_resize_nearest, size=layer.size)


def _resize_nearest(images: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    return tf.raw_ops.ResizeNearestNeighbor(images=images, size=tf.shape(images)[1:3] * tf.constant(size))
