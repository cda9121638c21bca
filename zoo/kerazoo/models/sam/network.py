"""Segment Anything (Kirillov et al. 2023): an image encoder, a decoder of prompts, and one that finds all objects."""

from __future__ import annotations

import os
from typing import Any

import keras
from keras import layers

from kerazoo.models.sam.about import WINDOW
from kerazoo.models.sam.encoder import vision_transformer
from kerazoo.models.sam.instances import find_all
from kerazoo.models.sam.mask_decoder import mask_decoder, pack_details
from kerazoo.models.sam.tiny import STRIDE, encode
from kerazoo.models.weights import initialise

DETAILS = 8
"""Channels of the map at a half of the resolution that the embedding of `sam_tiny` holds beside its tokens."""


def sam_tiny(
    input_shape: tuple[int | None, int | None, int] = (None, None, 1),
    features: int = 64,
    depth: int = 6,
    hidden: int = 256,
    weights: str | os.PathLike[str] | None = None,
) -> keras.Model:
    """A small network of the same build for images of any size, to be trained without a GPU.

    Its encoder is made of convolutions, so that what it says of a pixel depends on its surroundings only; a prompt
    belongs to a window of 256 pixels of the image.

    Parameters
    ----------
    input_shape
        (y, x, channel); sides are multiples of 8.
    features
        Channels of the embedding.
    depth
        Blocks of the encoder.
    hidden
        Width of the perceptrons of the mask decoder.
    weights
        A weights file (see `kerazoo.models.weights`), or None: random.

    Returns
    -------
    keras.Model
        For images and for prompts, see `whole`.
    """
    image = keras.Input(input_shape, name="raw")
    embedding, skips = encode(image, depth=depth, features=features)
    maps, half = find_all(embedding, skips)
    details = layers.Conv2D(DETAILS, 1, name="details")(half)
    embedding = layers.Concatenate(name="tokens_and_details")([embedding, pack_details(details)])
    decoder = mask_decoder(WINDOW // STRIDE, WINDOW, features, hidden=hidden, details=DETAILS)
    return initialise(whole(image, embedding, decoder, maps, "sam_tiny"), weights)


def whole(image: Any, embedding: Any, decoder: keras.Model, maps: Any, name: str) -> keras.Model:
    """Networks for images and for prompts in one; that for prompts is its layer `mask_decoder`.

    Parameters
    ----------
    image, embedding, maps
        Keras tensors: the input, what the image encoder gives, and the maps of all objects (None: there are none).
    decoder
        See `kerazoo.models.sam.mask_decoder`.
    name
        Of the network.

    Returns
    -------
    keras.Model
        From `raw` and the inputs of the mask decoder to `image_embedding`, `maps`, and the `masks` and `scores` of the
        prompts. Image and prompts are independent here: an embedding is an output, and an input.
    """
    prompts = [keras.Input(tensor.shape[1:], name=tensor.name, dtype=tensor.dtype) for tensor in decoder.inputs]
    outputs = [layers.Activation("linear", name="image_embedding")(embedding)]
    if maps is not None:
        outputs.append(maps)
    for output, name_of_output in zip(decoder(prompts), ("masks", "scores"), strict=True):
        outputs.append(layers.Activation("linear", dtype="float32", name=name_of_output)(output))
    return keras.Model([image, *prompts], outputs, name=name)


def image_network(network: keras.Model, *outputs: str) -> keras.Model:
    """The part of `whole` from an image to these outputs, by default `maps`; layers are shared, not copied."""
    if len(network.inputs) == 1:
        return network
    chosen = [network.outputs[network.output_names.index(name)] for name in outputs or ("maps",)]
    return keras.Model(network.inputs[0], chosen if len(chosen) > 1 else chosen[0], name=network.name)


def sam_vit(size: str) -> keras.Model:
    """An official size, `vit_b`, `vit_l` or `vit_h`, without the maps of all objects."""
    width, depth, heads = {"vit_b": (768, 12, 12), "vit_l": (1024, 24, 16), "vit_h": (1280, 32, 16)}[size]
    every = depth // 4
    blocks = tuple(range(every - 1, depth, every))
    encoder = vision_transformer(width=width, depth=depth, heads=heads, global_blocks=blocks)
    return whole(encoder.inputs[0], encoder.outputs[0], mask_decoder(), None, f"sam_{size}")
