"""Segment Anything (Kirillov et al. 2023): an image encoder, a decoder of prompts, and one that finds all objects."""

from __future__ import annotations

import functools
import os
from typing import Any

import keras
from keras import layers

from kerazoo.models.sam import unetr
from kerazoo.models.sam.about import WINDOW
from kerazoo.models.sam.encoder import adapt, vision_transformer
from kerazoo.models.sam.instances import instance_maps
from kerazoo.models.sam.mask_decoder import mask_decoder, pack_details
from kerazoo.models.sam.tiny import STRIDE, encode
from kerazoo.models.weights import adapt_channels, initialise, load_weights

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
    maps, half = instance_maps(embedding, skips)
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
    """The part of `whole` from an image to these outputs; layers are shared, not copied.

    By default `maps`, and where there are none `image_embedding`.
    """
    if len(network.inputs) == 1:
        return network
    names = network.output_names
    outputs = outputs or ("maps" if "maps" in names else "image_embedding",)
    chosen = [network.outputs[names.index(name)] for name in outputs]
    return keras.Model(network.inputs[0], chosen if len(chosen) > 1 else chosen[0], name=network.name)


SIZES: dict[str, dict[str, Any]] = {
    "vit_b": {"width": 768, "depth": 12, "heads": 12, "global_blocks": (2, 5, 8, 11)},
    "vit_l": {"width": 1024, "depth": 24, "heads": 16, "global_blocks": (5, 11, 17, 23)},
    "vit_h": {"width": 1280, "depth": 32, "heads": 16, "global_blocks": (7, 15, 23, 31)},
}
"""Arguments of the image encoders of the official sizes."""


def sam_vit(
    size: str,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    image_size: int = 1024,
    hidden: int = 2048,
    instances: int = 64,
    transposed: bool = False,
    low_rank: int | None = None,
    weights: str | os.PathLike[str] | None = None,
    **encoder: Any,
) -> keras.Model:
    """A network of an official size; it sees whole images, brought to one size.

    Parameters
    ----------
    size
        `vit_b`, `vit_l` or `vit_h`.
    input_shape
        (y, x, channel); None, or the size of the images.
    image_size
        Side in pixels of the square that images are brought to and padded to, where it is not in ``input_shape``.
    hidden
        Width of the perceptrons of the mask decoder.
    instances
        Features of the decoder of all objects at the resolution of the image; 0: there is none, as in official files.
    transposed
        See `kerazoo.models.sam.unetr.instance_maps`.
    low_rank
        Rank of what is added to the kernels of queries and values, see `kerazoo.models.sam.encoder.adapt`; None:
        nothing.
    weights
        A weights file (see `kerazoo.models.weights`), or None: random. It may be one without the maps of all objects.
    **encoder
        Further arguments of `kerazoo.models.sam.encoder.vision_transformer`.

    Returns
    -------
    keras.Model
        For images and for prompts, see `whole`. Without the maps of all objects, 93,735,472 (`vit_b`), 312,342,832
        (`vit_l`) or 641,090,608 (`vit_h`) parameters, and 256 that are never trained.
    """
    side, channels = input_shape[0] or image_size, input_shape[-1]
    seen = vision_transformer(side, channels, **SIZES[size] | encoder)
    embedding = seen.outputs[0]
    decoder = mask_decoder(embedding.shape[1], side, embedding.shape[-1], hidden=hidden)
    maps = unetr.instance_maps(embedding, instances, transposed) if instances else None
    network = whole(seen.inputs[0], embedding, decoder, maps, f"sam_{size}")
    if weights is not None:
        first = "patch_embedding/kernel"
        load_weights(
            network,
            weights,
            adapt=lambda arrays: (
                arrays | {first: adapt_channels(arrays[first], channels)} if first in arrays else arrays
            ),
            optional=unetr.PREFIX,
        )
    if low_rank is not None:
        adapt(seen, low_rank)
    return network


sam_vit_b, sam_vit_l, sam_vit_h = (functools.partial(sam_vit, size) for size in SIZES)
