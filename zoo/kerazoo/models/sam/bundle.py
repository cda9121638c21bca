"""Networks of a bundle that answer prompts in one graph, for programs without `kerazoo.models.sam.prompted`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerazoo.models.sam.network import image_network
from kerazoo.models.sam.prompts import FIRST_CORNER, LAST_CORNER

ops: Any = keras.ops


def embedding_network(network: keras.Model) -> keras.Model:
    """The part of `kerazoo.models.sam.network.whole` from an image to its embedding, `embeddings`."""
    encoder = image_network(network, "image_embedding")
    output = keras.layers.Activation("linear", dtype="float32", name="embeddings")(encoder.outputs[0])
    return keras.Model(encoder.inputs[0], output, name=f"{network.name}_embedding")


def box_network(network: keras.Model) -> keras.Model:
    """Masks of the objects in boxes: what `kerazoo.models.sam.prompted.PromptedNetwork` does, in one network.

    Parameters
    ----------
    network
        See `kerazoo.models.sam.network.whole`.

    Returns
    -------
    keras.Model
        From `image` (1, channel, y, x) and `box_prompts` (1, object, 4), x and y of the first and of the last corner in
        pixels, to `masks` (1, object, 1, y, x), logits that are above 0 in the object and 0 where the network does not
        see, and `scores` (1, object, 1). An encoder of any size takes sides of at least 256 pixels, multiples of 8.
    """
    encoder, decoder = image_network(network, "image_embedding"), network.get_layer("mask_decoder")
    size, channels = encoder.inputs[0].shape[2:]
    side = decoder.inputs[0].shape[1]
    stride = 8 if size is None else size // side
    image: Any = keras.Input(batch_shape=(1, channels, size, size), name="image")
    prompts = keras.Input(batch_shape=(1, None, 4), name="box_prompts")
    tokens = encoder(ops.transpose(image, (0, 2, 3, 1)))[0]
    corners = ops.reshape(prompts, (-1, 2, 2))
    places = _places(tokens[:, 0, 0]), _places(tokens[0, :, 0])
    starts = [_start(corners[:, :, 1 - axis] / stride, places[axis], side) for axis in (0, 1)]
    windows = _windows(tokens, starts, places, side)
    points = corners - stride * ops.expand_dims(ops.stack(starts[::-1], axis=-1), 1)
    zeros = ops.zeros_like(points[:, :, 0])
    labels = ops.cast(zeros + np.array([FIRST_CORNER, LAST_CORNER], np.float32), "int32")
    none = ops.expand_dims(ops.zeros_like(points[:, :1, :1]), -1) + np.zeros((1, 4 * side, 4 * side, 1), np.float32)
    logits, scores = decoder([windows, points, labels, none, zeros[:, :1]])
    masks = ops.transpose(_enlarged(logits[:, 0], starts[0], _places(image[0, 0, :, 0]), stride), (0, 2, 1))
    masks = ops.transpose(_enlarged(masks, starts[1], _places(image[0, 0, 0]), stride), (0, 2, 1))
    outputs = [
        keras.layers.Activation("linear", dtype="float32", name="masks")(ops.expand_dims(masks, (0, 2))),
        keras.layers.Activation("linear", dtype="float32", name="scores")(ops.expand_dims(scores[:, :1], 0)),
    ]
    return keras.Model([image, prompts], outputs, name=f"{network.name}_boxes")


def _places(line: Any) -> Any:
    """0, 1, 2, ... for every value of a line, whatever its length."""
    return ops.cumsum(ops.ones_like(line)) - 1.0


def _start(corners: Any, places: Any, side: int) -> Any:
    """First token of every object's window along an axis, (object,): the box (object, 2) lies in its middle."""
    start = ops.round(ops.mean(corners, axis=-1) - side / 2)
    return ops.maximum(ops.minimum(start, ops.max(places) + 1.0 - side), 0.0)


def _windows(tokens: Any, starts: list[Any], places: tuple[Any, Any], side: int) -> Any:
    """The tokens (object, side, side, feature) of every object's window; chosen by products, which all formats have."""
    within = np.arange(side, dtype=np.float32)[None, :, None]
    rows, columns = (
        ops.cast(ops.equal(ops.expand_dims(start, (1, 2)) + within, ops.expand_dims(place, (0, 1))), "float32")
        for start, place in zip(starts, places, strict=True)
    )
    chosen = ops.einsum("niy,yxf->nixf", rows, tokens)
    return ops.einsum("njx,nixf->nijf", columns, chosen)


def _enlarged(logits: Any, starts: Any, pixels: Any, stride: int) -> Any:
    """Logits (object, place, other) brought to the pixels of the image along their first axis: (object, pixel, other).

    They are interpolated linearly within a window, and 0 outside of it.
    """
    count = logits.shape[1]
    size = count * stride / 4
    away = ops.expand_dims(pixels, 0) - stride * ops.expand_dims(starts, 1)
    inside = ops.cast(ops.logical_and(away >= 0, away < size), "float32")
    source = ops.clip((away + 0.5) * (count / size) - 0.5, 0.0, count - 1.0)
    weights = ops.relu(1.0 - ops.abs(ops.expand_dims(source, -1) - np.arange(count, dtype=np.float32)))
    return ops.matmul(weights * ops.expand_dims(inside, -1), logits)
