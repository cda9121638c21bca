"""Bilinear upsampling for images of any size, which Keras 3.15 can neither trace nor export, of layers that it can.

Bilinear interpolation by a whole factor is nearest interpolation followed by an average along each axis. Its weights
are ``1/2, 1, ..., 1, 1/2`` over one pixel more than an even factor: the mean of two averages whose windows differ by
two pixels. At the borders Keras averages what lies inside, which is what bilinear interpolation repeats there.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

import keras

from bmzpack.weights.model import load
from bmzpack.weights.source import bilinear_upsampling, check_code


def with_plain_upsampling(model_path: Path, scratch: Path) -> Path:
    """A model of any size whose bilinear upsampling is one that every weights format can hold.

    Parameters
    ----------
    model_path
        A ``.keras`` file.
    scratch
        Where the changed model is written.

    Returns
    -------
    Path
        The changed model.

    Raises
    ------
    UserError
        The file cannot be loaded.
    """
    check_code(model_path)
    model: Any = load(model_path)
    changed: Any = keras.models.clone_model(model, clone_function=_itself, call_function=_call, recursive=True)
    path = scratch / "upsampling.keras"
    changed.save(path)
    logging.getLogger("bmzpack").warning(
        "Bilinear upsampling (%s) is packed as nearest upsampling and averages, which give the same: Keras cannot "
        "export it for images of any size.",
        ", ".join(bilinear_upsampling(model_path)),
    )
    return path


def upsampled(x: Any, factors: tuple[int, int], data_format: str) -> Any:
    """Bilinear interpolation (half-pixel centres) of a batch of images by whole factors along y and x."""
    layers = keras.layers
    x = layers.UpSampling2D(factors, data_format=data_format, interpolation="nearest")(x)
    for axis, factor in enumerate(factors):
        if factor > 1:
            x = _averaged(x, factor, axis, data_format)
    return x


def _averaged(x: Any, factor: int, axis: int, data_format: str) -> Any:
    layers = keras.layers

    def window(length: int) -> Any:
        size = (length, 1) if axis == 0 else (1, length)
        return layers.AveragePooling2D(size, strides=1, padding="same", data_format=data_format)(x)

    if factor % 2:
        return window(factor)
    wide, narrow = window(factor + 1), x if factor == 2 else window(factor - 1)
    shares = (factor + 1) / (2 * factor), (factor - 1) / (2 * factor)
    return layers.Add()([layers.Rescaling(shares[0])(wide), layers.Rescaling(shares[1])(narrow)])


def _itself(layer: Any) -> Any:
    """Layers keep their weights."""
    return layer


def _call(layer: Any, *inputs: Any, **options: Any) -> Any:
    if isinstance(layer, keras.layers.UpSampling2D) and layer.interpolation == "bilinear":
        height, width = layer.size
        return upsampled(inputs[0], (height, width), layer.data_format)
    if isinstance(layer, keras.Sequential):
        return functools.reduce(lambda x, inner: _call(inner, x), layer.layers, inputs[0])
    return layer(*inputs, **options)
