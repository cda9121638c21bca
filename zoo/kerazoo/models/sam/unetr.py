"""The decoder of all objects above a vision transformer: that of Archit et al. (2025), Segment Anything for Microscopy.

It enlarges the embedding four times, and on a second way joins what it has enlarged (Hatamizadeh et al. 2022, UNETR).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from kerazoo.models.sam.instances import MAPS
from kerazoo.models.sam.normalisation import BatchNormalised, normalised

ops: Any = keras.ops

PREFIX = ("all_", "maps")
"""How the names of its layers begin."""


def instance_maps(embedding: Any, width: int = 64, transposed: bool = False) -> Any:
    """All objects of an image.

    Parameters
    ----------
    embedding
        (batch, y / 16, x / 16, feature) of an image.
    width
        Features at the resolution of the image; twice as many at a half of it, and so on.
    transposed
        Whether maps are enlarged by transposed convolutions, and not bilinearly.

    Returns
    -------
    Keras tensor
        (batch, y, x, 3), between 0 and 1: see `kerazoo.models.sam.instances.MAPS`.
    """

    def layer(kind: Any, name: str, *settings: Any, **more: Any) -> Any:
        return kind(*settings, name=name, **more)

    return _decoder(embedding, width, transposed, layer)


def trained_maps(embedding: Any, network: keras.Model) -> Any:
    """The same of a network that has it, and whose layers it shares, for a training: it takes half of the memory.

    Parameters
    ----------
    embedding
        Keras tensor, as above.
    network
        Has layers of these names.
    """

    def layer(kind: Any, name: str, *settings: Any, **more: Any) -> Any:
        known = network.get_layer(name)
        return BatchNormalised(known) if kind is layers.BatchNormalization else known

    width, first = network.get_layer("all_last_convolution2").filters, network.get_layer("all_path0_up")
    return _decoder(embedding, width, isinstance(first, layers.Conv2DTranspose), layer, in_training=True)


def _decoder(embedding: Any, width: int, transposed: bool, layer: Callable[..., Any], in_training: bool = False) -> Any:
    """The decoder, of what gives a layer for its kind, name and settings."""

    def enlarge(x: Any, features: int, name: str) -> Any:
        """Twice as high and wide."""
        if transposed:
            return layer(layers.Conv2DTranspose, name, features, 2, strides=2)(x)
        # the package enlarges first: the same, but for four times the work
        x = layer(layers.Conv2D, name, features, 1)(x)
        # in bfloat16 Keras clips to its range, and two more maps are kept for the gradients
        return layers.UpSampling2D(interpolation="bilinear", dtype="float32")(x)

    def convolve(x: Any, features: int, name: str) -> Any:
        for number in (1, 2):
            settings = {"padding": "same", "activation": "relu"}
            x = layer(layers.Conv2D, f"{name}_convolution{number}", features, 3, **settings)(normalised(x, in_training))
        return x

    widths = [8 * width, 4 * width, 2 * width, width]
    enlarged, x = [], embedding
    for number, features in enumerate(widths):
        name = f"all_path{number}"
        x = enlarge(x, features, f"{name}_up")
        x = layer(layers.Conv2D, f"{name}_convolution", features, 3, padding="same")(x)
        x = layers.ReLU()(layer(layers.BatchNormalization, f"{name}_norm", epsilon=1e-5, momentum=0.9)(x))
        enlarged.append(x)
    x = convolve(embedding, widths[0], "all_base")
    for number, (features, other) in enumerate(zip(widths[1:], enlarged, strict=False)):
        x = enlarge(x, features, f"all_level{number}_up")
        # the package takes the features in the middle of twice as many
        x = layers.Concatenate()([x, other[..., features // 2 : features + features // 2]])
        x = convolve(x, features, f"all_level{number}")
    x = convolve(layers.Concatenate()([enlarge(x, width, "all_last_up"), enlarged[-1]]), width, "all_last")
    return layer(layers.Conv2D, "maps", len(MAPS), 1, activation="sigmoid", dtype="float32")(x)
