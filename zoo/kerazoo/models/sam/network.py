"""Segment Anything (Kirillov et al. 2023): an image encoder, a decoder of prompts, and one that finds all objects."""

from __future__ import annotations

import os

import keras
from keras import layers

from kerazoo.models.sam.encoder import vision_transformer
from kerazoo.models.sam.instances import with_skips
from kerazoo.models.sam.mask_decoder import mask_decoder
from kerazoo.models.sam.tiny import STRIDE, convolutional_encoder
from kerazoo.models.weights import initialise

WINDOW = 256
"""Side in pixels of the part of an image that the prompts of `sam_tiny` refer to."""


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
        Three networks in one, see `whole`.
    """
    encoder = convolutional_encoder(input_shape[-1], depth=depth, features=features)
    decoder = mask_decoder(WINDOW // STRIDE, WINDOW, features, hidden=hidden)
    return initialise(whole(encoder, decoder, with_skips(encoder), "sam_tiny"), weights)


def whole(encoder: keras.Model, decoder: keras.Model, instances: keras.Model | None, name: str) -> keras.Model:
    """Three networks in one, which are also there one by one: its layers `image_encoder`, `mask_decoder` and
    `instance_decoder`.

    Returns
    -------
    keras.Model
        From `raw` and the inputs of the mask decoder (see `kerazoo.models.sam.mask_decoder`) to `image_embedding`,
        image, `maps` of all objects, and the `masks` and `scores` of the prompts. Image and prompts are independent
        here: an embedding is an output, and an input.
    """
    image = keras.Input(encoder.inputs[0].shape[1:], name="raw")
    prompts = [keras.Input(tensor.shape[1:], name=tensor.name, dtype=tensor.dtype) for tensor in decoder.inputs]
    encoded = encoder(image)
    encoded = encoded if isinstance(encoded, list) else [encoded]
    outputs = [layers.Activation("linear", name="image_embedding")(encoded[0])]
    if instances is not None:
        outputs.append(layers.Activation("linear", dtype="float32", name="maps")(instances(encoded)))
    for name_of_output, output in zip(("masks", "scores"), decoder(prompts), strict=True):
        outputs.append(layers.Activation("linear", dtype="float32", name=name_of_output)(output))
    return keras.Model([image, *prompts], outputs, name=name)


def image_network(network: keras.Model) -> keras.Model:
    """The part of `whole` that goes from an image to the maps of all objects; layers are shared, not copied."""
    if len(network.inputs) == 1:
        return network
    maps = network.outputs[network.output_names.index("maps")]
    return keras.Model(network.inputs[0], maps, name=network.name)


def vit(size: str, instances: bool = False) -> keras.Model:
    """The official sizes."""
    sizes = {"vit_b": (768, 12, 12), "vit_l": (1024, 24, 16), "vit_h": (1280, 32, 16)}
    width, depth, heads = sizes[size]
    every = depth // 4
    encoder = vision_transformer(
        width=width, depth=depth, heads=heads, global_blocks=tuple(range(every - 1, depth, every))
    )
    return whole(encoder, mask_decoder(), None, f"sam_{size}")
