"""The convolutional network of LeCun et al. (1989), weight for weight: 2,578 of them behind 98,442 connections."""

from __future__ import annotations

import os
from typing import Any

import keras
from keras import layers

from bmzpack.errors import UserError
from kerazoo.models.weights import initialise

INPUT_SHAPE = (28, 28, 1)


def lenet1989(
    input_shape: tuple[int, int, int] = INPUT_SHAPE,
    classes: int = 10,
    weights: str | os.PathLike[str] | None = None,
) -> keras.Model:
    """The network that read handwritten zip codes (LeCun et al. 1989, NIPS 2).

    Parameters
    ----------
    input_shape
        (y, x, channel); only (28, 28, 1), a character of 16 x 16 pixels with an empty rim. The paper's ink is +1, its
        paper -1.
    classes
        Outputs.
    weights
        A weights file (see `kerazoo.models.weights`), or None: random.

    Returns
    -------
    keras.Model
        From `raw` (batch, 28, 28, 1) to `score` (batch, class), float32 between -1.72 and 1.72: it is trained towards
        +1 for the true class and -1 for the others. 2,578 parameters with ten classes.

    Raises
    ------
    UserError
        The input shape or the number of classes is another, or the weights do not fit.

    Notes
    -----
    H2 and H4 average 2 x 2 units and share one weight and one bias per map; of the maps of H3 four see one map of H2
    and eight see two, 20 links of the 48 that there could be.
    """
    if tuple(input_shape) != INPUT_SHAPE:
        raise UserError(
            f"lenet1989: the input is {tuple(input_shape)}, but the network is made for {INPUT_SHAPE}: set "
            "training.patch_size to 28 and data.channels to 1, or choose the model patch_cnn."
        )
    if not isinstance(classes, int) or classes < 2:
        raise UserError(f"lenet1989: classes is {classes!r}; choose a whole number from 2 on.")

    inputs = keras.Input(input_shape, name="raw")
    x = _squash(layers.Conv2D(4, 5, **_initial(25), name="h1")(inputs), "h1")
    x = _average(x, "h2")
    maps = [
        layers.DepthwiseConv2D(5, **_initial(25, "depthwise"), name="h3_of_one")(x),
        layers.Conv2D(4, 5, **_initial(50), name="h3_of_two_first")(x[..., :2]),
        layers.Conv2D(4, 5, **_initial(50), name="h3_of_two_last")(x[..., 2:]),
    ]
    x = _squash(layers.Concatenate(name="h3")(maps), "h3")
    x = layers.Flatten(name="flatten")(_average(x, "h4"))
    x = layers.Dense(classes, **_initial(192), dtype="float32", name="output")(x)
    return initialise(keras.Model(inputs, _squash(x, "output", "score", "float32"), name="lenet1989"), weights)


def _average(x: Any, name: str) -> Any:
    x = layers.AveragePooling2D(2, name=f"{name}_average")(x)
    return _squash(layers.DepthwiseConv2D(1, **_initial(1, "depthwise"), name=name)(x), name)


def _squash(x: Any, name: str, result: str | None = None, dtype: str | None = None) -> Any:
    """1.7159 tanh(2/3 x): it takes +1 to +1 and -1 to -1, so that the targets are no limits that are never reached."""
    x = layers.Rescaling(2 / 3, dtype=dtype, name=f"{name}_slope")(x)
    x = layers.Activation("tanh", dtype=dtype, name=f"{name}_tanh")(x)
    return layers.Rescaling(1.7159, dtype=dtype, name=result or f"{name}_scale")(x)


def _initial(fan_in: int, kernel: str = "kernel") -> dict[str, Any]:
    """Kernels uniform within 2.4 / fan-in, as in the paper; what averages four units into one has a fan-in of one."""
    return {f"{kernel}_initializer": keras.initializers.RandomUniform(-2.4 / fan_in, 2.4 / fan_in)}
