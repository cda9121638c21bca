"""The image sizes with which a model runs in JDLL."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bmzpack.bundle.contents import Contents
from bmzpack.consumers.findings import Sides, Stretch
from bmzpack.consumers.jdll.descriptor import Axis, Descriptor, Refused, read
from bmzpack.consumers.jdll.tiles import Sizes, Trial, tried
from bmzpack.consumers.per_bundle import per_bundle

LARGEST_SIDE = 16_384
"""Sides up to this one are tried, in pixels."""
LEAST_PLANES = 16
"""Planes of a stack that is tried, where their number is free and the network takes fewer."""


@per_bundle
def described(contents: Contents) -> Descriptor | Refused:
    """A bundle's description as JDLL reads it, or why it ends with an exception."""
    try:
        return read(contents.rdf, contents.is_old)
    except Refused as refused:
        return refused


def square_images(model: Descriptor, sides: Sequence[int]) -> dict[str, Sizes]:
    """Square images of these sides, one of each batch, with the channels that are described."""

    def size(axis: Axis) -> np.ndarray:
        fixed = {"b": 1, "z": max(axis.minimum, LEAST_PLANES) if axis.step else axis.minimum}
        return np.asarray(sides) if axis.letter in "yx" else np.full(len(sides), fixed.get(axis.letter, axis.minimum))

    return {tensor.name: [size(axis) for axis in tensor.axes] for tensor in model.inputs}


@per_bundle
def trial_of(contents: Contents) -> Trial | None:
    """What becomes of square images of sides up to `LARGEST_SIDE`; None where JDLL cannot read the description."""
    model = described(contents)
    if isinstance(model, Refused) or not model.inputs:
        return None
    return tried(model, square_images(model, range(1, LARGEST_SIDE + 1)))


def sides(contents: Contents) -> Sides | None:
    """The sides of square images that run and that do not; None where JDLL cannot read the description."""
    trial, model = trial_of(contents), described(contents)
    if trial is None or isinstance(model, Refused):
        return None
    starts = [0, *(np.flatnonzero(np.diff(trial.refused)) + 1)]
    stretches = []
    for start, end in zip(starts, [*starts[1:], trial.count], strict=True):
        reason = trial.reasons[trial.refused[start]] if trial.refused[start] >= 0 else None
        last = None if end == trial.count else int(end)
        found = (reason.rule, reason.place, reason.why) if reason else ("", "", "")
        stretches.append(Stretch(int(start) + 1, last, *found))
    planes = [axis for tensor in model.inputs for axis in tensor.axes if axis.letter == "z"]
    return Sides(stretches, max(planes[0].minimum, LEAST_PLANES) if planes and planes[0].step else None)


def output_sizes(size: np.ndarray, scale: float, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """The sizes that JDLL gives an output: ``scale`` is taken for the factor between output and input.

    Parameters
    ----------
    size
        Sizes of the input, in pixels.
    scale
        The scale of the output's axis in format 0.5, the size of its pixels.
    offset
        The offset of the output's size, in pixels.

    Returns
    -------
    tuple of numpy.ndarray
        Sizes of the whole output, if the input is an image, and of the output of a tile, if it is one.
    """
    return np.trunc(size * scale), np.trunc(size * scale + 2 * offset)
