"""A small image encoder for images of any size: convolutions, in blocks like a transformer (Liu et al. 2022)."""

from __future__ import annotations

from typing import Any

from keras import layers

from kerazoo.models.sam.layers import gelu

STRIDE = 8
"""Pixels of the image along y and x for one token."""


def encode(
    x: Any, widths: tuple[int, int, int] = (24, 48, 128), depth: int = 6, features: int = 64
) -> tuple[Any, list[Any]]:
    """An image encoder whose tokens see a limited surrounding, so that an image may be cut into tiles.

    Parameters
    ----------
    x
        (batch, y, x, channel), with sides that 8 divides.
    widths
        Features at a half, a quarter and an eighth of the image's resolution.
    depth
        Blocks at an eighth of the resolution: a depthwise convolution of 7 x 7 tokens in place of the attention, then
        a perceptron (ConvNeXt).
    features
        Channels of the embedding.

    Returns
    -------
    tuple
        The embedding (batch, y / 8, x / 8, features), and the maps at a quarter, a half and the whole resolution.
    """
    full = convolution(x, widths[0] // 2, "stem1")
    half = convolution(convolution(full, widths[0], "stem2", stride=2), widths[0], "half")
    quarter = convolution(convolution(half, widths[1], "stem4", stride=2), widths[1], "quarter")
    x = convolution(quarter, widths[2], "stem8", stride=2)
    for number in range(depth):
        x = _block(x, widths[2], f"block{number}")
    x = layers.Conv2D(features, 3, padding="same", use_bias=False, name="neck_convolution")(x)
    x = layers.LayerNormalization(epsilon=1e-6, name="neck_norm")(x)
    return x, [quarter, half, full]


def convolution(x: Any, width: int, name: str, stride: int = 1) -> Any:
    """Convolution, batch normalisation, ReLU."""
    x = layers.Conv2D(
        width,
        3,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_convolution",
    )(x)
    # 0.9: the statistics must have settled within the first epochs of a short training.
    return layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x))


def _block(x: Any, width: int, name: str) -> Any:
    y = layers.DepthwiseConv2D(7, padding="same", name=f"{name}_surrounding")(x)
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm")(y)
    y = gelu(layers.Dense(4 * width, name=f"{name}_mlp1")(y))
    return layers.Add(name=f"{name}_sum")([x, layers.Dense(width, name=f"{name}_mlp2")(y)])
