"""Sizes of the inputs that a description allows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bmzpack.bundle.contents import Contents
from bmzpack.bundle.described import DescribedAxis

STEPS = (0, 1, 2)
"""Steps above the smallest size, as bioimageio.core tries them."""

Sizes = dict[tuple[str, str], int]
"""In pixels, by tensor and axis."""


def sizes_at(contents: Contents, tensors: Mapping[str, np.ndarray] | None, steps: int) -> Sizes:
    """Sizes of all input axes, so many steps above the smallest; those that are free or fixed as in the test input."""

    def own(axis: DescribedAxis, fallback: int) -> int:
        if axis.minimum is not None:
            return axis.minimum + steps * (axis.step or 0)
        return fallback if axis.size is None else axis.size

    found: Sizes = {}
    for tensor in contents.inputs:
        for number, axis in enumerate(tensor.axes):
            size = own(axis, 1 if tensors is None else tensors[tensor.id].shape[number])
            referred = contents.referred(axis)
            if referred and referred[0] in contents.inputs and (referred[1].minimum or referred[1].size):
                size = round(own(referred[1], 1) * contents.ratio(axis) + axis.offset)
            found[tensor.id, axis.id] = max(1, size)
    return found
