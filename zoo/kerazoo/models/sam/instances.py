"""Decoders that find all objects at once: foreground, distance to the centre, distance to the edge.

Archit et al. (2025), Segment Anything for Microscopy.
"""

from __future__ import annotations

from typing import Any

from keras import layers

from kerazoo.models.sam.tiny import convolution

MAPS = ("foreground", "centre_distance", "boundary_distance")
"""Channels of the output; the distances are 0 in the middle of an object, and 1 where they are largest."""


def instance_maps(embedding: Any, skips: list[Any], widths: tuple[int, int, int] = (16, 32, 64)) -> tuple[Any, Any]:
    """A decoder above `kerazoo.models.sam.tiny`: at every level the maps of the encoder beside the enlarged ones.

    Parameters
    ----------
    embedding, skips
        What the encoder gives.
    widths
        Features at the whole, a half and a quarter of the resolution.

    Returns
    -------
    tuple
        Keras tensors: (batch, y, x, 3), between 0 and 1, see `MAPS`; and the features at a half of the resolution.
    """
    x, features = embedding, []
    for level, (skip, width) in enumerate(zip(skips, reversed(widths), strict=True)):
        x = layers.Conv2DTranspose(
            width, 2, strides=2, activation="relu", kernel_initializer="he_normal", name=f"level{level}_up"
        )(x)
        x = layers.Concatenate(name=f"level{level}_concatenate")([skip, x])
        for number in (1, 2):
            x = convolution(x, width, f"level{level}_{number}")
        features.append(x)
    return layers.Conv2D(len(MAPS), 1, activation="sigmoid", dtype="float32", name="maps")(x), features[1]
