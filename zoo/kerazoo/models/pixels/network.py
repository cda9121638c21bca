"""U-Net (Ronneberger et al. 2015): as published, as people train it today, and with an ImageNet encoder."""

from __future__ import annotations

import os
from typing import Any

import keras
from keras import layers

from bmzpack.errors import UserError
from kerazoo.models.backbones import add_backbone
from kerazoo.models.weights import backbone_width, initialise


def unet(
    input_shape: tuple[int | None, int | None, int] = (None, None, 1),
    classes: int = 2,
    filters: int | None = None,
    depth: int | None = None,
    padding: str = "same",
    batch_norm: bool = True,
    dropout: float = 0.0,
    backbone: str | None = None,
    alpha: float | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> keras.Model:
    """U-Net with a free choice of width, depth, padding and encoder.

    Parameters
    ----------
    input_shape
        (y, x, channel); y and x may be None: any size that the network's steps divide.
    classes
        Output channels: softmax over two or more, one sigmoid for one.
    filters
        Width at full resolution, doubled at every level down; by default 64, as published, and 16 beside a backbone.
    depth
        Levels below full resolution; by default 4, as published, and 5 (all that it has) with a backbone.
    padding
        `same`, or `valid`: unpadded convolutions, the output is smaller than the input.
    batch_norm
        Whether batch normalisation stands between every convolution and its ReLU.
    dropout
        Rate of the dropout at the end of the contracting path (last level and bottleneck), 0 for none.
    backbone
        Instead of the contracting path: a name of `kerazoo.models.backbones.BACKBONES`. It expects values between 0 and
        1, that is, ``normalisation.method`` `scaling` or `percentile`; its own scaling is part of the graph.
    alpha
        Width of MobileNetV2; by default that of the weights file, else 1.
    weights
        `imagenet` (backbone only), a weights file (see `kerazoo.models.weights`), or None: random.

    Returns
    -------
    keras.Model
        From `raw` (batch, y, x, channel) to `probability` (batch, y, x, class), float32.

    Raises
    ------
    UserError
        An argument is out of range, there is no such backbone, or the weights do not fit.

    Notes
    -----
    With pretrained weights the batch normalisation of the encoder stays in inference mode also while it is trained: the
    batches of a segmentation network are too small to estimate its statistics anew, and files with folded batch
    normalisation hold none.
    """
    filters = (64 if backbone is None else 16) if filters is None else filters
    depth = (4 if backbone is None else 5) if depth is None else depth
    _check(filters, depth, classes, padding, dropout, backbone)
    alpha = backbone_width(backbone, alpha, weights, "U-Net")

    inputs = keras.Input(input_shape, name="raw")
    options = {"padding": padding, "batch_norm": batch_norm}
    if backbone is None:
        skips, x = [], inputs
        for level in range(1, depth + 1):
            x = _convolutions(x, filters * 2 ** (level - 1), f"encoder{level}", **options)
            if dropout and level == depth:
                x = layers.Dropout(dropout, name=f"encoder{level}_dropout")(x)
            skips.append(x)
            x = layers.MaxPooling2D(2, name=f"encoder{level}_pool")(x)
        x = _convolutions(x, filters * 2**depth, "bottleneck", **options)
    else:
        full_resolution = _convolutions(inputs, filters, "encoder1", **options)
        *taps, x = add_backbone(inputs, backbone, depth, alpha)
        skips = [full_resolution, *taps]
    if dropout:
        x = layers.Dropout(dropout, name="bottleneck_dropout")(x)

    # What valid convolutions take off one side between a skip and the place where it is concatenated.
    crop = 0
    for level, skip in reversed(list(enumerate(skips, start=1))):
        width = filters * 2 ** (level - 1)
        x = layers.Conv2DTranspose(
            width, 2, strides=2, activation="relu", kernel_initializer="he_normal", name=f"decoder{level}_up"
        )(x)
        if padding == "valid":
            crop = 2 * crop + 4
            skip = layers.Cropping2D(crop, name=f"decoder{level}_crop")(skip)
            crop += 2
        x = layers.Concatenate(name=f"decoder{level}_concatenate")([skip, x])
        x = _convolutions(x, width, f"decoder{level}", **options)
    outputs = layers.Conv2D(
        classes,
        1,
        activation="softmax" if classes > 1 else "sigmoid",
        kernel_initializer="he_normal",
        dtype="float32",
        name="probability",
    )(x)
    model = keras.Model(inputs, outputs, name="unet" if backbone is None else f"unet_{backbone}")
    return initialise(model, weights, backbone, alpha)


def unet_2015(
    input_shape: tuple[int | None, int | None, int] = (None, None, 1),
    classes: int = 2,
    dropout: float = 0.5,
    weights: str | os.PathLike[str] | None = None,
) -> keras.Model:
    """The network of the 2015 paper: 23 unpadded convolutions, 572 x 572 pixels in, 388 x 388 out.

    Parameters
    ----------
    input_shape
        (y, x, channel); sizes are 188 + 16 n.
    classes
        Output channels.
    dropout
        Rate of the dropout at the end of the contracting path; it is drawn in training only.
    weights
        A weights file (see `kerazoo.models.weights`), or None: random.

    Returns
    -------
    keras.Model
        From `raw` (batch, y, x, channel) to `probability` (batch, y - 184, x - 184, class), float32;
        31,030,658 parameters at one channel and two classes.

    Raises
    ------
    UserError
        An argument is out of range, or the weights do not fit.
    """
    return unet(
        input_shape, classes, filters=64, depth=4, padding="valid", batch_norm=False, dropout=dropout, weights=weights
    )


def _convolutions(x: Any, filters: int, name: str, padding: str, batch_norm: bool) -> Any:
    for number in (1, 2):
        x = layers.Conv2D(
            filters,
            3,
            padding=padding,
            use_bias=not batch_norm,
            kernel_initializer="he_normal",
            name=f"{name}_convolution{number}",
        )(x)
        if batch_norm:
            # 0.9: the statistics must have settled within the first epochs of a short training.
            x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm{number}")(x)
        x = layers.Activation("relu", name=f"{name}_relu{number}")(x)
    return x


def _check(filters: int, depth: int, classes: int, padding: str, dropout: float, backbone: str | None) -> None:
    for name, value in {"filters": filters, "depth": depth, "classes": classes}.items():
        if not isinstance(value, int) or value < 1:
            raise UserError(f"U-Net: {name} is {value!r}; choose a whole number from 1 on.")
    if padding not in ("same", "valid"):
        raise UserError(f"U-Net: padding is {padding!r}; choose same or valid.")
    if backbone is not None and padding == "valid":
        raise UserError("U-Net: a backbone pads its convolutions; choose padding same, or leave out the backbone.")
    if depth > (6 if backbone is None else 5):
        raise UserError(f"U-Net: depth is {depth}; choose 1 to {6 if backbone is None else 5}.")
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise UserError(f"U-Net: dropout is {dropout}; choose at least 0 and less than 1.")
