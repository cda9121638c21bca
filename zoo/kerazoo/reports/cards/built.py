"""A built network, and what is measured of it: tensors, sizes, what it consists of."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from typing import Any

import keras

from bmzpack.measure.geometry import Geometry, measure
from bmzpack.measure.keras_graph import operation_of
from kerazoo.models.counting import Count, count
from kerazoo.models.entry import Model
from kerazoo.models.registry import family_of_model
from kerazoo.models.shared.without_numbers import without_numbers


@dataclasses.dataclass(frozen=True)
class BuiltNetwork:
    """A network, built for one size of images."""

    model: keras.Model
    count: Count
    """For one image or vector."""
    geometry: Geometry | None
    """How it may be fed; None where the size is fixed, or there is no image."""

    @property
    def takes_images(self) -> bool:
        """Whether its inputs are (batch, y, x, channel)."""
        return all(len(tensor.shape) == 4 for tensor in self.model.inputs)

    @property
    def outputs(self) -> dict[str, Any]:
        """Its outputs, Keras tensors, by their ids."""
        return {operation_of(tensor).name: tensor for tensor in self.model.outputs}


def build_network(entry: Model) -> BuiltNetwork:
    """Build the network of an entry and count.

    Parameters
    ----------
    entry
        An entry of the registry that has a network.

    Returns
    -------
    BuiltNetwork
        At the size of ``entry.card``.
    """
    shape = _default_shape(entry)
    if shape is None:
        model = entry.build()
        return BuiltNetwork(model, count(model), None)
    with without_numbers():
        family = family_of_model(entry.name)
        model = family.image_network(entry.build(input_shape=tuple(side or entry.card.size for side in shape)))
        of_any_size = family.image_network(entry.build())
        sizes = [side for tensor in of_any_size.inputs for side in tensor.shape[1:]]
        geometry = measure(of_any_size) if None in sizes else None
        return BuiltNetwork(model, count(model), geometry)


def _default_shape(entry: Model) -> tuple[int | None, ...] | None:
    module, function = (entry.builder or "").split(":")
    parameter = inspect.signature(getattr(importlib.import_module(module), function)).parameters.get("input_shape")
    return None if parameter is None else parameter.default
