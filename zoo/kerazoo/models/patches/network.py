"""Patch classifiers: one class per image, by an ImageNet encoder or by a network trained from scratch.

Both average their last feature maps over the patch, so that they are built for any size of patches.
"""

from __future__ import annotations

import os
from typing import Any

import keras
from keras import layers

from bmzpack.errors import UserError
from kerazoo.models.backbones import add_whole_backbone
from kerazoo.models.weights import backbone_width, initialise

FEATURES = "features"
"""The layer between encoder and head: the averaged feature maps, (batch, feature)."""


def classifier(
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    classes: int = 2,
    backbone: str = "mobilenet_v2",
    alpha: float | None = None,
    dropout: float = 0.2,
    weights: str | os.PathLike[str] | None = None,
) -> keras.Model:
    """An ImageNet encoder, the mean of its last maps, and a softmax.

    Parameters
    ----------
    input_shape
        (y, x, channel); y and x at least 32 pixels, or None. Values between 0 and 1, that is,
        ``normalisation.method`` `scaling` or `percentile`; the encoder's own scaling is part of the graph.
    classes
        At least two.
    backbone
        A name of `kerazoo.models.backbones.BACKBONES`.
    alpha
        Width of MobileNetV2; by default that of the weights file, else 1.
    dropout
        Rate of the dropout before the softmax.
    weights
        `imagenet`, a weights file (see `kerazoo.models.weights`), or None: random.

    Returns
    -------
    keras.Model
        From `raw` (batch, y, x, channel) to `probability` (batch, class), float32.

    Raises
    ------
    UserError
        An argument is out of range, there is no such backbone, or the weights do not fit.

    Notes
    -----
    As in `kerazoo.models.pixels.network`, pretrained batch normalisation stays in inference mode.
    """
    _check("classifier2d", input_shape, 32, classes, dropout)
    alpha = backbone_width(backbone, alpha, weights, "classifier2d")
    inputs = keras.Input(input_shape, name="raw")
    outputs = _head(add_whole_backbone(inputs, backbone, alpha), classes, dropout)
    model = keras.Model(inputs, outputs, name=f"classifier_{backbone}")
    return initialise(model, weights, backbone, alpha)


def patch_cnn(
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    classes: int = 2,
    filters: int = 32,
    depth: int = 3,
    dropout: float = 0.2,
    weights: str | os.PathLike[str] | None = None,
) -> keras.Model:
    """A deep convolutional network: pairs of 3 x 3 convolutions (Simonyan and Zisserman 2015) with batch normalisation.

    Parameters
    ----------
    input_shape
        (y, x, channel); y and x at least ``2 ** depth`` pixels, or None.
    classes
        At least two.
    filters
        Width at full resolution, doubled at every level down.
    depth
        Levels, each but the last followed by max-pooling.
    dropout
        Rate of the dropout before the softmax.
    weights
        A weights file (see `kerazoo.models.weights`), or None: random.

    Returns
    -------
    keras.Model
        From `raw` (batch, y, x, channel) to `probability` (batch, class), float32.

    Raises
    ------
    UserError
        An argument is out of range, or the weights do not fit.
    """
    for name, value, most in (("filters", filters, 1024), ("depth", depth, 6)):
        if not isinstance(value, int) or not 1 <= value <= most:
            raise UserError(f"patch_cnn: {name} is {value!r}; choose a whole number from 1 to {most}.")
    _check("patch_cnn", input_shape, 2**depth, classes, dropout)
    inputs = keras.Input(input_shape, name="raw")
    x = inputs
    for level in range(1, depth + 1):
        for number in (1, 2):
            x = layers.Conv2D(
                filters * 2 ** (level - 1),
                3,
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
                name=f"level{level}_convolution{number}",
            )(x)
            x = layers.BatchNormalization(momentum=0.9, name=f"level{level}_norm{number}")(x)
            x = layers.Activation("relu", name=f"level{level}_relu{number}")(x)
        if level < depth:
            x = layers.MaxPooling2D(2, name=f"level{level}_pool")(x)
    return initialise(keras.Model(inputs, _head(x, classes, dropout), name="patch_cnn"), weights)


def _head(x: Any, classes: int, dropout: float) -> Any:
    x = layers.GlobalAveragePooling2D(name=FEATURES)(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    return layers.Dense(classes, activation="softmax", dtype="float32", name="probability")(x)


def _check(name: str, shape: tuple[int | None, ...], smallest: int, classes: int, dropout: float) -> None:
    if not isinstance(classes, int) or classes < 2:
        raise UserError(f"{name}: classes is {classes!r}; choose a whole number from 2 on.")
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise UserError(f"{name}: dropout is {dropout}; choose at least 0 and less than 1.")
    if any(size is not None and size < smallest for size in shape[:2]):
        raise UserError(
            f"{name}: patches of {shape[1]} x {shape[0]} pixels are too small; it takes at least {smallest}."
        )
