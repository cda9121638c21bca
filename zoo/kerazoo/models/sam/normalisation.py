"""Scaling of large maps to a mean of 0 and a deviation of 1; in a training with a gradient that keeps only the maps.

The usual gradient keeps several copies of a map in single precision: at 1024 x 1024 pixels each takes half a gigabyte.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

ops: Any = keras.ops

EPSILON = 1e-5


def normalised(x: Any, in_training: bool) -> Any:
    """Every map to a mean of 0 and a deviation of 1 (Ulyanov et al. 2016).

    Parameters
    ----------
    x
        Keras tensor (batch, y, x, map).
    in_training
        Whether it is for a training only: no other program knows the layer that it then is.
    """
    if in_training:
        return _Normalised()(x)
    mean, variance = ops.moments(ops.cast(x, "float32"), axes=(1, 2), keepdims=True)
    return (x - ops.cast(mean, x.dtype)) * ops.cast(ops.rsqrt(variance + EPSILON), x.dtype)


class _Normalised(layers.Layer):
    def call(self, x: Any) -> Any:
        return _scaled(x, (1, 2), EPSILON)[0]

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape, x.dtype)


class BatchNormalised(layers.Layer):
    """A layer of batch normalisation in a training.

    Parameters
    ----------
    layer
        The layer, which gets new statistics as ever.
    """

    def __init__(self, layer: layers.BatchNormalization) -> None:
        super().__init__()
        self._layer: Any = layer

    def call(self, x: Any, training: bool = False) -> Any:
        layer = self._layer
        if not training or not layer.trainable:
            return layer(x, training=training)
        scaled, mean, variance = _scaled(x, (0, 1, 2), layer.epsilon)
        for kept, seen in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            kept.assign(kept * layer.momentum + ops.reshape(seen, (-1,)) * (1.0 - layer.momentum))
        return scaled * ops.cast(layer.gamma, x.dtype) + ops.cast(layer.beta, x.dtype)

    def compute_output_spec(self, x: Any, training: bool = False) -> Any:
        return keras.KerasTensor(x.shape, x.dtype)


def _scaled(x: Any, axes: tuple[int, ...], epsilon: float) -> tuple[Any, Any, Any]:
    """Scaled maps, and along these axes the mean and the variance before."""
    moments = ops.moments(ops.cast(x, "float32"), axes=axes, keepdims=True)
    mean, variance = (ops.stop_gradient(moment) for moment in moments)
    middle, scale = ops.cast(mean, x.dtype), ops.cast(ops.rsqrt(variance + epsilon), x.dtype)

    def average(y: Any) -> Any:
        columns = ops.cast(ops.mean(y, axis=1, keepdims=True), "float32")
        return ops.cast(ops.mean(columns, axis=axes, keepdims=True), y.dtype)

    @ops.custom_gradient
    def scaled(x: Any) -> Any:
        def gradient(*arguments: Any, upstream: Any = None) -> Any:
            (upstream,) = (upstream,) if upstream is not None else arguments
            y = (x - middle) * scale
            return scale * (upstream - average(upstream) - y * average(upstream * y))

        return (x - middle) * scale, gradient

    return scaled(x), mean, variance
