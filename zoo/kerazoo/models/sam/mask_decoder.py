"""The mask decoder of Segment Anything: prompts and image attend to each other, then four masks and their quality."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from kerazoo.models.sam.layers import gelu, perceptron, table
from kerazoo.models.sam.prompts import Positions, draw_prompts, embed_masks, embed_points

ops: Any = keras.ops

MASKS = 4
"""One mask for prompts that leave no doubt, then three for those that do."""


def mask_decoder(
    side: int = 64,
    image_size: int = 1024,
    features: int = 256,
    depth: int = 2,
    heads: int = 8,
    hidden: int = 2048,
    details: int = 0,
) -> keras.Model:
    """Masks of objects, from the embedding of an image and prompts.

    Parameters
    ----------
    side
        Tokens of the embedding along y and x.
    image_size
        Side in pixels of the image that they stand for.
    features
        Channels of the embedding.
    depth, heads, hidden
        Of the transformer: blocks, heads of the attention, width of its perceptrons.
    details
        Channels of a map that is four times as fine as the tokens, see `pack_details`; then points and boxes are drawn
        beside it, too, as edges of small objects need both. 0: none, as in the official network.

    Returns
    -------
    keras.Model
        From `embedding` (1 or object, side, side, features + 16 details), `points` (object, point, 2) with x and y in
        pixels, `labels` (object, point), see `kerazoo.models.sam.prompts`, `prompt_masks` (object, 4 side, 4 side, 1),
        logits, and `has_mask` (object, 1) to `masks` (object, 4, 4 side, 4 side), logits, and `scores` (object, 4), the
        predicted intersection over union. 4,058,340 and 6,220 parameters by default, and 256 that are never trained.
    """
    whole: Any = keras.Input((side, side, features + 16 * details), name="embedding")
    points = keras.Input((None, 2), name="points")
    labels = keras.Input((None,), name="labels", dtype="int32")
    masks = keras.Input((4 * side, 4 * side, 1), name="prompt_masks")
    present = keras.Input((1,), name="has_mask")

    positions = Positions(features, image_size)
    embedding = whole[..., :features] if details else whole
    image = embedding + embed_masks(masks, present, side, features)
    own = table(embedding, np.arange(1 + MASKS)[None], 1 + MASKS, features, "output_tokens")
    tokens = embed_points(own + ops.zeros_like(present)[..., None], points, labels, positions, features)
    places = ops.reshape(positions.of_grid(embedding, side), (1, side * side, features))

    drawn = draw_prompts(points, labels, 4 * side, image_size) if details else None
    if details:
        image = image + layers.Conv2D(features, 4, strides=4, name="drawn_tokens")(drawn)
    queries, keys = _transformer(
        ops.reshape(image, (-1, side * side, features)), places, tokens, features, depth, heads, hidden
    )
    scores = perceptron(queries[:, 0], (features, features, MASKS), "quality")
    x = ops.reshape(keys, (-1, side, side, features))
    x = layers.Conv2DTranspose(features // 4, 2, strides=2, name="upscaling1")(x)
    x = gelu(layers.LayerNormalization(epsilon=1e-6, name="upscaling_norm")(x))
    x = gelu(layers.Conv2DTranspose(features // 8, 2, strides=2, name="upscaling2")(x))
    width = features // 8
    if details:
        fine = ops.zeros_like(x[..., :1]) + unpack_details(whole[..., features:], side, details)
        x, width = layers.Concatenate(name="upscaled_and_details")([x, fine, drawn]), features // 4
        x = layers.Conv2D(width, 3, padding="same", activation="relu", name="mixing1")(x)
        x = layers.Conv2D(width, 3, padding="same", activation="relu", name="mixing2")(x)
    weights = ops.stack(
        [perceptron(queries[:, 1 + mask], (features, features, width), f"mask{mask}") for mask in range(MASKS)],
        axis=1,
    )
    pixels = ops.reshape(x, (-1, 16 * side * side, width))
    logits = ops.matmul(weights, ops.transpose(pixels, (0, 2, 1)))
    outputs = [
        layers.Reshape((MASKS, 4 * side, 4 * side), dtype="float32", name="masks")(logits),
        layers.Activation("linear", dtype="float32", name="scores")(scores),
    ]
    return keras.Model([whole, points, labels, masks, present], outputs, name="mask_decoder")


def pack_details(x: Any) -> Any:
    """A map (batch, 4 y, 4 x, channel) as (batch, y, x, 16 channel): what lies under a token, behind one another."""
    kernel: Any = np.eye(16, dtype=np.float32).reshape(4, 4, 1, 16)
    packing: Any = keras.initializers.Constant(kernel)
    # no reshape: the sides are unknown, and every format has a depthwise convolution
    return layers.DepthwiseConv2D(
        4,
        strides=4,
        depth_multiplier=16,
        use_bias=False,
        trainable=False,
        depthwise_initializer=packing,
        name="packed_details",
    )(x)


def unpack_details(x: Any, side: int, channels: int) -> Any:
    """The inverse of `pack_details` for maps of a known side: (batch, 4 side, 4 side, channel)."""
    x = ops.transpose(ops.reshape(x, (-1, side, side, channels, 4, 4)), (0, 1, 4, 2, 5, 3))
    return ops.reshape(x, (-1, 4 * side, 4 * side, channels))


def _transformer(image: Any, places: Any, tokens: Any, features: int, depth: int, heads: int, hidden: int) -> Any:
    """Tokens and image (object, place, feature), each of which has attended to the other."""
    queries, keys = tokens, image
    for number in range(depth):
        name = f"layer{number}"
        if number == 0:
            queries = _attention(queries, queries, queries, features, heads, f"{name}_self")
        else:
            q = queries + tokens
            queries = queries + _attention(q, q, queries, features, heads, f"{name}_self")
        queries = _norm(queries, f"{name}_norm1")
        y = _attention(queries + tokens, keys + places, keys, features // 2, heads, f"{name}_to_image")
        queries = _norm(queries + y, f"{name}_norm2")
        queries = _norm(queries + perceptron(queries, (hidden, features), f"{name}_mlp"), f"{name}_norm3")
        y = _attention(keys + places, queries + tokens, queries, features // 2, heads, f"{name}_to_tokens")
        keys = _norm(keys + y, f"{name}_norm4")
    y = _attention(queries + tokens, keys + places, keys, features // 2, heads, "final_to_image")
    return _norm(queries + y, "final_norm"), keys


def _norm(x: Any, name: str) -> Any:
    return layers.LayerNormalization(epsilon=1e-5, name=name)(x)


def _attention(q: Any, k: Any, v: Any, width: int, heads: int, name: str) -> Any:
    """Attention whose heads share a width, projected back to that of the queries."""
    return layers.MultiHeadAttention(heads, width // heads, output_shape=q.shape[-1], name=name)(q, v, k)
