"""Step, halo, margin and smallest size of a network, measured from its graph.

Zones of an image are sent through the graph, see `bmzpack.measure.walk`.
"""

from __future__ import annotations

import dataclasses
import math

import keras

from bmzpack.errors import UserError
from bmzpack.measure.observe import Observations
from bmzpack.measure.walk import Walk
from bmzpack.measure.zones import Misfit

LARGEST_MINIMUM = 2048
"""Pixels along an axis up to which the smallest valid size is looked for."""


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How a network may be fed, in pixels of its input."""

    step: int
    """Valid sizes lie this far apart; moving the image by it moves the output along."""
    halo: int | None
    """Half width of the receptive field. A tile's output differs from that of the whole image within ``halo - margin``
    pixels of its edges, where tiles begin at multiples of ``step``. None where every output pixel sees the whole image
    (global pooling)."""
    margin: int
    """How much smaller than the input the output is on each side (valid convolutions)."""
    minimum: int
    """Smallest valid size; all are ``minimum + n * step``."""


def measure(model: keras.Model) -> Geometry:
    """Measure a network along all spatial axes, from all its inputs to all its outputs that have these axes.

    Parameters
    ----------
    model
        Channels last: (batch, [z,] y, x, channel).

    Returns
    -------
    Geometry
        What holds for every axis and every tensor.

    Raises
    ------
    UserError
        The model has no image among its inputs, or no size was found that it takes.
    """
    rank = max(len(tensor.shape) for tensor in model.inputs)
    if rank < 3:
        raise UserError(f"{model.name} has no image among its inputs: its sizes cannot be measured.")
    measured = [measure_axis(model, axis) for axis in range(rank - 2)]
    halos = [geometry.halo for geometry in measured]
    known = [halo for halo in halos if halo is not None]
    return Geometry(
        step=math.lcm(*(geometry.step for geometry in measured)),
        halo=max(known) if len(known) == len(halos) else None,
        margin=max(geometry.margin for geometry in measured),
        minimum=max(geometry.minimum for geometry in measured),
    )


def measure_axis(model: keras.Model, axis: int) -> Geometry:
    """Measure a network along one spatial axis, 0 being the first behind the batch.

    Raises
    ------
    UserError
        No size was found that the model takes.
    """
    observations = Observations(axis)
    try:
        smallest = _smallest(model, observations)
    except UserError:
        # of a network of one size, such as a transformer, nothing else needs to be known
        if len(fixed := _fixed(model, axis)) > 1 or not fixed:
            raise
        return Geometry(size := fixed.pop(), halo=None, margin=0, minimum=size)
    if smallest.rearranged:
        around = smallest.size // smallest.step // 2 * smallest.step
        walk = Walk(model, observations, smallest.size - 2 * around, around)
    else:
        around = math.ceil(smallest.reach / smallest.step) * smallest.step
        walk = Walk(model, observations, smallest.tile + 2 * around, around)
    margin = max([0, *map(math.ceil, smallest.margins)])
    sees_everything = walk.sees_everything or (walk.rearranged and any(output.zones.all() for output in walk.outputs))
    return Geometry(smallest.step, None if sees_everything else walk.halo, margin, smallest.tile)


def _smallest(model: keras.Model, observations: Observations) -> Walk:
    """The walk of the smallest valid image."""
    axis = observations.axis
    fixed = _fixed(model, axis)
    for size in fixed or range(1, LARGEST_MINIMUM + 1):
        try:
            walk = Walk(model, observations, size)
            if fixed:
                return walk
            larger = [Walk(model, observations, size + number * walk.step).margins for number in (1, 2)]
        except Misfit:
            continue
        whole = all(margin >= 0 and margin.denominator == 1 for margin in walk.margins)
        if larger == [walk.margins] * 2 and whole and (walk.margins or size % walk.step == 0):
            return walk
    raise UserError(
        f"{model.name} takes no image of up to {LARGEST_MINIMUM} pixels a side: its sizes cannot be measured."
    )


def _fixed(model: keras.Model, axis: int) -> set[int]:
    """Sizes of the inputs along an axis, where the network takes no others."""
    return {tensor.shape[1 + axis] for tensor in model.inputs if len(tensor.shape) > 2 + axis} - {None}
