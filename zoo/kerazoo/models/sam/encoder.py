"""The image encoder of Segment Anything: a vision transformer with windows (Li et al. 2022, ViTDet)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from kerazoo.models.sam.layers import gelu, relative_positions, table

ops: Any = keras.ops

EPSILON = 1e-6
"""Added to the variance in every layer normalisation of the encoder."""


def vision_transformer(
    image_size: int = 1024,
    channels: int = 3,
    patch: int = 16,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    global_blocks: tuple[int, ...] = (2, 5, 8, 11),
    window: int = 14,
    features: int = 256,
) -> keras.Model:
    """An image encoder of fixed size.

    Parameters
    ----------
    image_size
        Side of the images in pixels.
    channels
        Channels of the images.
    patch
        Side in pixels of what becomes one token.
    width, depth, heads
        Features of a token, blocks, and heads of the attention of the transformer.
    global_blocks
        Blocks in which every token attends to all; in the others to those of its window.
    window
        Side of the windows in tokens.
    features
        Channels of the embedding.

    Returns
    -------
    keras.Model
        From `raw` (batch, image_size, image_size, channel) to the embedding (batch, image_size / patch,
        image_size / patch, features). Of the size `vit_b` 89,670,912 parameters.
    """
    inputs = keras.Input((image_size, image_size, channels), name="raw")
    side = image_size // patch
    x = layers.Conv2D(width, patch, strides=patch, name="patch_embedding")(inputs)
    positions = table(x, np.arange(side * side).reshape(side, side), side * side, width, "position_embedding")
    x = x + positions
    for number in range(depth):
        size = side if number in global_blocks else window
        x = _block(x, width, heads, size, f"block{number}")
    x = layers.Conv2D(features, 1, use_bias=False, name="neck_convolution1")(x)
    x = layers.LayerNormalization(epsilon=EPSILON, name="neck_norm1")(x)
    x = layers.Conv2D(features, 3, padding="same", use_bias=False, name="neck_convolution2")(x)
    x = layers.LayerNormalization(epsilon=EPSILON, name="neck_norm2")(x)
    return keras.Model(inputs, x, name="image_encoder")


def adapt(encoder: keras.Model, rank: int) -> None:
    """Add a product of two small matrices to the kernels of queries and values (Hu et al. 2022, LoRA).

    At first the product is zero. Keras saves such a layer with the sum as its kernel.

    Parameters
    ----------
    encoder
        See `vision_transformer`.
    rank
        Rank of the product.
    """
    for layer in encoder.layers:
        if layer.name.endswith(("_query", "_value")):
            layer.enable_lora(rank)


def merged(network: keras.Model) -> keras.Model:
    """The same network with the sums of `adapt` as ordinary kernels; all other layers are shared, not copied."""
    adapted = [layer for layer in network.layers if getattr(layer, "lora_enabled", False)]
    if not adapted:
        return network

    def plain(layer: Any) -> Any:
        if layer not in adapted:
            return layer
        config = layer.get_config()
        return type(layer).from_config({key: value for key, value in config.items() if not key.startswith("lora")})

    copy = keras.models.clone_model(network, clone_function=plain)
    for layer in adapted:
        copy.get_layer(layer.name).set_weights([layer.kernel, layer.bias])
    return copy


def _block(x: Any, width: int, heads: int, size: int, name: str) -> Any:
    side = x.shape[1]
    y = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_norm1")(x)
    if size == side:
        y = _attention(y, width, heads, f"{name}_attention")
    else:
        y = _merged(_attention(_windows(y, size), width, heads, f"{name}_attention"), side)
    x = x + y
    y = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_norm2")(x)
    y = gelu(layers.Dense(4 * width, name=f"{name}_mlp1")(y))
    return x + layers.Dense(width, name=f"{name}_mlp2")(y)


def _windows(x: Any, size: int) -> Any:
    """Cut (batch, side, side, feature) into windows (batch * windows, size, size, feature), padded with zeros."""
    side, width = x.shape[1], x.shape[-1]
    count = -(-side // size)
    room = count * size - side
    x = ops.pad(x, ((0, 0), (0, room), (0, room), (0, 0)))
    x = ops.reshape(x, (-1, count, size, count, size, width))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, size, size, width))


def _merged(x: Any, side: int) -> Any:
    """The opposite of `_windows`."""
    size, width = x.shape[1], x.shape[-1]
    count = -(-side // size)
    x = ops.transpose(ops.reshape(x, (-1, count, count, size, size, width)), (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, count * size, count * size, width))[:, :side, :side]


def _attention(x: Any, width: int, heads: int, name: str) -> Any:
    """Attention with relative positions along y and x (Li et al. 2022, MViTv2), (batch, side, side, feature)."""
    side, depth = x.shape[1], width // heads
    tokens = side * side

    def part(kind: str) -> Any:
        heads_of = ops.reshape(layers.Dense(width, name=f"{name}_{kind}")(x), (-1, tokens, heads, depth))
        return ops.transpose(heads_of, (0, 2, 1, 3))

    q, k, v = map(part, ("query", "key", "value"))
    square = ops.reshape(q, (-1, heads, side, side, depth))
    places = relative_positions(side)
    along_y = table(x, places, 2 * side - 1, depth, f"{name}_positions_y")
    along_x = table(x, places, 2 * side - 1, depth, f"{name}_positions_x")
    by_y = ops.einsum("bnhwd,hkd->bnhwk", square, along_y)
    by_x = ops.einsum("bnhwd,wkd->bnhwk", square, along_x)
    scores = ops.reshape(
        ops.matmul(q * depth**-0.5, ops.transpose(k, (0, 1, 3, 2))), (-1, heads, side, side, side, side)
    )
    scores = scores + by_y[..., None] + by_x[..., None, :]
    weights = ops.softmax(ops.reshape(scores, (-1, heads, tokens, tokens)))
    x = ops.transpose(ops.matmul(weights, v), (0, 2, 1, 3))
    return layers.Dense(width, name=f"{name}_projection")(ops.reshape(x, (-1, side, side, width)))
