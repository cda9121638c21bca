"""The network of Cellpose (Stringer et al. 2021): a residual U-Net with the whole image's style as an input."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np
from keras import layers

from bmzpack.errors import UserError
from kerazoo.models.weights import load_weights

ops: Any = keras.ops

WIDTHS = (32, 64, 128, 256)
"""Channels at full, half, quarter and eighth resolution."""
EPSILON = 1e-5
"""Constants of the batch normalisation."""


def cellpose(
    input_shape: tuple[int | None, int | None, int] = (None, None, 2),
    outputs: int = 3,
    padding: str = "zeros",
    style: bool = True,
    weights: str | os.PathLike[str] | None = None,
) -> keras.Model:
    """The network of Cellpose 1 to 3, "CPnet".

    Parameters
    ----------
    input_shape
        (y, x, channel); y and x are multiples of 8. The official weights take two channels, cytoplasm and nucleus.
    outputs
        Output channels.
    padding
        What lies beyond the edge for the 3 x 3 convolutions: `zeros`, or `reflect`, as in Omnipose.
    style
        Whether the style vector, the mean of the deepest features at length 1, is added on the way up. Without it a
        pixel's answer depends on nothing farther away than the receptive field.
    weights
        A weights file (see `kerazoo.models.weights`), or None: random. Of weights for more channels those of the first
        are taken, as if the others were zero.

    Returns
    -------
    keras.Model
        From `raw` (batch, y, x, channel) to `flows` (batch, y, x, output), float32: five times the vertical and the
        horizontal flow, and the logit of the cell probability. 6,600,843 trainable parameters at two channels and
        three outputs, and 9,544 statistics of batch normalisation.

    Raises
    ------
    UserError
        An argument is out of range, or the weights do not fit.

    Notes
    -----
    Stringer, Wang, Michaelos and Pachitariu (2021), Cellpose: a generalist algorithm for cellular segmentation.
    """
    return residual_style_network(input_shape, outputs, padding, style, weights, name="cellpose")


def residual_style_network(
    input_shape: tuple[int | None, int | None, int],
    outputs: int,
    padding: str,
    style: bool,
    weights: str | os.PathLike[str] | None,
    name: str,
) -> keras.Model:
    """The network that Cellpose and Omnipose share; see `cellpose`."""
    _check(input_shape, outputs, padding, name)
    inputs = keras.Input(input_shape, name="raw")
    x, skips = inputs, []
    for level, width in enumerate(WIDTHS, start=1):
        if level > 1:
            x = layers.MaxPooling2D(2, name=f"encoder{level}_pool")(x)
        x = _encoder(x, width, padding, f"encoder{level}")
        skips.append(x)

    vector = None
    if style:
        vector = layers.GlobalAveragePooling2D(keepdims=True, name="style_mean")(x)
        vector = layers.UnitNormalization(name="style")(vector)

    for level, width in reversed(list(enumerate(WIDTHS, start=1))):
        if level < len(WIDTHS):
            x = layers.UpSampling2D(2, interpolation="nearest", name=f"decoder{level}_up")(x)
        x = _decoder(x, skips[level - 1], vector, width, padding, f"decoder{level}")
    x = _norm(x, "flows")
    x = layers.Activation("relu", name="flows_relu")(x)
    x = _linear(x, outputs, 1, "flows", dtype="float32")
    model = keras.Model(inputs, x, name=name)
    if weights is not None:
        load_weights(model, weights, adapt=lambda arrays: _of_fewer_channels(arrays, input_shape[-1]))
    return model


def _of_fewer_channels(arrays: dict[str, np.ndarray], channels: int) -> dict[str, np.ndarray]:
    """Weights for the first channels of those that a network takes, with zeros in place of the others.

    What the first layers make of zeros becomes part of their bias; that is exact but for the pixels at the edge of the
    image where `zeros` lie beyond.
    """
    adapted = dict(arrays)
    for name in ("encoder1_convolution1", "encoder1_projection"):
        norm = [f"{name}_norm/{key}" for key in ("gamma", "beta", "moving_mean", "moving_variance")]
        if not {*norm, f"{name}/kernel", f"{name}/bias"} <= set(arrays):
            return arrays
        kernel, bias = arrays[f"{name}/kernel"], arrays[f"{name}/bias"]
        if kernel.shape[2] <= channels:
            return arrays
        gamma, beta, mean, variance = (arrays[key] for key in norm)
        answer = (beta - gamma * mean / np.sqrt(variance + EPSILON))[channels:]
        if name.endswith("convolution1"):
            answer = np.maximum(answer, 0)
        adapted |= {key: arrays[key][:channels] for key in norm}
        adapted[f"{name}/bias"] = bias + np.einsum("yxco,c->o", kernel[:, :, channels:], answer)
        adapted[f"{name}/kernel"] = kernel[:, :, :channels]
    return adapted


def _encoder(x: Any, width: int, padding: str, name: str) -> Any:
    y = _convolution(x, width, padding, f"{name}_convolution1")
    y = _convolution(y, width, padding, f"{name}_convolution2")
    x = layers.Add(name=f"{name}_add1")([_projection(x, width, name), y])
    y = _convolution(x, width, padding, f"{name}_convolution3")
    y = _convolution(y, width, padding, f"{name}_convolution4")
    return layers.Add(name=f"{name}_add2")([x, y])


def _decoder(x: Any, skip: Any, style: Any, width: int, padding: str, name: str) -> Any:
    y = _convolution(x, width, padding, f"{name}_convolution1")
    y = layers.Add(name=f"{name}_skip")([y, skip])
    y = _styled_convolution(y, style, width, padding, f"{name}_convolution2")
    x = layers.Add(name=f"{name}_add1")([_projection(x, width, name), y])
    y = _styled_convolution(x, style, width, padding, f"{name}_convolution3")
    y = _styled_convolution(y, style, width, padding, f"{name}_convolution4")
    return layers.Add(name=f"{name}_add2")([x, y])


def _styled_convolution(x: Any, style: Any, width: int, padding: str, name: str) -> Any:
    if style is not None:
        # A dense layer, on a map of one pixel, so that it adds to every pixel without a change of shape.
        shift = _linear(style, width, 1, f"{name}_style")
        x = layers.Add(name=f"{name}_styled")([x, shift])
    return _convolution(x, width, padding, name)


def _convolution(x: Any, width: int, padding: str, name: str) -> Any:
    x = _norm(x, name)
    x = layers.Activation("relu", name=f"{name}_relu")(x)
    if padding == "reflect":
        x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    return _linear(x, width, 3, name, padding="valid" if padding == "reflect" else "same")


def _projection(x: Any, width: int, name: str) -> Any:
    return _linear(_norm(x, f"{name}_projection"), width, 1, f"{name}_projection")


def _norm(x: Any, name: str) -> Any:
    return layers.BatchNormalization(momentum=0.95, epsilon=EPSILON, name=f"{name}_norm")(x)


def _linear(x: Any, width: int, size: int, name: str, **options: Any) -> Any:
    """A convolution that starts uniform within 1 / sqrt(fan-in), as the official network does."""
    initial: Any = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    return layers.Conv2D(width, size, kernel_initializer=initial, name=name, **options)(x)


def _check(input_shape: tuple[int | None, int | None, int], outputs: int, padding: str, name: str) -> None:
    for what, value in {"channels": input_shape[-1], "outputs": outputs}.items():
        if not isinstance(value, int) or value < 1:
            raise UserError(f"{name}: {what} is {value!r}; choose a whole number from 1 on.")
    least = 16 if padding == "reflect" else 8
    for size in input_shape[:2]:
        if size is not None and (size < least or size % 8):
            raise UserError(f"{name}: an input of {size} pixels does not fit; choose a multiple of 8 from {least} on.")
    if padding not in ("zeros", "reflect"):
        raise UserError(f"{name}: padding is {padding!r}; choose zeros or reflect.")
