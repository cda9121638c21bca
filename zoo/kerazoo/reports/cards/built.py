"""What a built network says about itself: tensors, sizes, what it consists of."""

from __future__ import annotations

import dataclasses
import importlib
import inspect

import keras

from bmzpack.measure.geometry import Geometry, measure
from kerazoo.models.counting import Count, count
from kerazoo.models.registry import Model

EXAMPLE_SIZES = {"unet2d_2015": 572, "classifier2d": 224, "patch_cnn": 64}
"""Sides of the images for which a network is counted and drawn: those of the papers where there are any."""
OTHER_SIZE = 256


@dataclasses.dataclass(frozen=True)
class Facts:
    """A network, built for one size of images."""

    model: keras.Model
    count: Count
    """Of one image or vector."""
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
        return Facts(model, count(model), None)
    # 31 million random numbers would not change what is counted.
    with keras.StatelessScope(initialize_variables=False):
        model = entry.build(input_shape=tuple(side or size for side in shape))
        geometry = measure(entry.build()) if None in shape else None
        return Facts(model, count(model), geometry)


def _default_shape(entry: Model) -> tuple[int | None, ...] | None:
    module, function = (entry.builder or "").split(":")
    parameter = inspect.signature(getattr(importlib.import_module(module), function)).parameters.get("input_shape")
    return None if parameter is None else parameter.default
