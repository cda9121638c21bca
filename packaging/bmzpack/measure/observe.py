"""What an operation that no rule is known for does along an axis: found out from the operation itself."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

import keras
import numpy as np

from bmzpack.errors import UserError
from bmzpack.measure.keras_graph import first_call


@dataclasses.dataclass(frozen=True)
class Reach:
    """Where along an axis the output of an operation depends on its input."""

    ratio: Fraction
    """Samples of the output per sample of the input; 0 where the output has not the axis."""
    longer: int
    """Samples of the output beyond that."""
    first: int
    """Sample i of the input changes samples ratio * i + first ... ratio * i + last of the output."""
    last: int


_OBSERVED = 48
"""Samples along an axis in the observation of an operation: a multiple of any usual step."""


class Observations:
    """Observed operations of one model along one axis; each is observed once.

    Parameters
    ----------
    axis
        0 being the first behind the batch.
    """

    def __init__(self, axis: int) -> None:
        self.axis = axis
        self._reaches: dict[Any, Reach | None] = {}

    def reach(self, operation: Any) -> Reach | None:
        """What an operation reaches; None where one sample changes the output everywhere.

        Raises
        ------
        UserError
            It cannot be run.
        """
        if operation not in self._reaches:
            self._reaches[operation] = _observe(operation, self.axis)
        return self._reaches[operation]


def _observe(operation: Any, axis: int) -> Reach | None:
    call = first_call(operation)

    def run(length: int, seed: int = 0, changed: int | None = None) -> np.ndarray:
        """The first output; the input is changed at one place, everywhere on the other axes."""
        generator = np.random.default_rng(seed)

        def tensor(spec: Any) -> Any:
            if not isinstance(spec, keras.KerasTensor):
                return spec
            sizes = [1, *(length if size is None else size for size in spec.shape[1:])]
            if len(sizes) > 2 + axis:
                sizes[1 + axis] = length
            array, other = generator.normal(size=(2, *sizes))
            if changed is not None and len(sizes) > 2 + axis:
                place = (slice(None),) * (1 + axis) + (changed,)
                array[place] = other[place]
            return keras.ops.convert_to_tensor(array, spec.dtype)

        arguments: Any = keras.tree.map_structure(tensor, (call.args, call.kwargs))
        result = keras.tree.flatten(operation(*arguments[0], **arguments[1]))[0]
        return np.moveaxis(np.asarray(keras.ops.convert_to_numpy(result)), 1 + axis, 0)

    try:
        length, longer = len(run(_OBSERVED)), len(run(2 * _OBSERVED))
        ratio = Fraction(longer - length, _OBSERVED)
        offsets = set()
        for seed in range(4):
            before = run(_OBSERVED, seed)
            for place in range(_OBSERVED // 2 - 8, _OBSERVED // 2 + 8):
                moved = np.flatnonzero((run(_OBSERVED, seed, place) != before).reshape(length, -1).any(axis=1))
                offsets.update((moved - math.floor(place * ratio)).tolist())
    except Exception as error:
        raise UserError(
            f"The layer {operation.name!r} ({type(operation).__name__}) cannot be measured: {error}."
        ) from error
    if ratio and (not offsets or max(offsets) - min(offsets) > length // 2):
        return None
    if not ratio:
        return Reach(ratio, 0, 0, 0)
    return Reach(ratio, length - math.floor(_OBSERVED * ratio), min(offsets), max(offsets))
