"""The decoder of all objects above a vision transformer: that of Archit et al. (2025), Segment Anything for Microscopy.

It enlarges the embedding four times, and on a second way joins what it has enlarged (Hatamizadeh et al. 2022, UNETR).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from kerazoo.models.sam.instances import MAPS

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
    widths = [8 * width, 4 * width, 2 * width, width]
    enlarged, x = [], embedding
    for number, features in enumerate(widths):
        x = _enlarged(x, features, f"all_path{number}_up", transposed)
        x = layers.Conv2D(features, 3, padding="same", name=f"all_path{number}_convolution")(x)
        x = layers.ReLU()(layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"all_path{number}_norm")(x))
        enlarged.append(x)
    x = _convolutions(embedding, widths[0], "all_base")
    for number, (features, other) in enumerate(zip(widths[1:], enlarged, strict=False)):
        x = _enlarged(x, features, f"all_level{number}_up", transposed)
        # the package takes the features in the middle of twice as many
        x = layers.Concatenate()([x, other[..., features // 2 : features + features // 2]])
        x = _convolutions(x, features, f"all_level{number}")
    x = layers.Concatenate()([_enlarged(x, width, "all_last_up", transposed), enlarged[-1]])
    x = _convolutions(x, width, "all_last")
    return layers.Conv2D(len(MAPS), 1, activation="sigmoid", dtype="float32", name="maps")(x)


def _enlarged(x: Any, features: int, name: str, transposed: bool) -> Any:
    """Twice as high and wide."""
    if transposed:
        return layers.Conv2DTranspose(features, 2, strides=2, name=name)(x)
    # the package enlarges first: the same, but for four times the work
    return layers.UpSampling2D(interpolation="bilinear")(layers.Conv2D(features, 1, name=name)(x))


def _convolutions(x: Any, features: int, name: str) -> Any:
    for number in (1, 2):
        x = _normalised(x)
        x = layers.Conv2D(features, 3, padding="same", activation="relu", name=f"{name}_convolution{number}")(x)
    return x


def _normalised(x: Any) -> Any:
    """Every map to a mean of 0 and a deviation of 1 (Ulyanov et al. 2016)."""
    mean, variance = ops.moments(ops.cast(x, "float32"), axes=(1, 2), keepdims=True)
    return (x - ops.cast(mean, x.dtype)) * ops.cast(ops.rsqrt(variance + 1e-5), x.dtype)
