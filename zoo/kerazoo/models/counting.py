"""What a network consists of and what it costs: parameters, units, connections and multiply-adds, layer by layer.

The words are those of LeCun et al. (1989). A unit is one value of the input or of a layer that weighs its inputs, and
one more unit, always 1, stands for all biases. A connection is one way from a unit into another: weights that are
shared are one parameter and many connections. Pooling has no units of its own, the ways lead through it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
from keras import layers

from bmzpack.errors import UserError
from bmzpack.measure.keras_graph import operation_of
from bmzpack.measure.walk import CONVOLUTIONS, GLOBAL_POOLS, POOLS, TRANSPOSED

_WEIGHING = (*CONVOLUTIONS, layers.Dense, *TRANSPOSED)
_ADDING = (layers.BatchNormalization, layers.LayerNormalization, layers.Embedding)
"""What has weights that do not lead from unit to unit: scales, offsets, and tables of positions."""


@dataclasses.dataclass(frozen=True)
class LayerCount:
    """What one layer adds."""

    name: str
    shape: tuple[int, ...]
    """Shape of its output, without the batch."""
    parameters: int
    units: int
    connections: int
    """Ways that end in its units, those from the bias unit included."""
    multiply_adds: int
    """Multiplications by a weight, each with its addition; without biases, normalisation and activations."""


@dataclasses.dataclass(frozen=True)
class Count:
    """What a network consists of, for one image or sample."""

    layers: tuple[LayerCount, ...]
    """In the order of the network, those without weights as well."""
    bias_units: int
    """1 where any layer has biases, else 0."""

    @property
    def parameters(self) -> int:
        """Independent numbers that are learned or measured."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def units(self) -> int:
        """Input values, neurons, and the bias unit."""
        return sum(layer.units for layer in self.layers) + self.bias_units

    @property
    def connections(self) -> int:
        """Ways from unit to unit."""
        return sum(layer.connections for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Multiplications by a weight, each with its addition, as papers on efficient networks count them."""
        return sum(layer.multiply_adds for layer in self.layers)


def count(model: keras.Model, input_shape: tuple[int, ...] | None = None) -> Count:
    """Count a network.

    Parameters
    ----------
    model
        A network of stock layers.
    input_shape
        Size of the only input without the batch, such as (y, x, channel); needed where the network takes any.

    Returns
    -------
    Count
        The counts of every layer and their sums.

    Raises
    ------
    UserError
        The size of an input is neither fixed nor given, or a layer has weights that cannot be counted here.

    Notes
    -----
    Padding counts as input, as is usual. Where branches meet, the ways lead through the one that pools most.
    """
    given = [input_shape] if input_shape else [tuple(tensor.shape[1:]) for tensor in model.inputs]
    if len(given) != len(model.inputs) or any(None in shape for shape in given):
        raise UserError(
            f"{model.name} takes any size: state the one to count for as input_shape, such as (256, 256, 1)."
        )
    steps, batches = model.operations, [(1, *shape) for shape in given]
    outputs = keras.Model(model.inputs, [step.output for step in steps])
    shapes = outputs.compute_output_shape(batches[0] if len(batches) == 1 else batches)
    sizes = {step.name: tuple(size[1:]) for step, size in zip(steps, shapes, strict=True)}

    counts, pooled, biases = [], {}, 0
    for step in steps:
        sources = [operation_of(tensor).name for tensor in _inputs_of(step)]
        ways = max((pooled[name] for name in sources), default=1)
        units = connections = products = 0
        if isinstance(step, layers.InputLayer):
            units = math.prod(sizes[step.name])
        elif isinstance(step, _WEIGHING):
            places = sizes[sources[0] if isinstance(step, TRANSPOSED) else step.name][:-1]
            kernel: Any = step.kernel
            products = math.prod(places) * math.prod(kernel.shape)
            units = math.prod(sizes[step.name])
            connections = products * ways + units * step.use_bias
            biases = max(biases, int(step.use_bias))
            ways = 1
        elif isinstance(step, POOLS):
            ways *= math.prod(step.pool_size)
        elif isinstance(step, GLOBAL_POOLS):
            ways *= math.prod(sizes[sources[0]][:-1])
        parameters = step.count_params() if isinstance(step, layers.Layer) else 0
        if parameters and not isinstance(step, (*_WEIGHING, *_ADDING)):
            raise UserError(
                f"{model.name}: the layer {step.name!r} ({type(step).__name__}) has weights whose connections are not "
                "known: count a network of convolutions and fully connected layers."
            )
        pooled[step.name] = ways
        counts.append(LayerCount(step.name, sizes[step.name], parameters, units, connections, products))
    return Count(tuple(counts), biases)


def _inputs_of(step: Any) -> list[Any]:
    """The tensors that come into a layer or operation."""
    return [] if isinstance(step, layers.InputLayer) else keras.tree.flatten(step.input)
