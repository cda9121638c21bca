"""What a built network says about itself: tensors, sizes, parameters, multiplications."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
from typing import Any

import keras
from keras import layers

from bmzpack.errors import UserError
from bmzpack.geometry import Geometry, measure
from kerazoo.models.registry import Model

EXAMPLE_SIZES = {"unet2d_2015": 572, "classifier2d": 224, "patch_cnn": 64}
"""Sides of the images for which a network is counted and drawn: those of the papers where there are any."""
OTHER_SIZE = 256


@dataclasses.dataclass(frozen=True)
class Facts:
    """A network, built for one size of images."""

    model: keras.Model
    parameters: int
    multiply_adds: int
    """Multiplications with a weight, for one image or vector."""
    geometry: Geometry | None
    """How it may be fed; None where the size is fixed, or there is no image."""


def read_facts(entry: Model) -> Facts:
    """Build a network and count.

    Parameters
    ----------
    entry
        An entry of the registry that has a network.

    Returns
    -------
    Facts
        At the size of `EXAMPLE_SIZES`.
    """
    size = EXAMPLE_SIZES.get(entry.name, OTHER_SIZE)
    shape = _default_shape(entry)
    if shape is None:
        model = entry.build()
        return Facts(model, model.count_params(), count_multiply_adds(model), None)
    # 31 million random numbers would not change what is counted.
    with keras.StatelessScope(initialize_variables=False):
        model = entry.build(input_shape=tuple(side or size for side in shape))
        geometry = measure(entry.build()) if None in shape else None
    return Facts(model, model.count_params(), count_multiply_adds(model), geometry)


def count_multiply_adds(model: keras.Model) -> int:
    """Multiplications with a weight, each with its addition, for one image or vector.

    Parameters
    ----------
    model
        Built for one size.

    Returns
    -------
    int
        Of convolutions and fully connected layers; normalisation and activations are left out, as in the papers.

    Raises
    ------
    UserError
        The size of the images is open.
    """
    total = 0
    for layer in model.layers:
        # The kernel of a transposed convolution is put down at every place of its input.
        tensor: Any = layer.input if isinstance(layer, layers.Conv2DTranspose) else layer.output
        places = tensor.shape[1:-1]
        if None in places:
            raise UserError(f"{model.name} is built for images of any size: build it for one to count.")
        total += math.prod(places) * sum(math.prod(weight.shape) for weight in layer.weights if len(weight.shape) > 1)
    return total


def _default_shape(entry: Model) -> tuple[int | None, ...] | None:
    module, function = (entry.builder or "").split(":")
    parameter = inspect.signature(getattr(importlib.import_module(module), function)).parameters.get("input_shape")
    return None if parameter is None else parameter.default
