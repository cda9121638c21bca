"""What goes into an engine and comes out of it."""

from __future__ import annotations

import dataclasses

import numpy as np

from bmzpack.errors import UserError


@dataclasses.dataclass(frozen=True)
class TensorNames:
    """The tensor ids of a model, in the order of its inputs and outputs."""

    inputs: list[str]
    outputs: list[str]


@dataclasses.dataclass(frozen=True)
class Result:
    """What an engine made of the test inputs."""

    outputs: list[dict[str, np.ndarray]]
    """One entry per entry of the inputs, by tensor id."""
    seconds: float
    """Fastest of two to five calls with the first entry, on the CPU, when the engine is warm."""


@dataclasses.dataclass(frozen=True)
class Attempt:
    """What an engine made of test inputs of which it may not take all."""

    outputs: list[dict[str, np.ndarray] | UserError]
    """One entry per entry of the inputs: tensors by id, or why it cannot be run."""
    seconds: float | None
    """As in `Result`; None where the first entry cannot be run."""
    status: str | None = None
    """`passed` or `failed` of the engine's own test, where it has one: bioimageio.core."""
    messages: list[str] = dataclasses.field(default_factory=list)
    """What that test says."""

    def result(self) -> Result | UserError:
        """All outputs, or the first error."""
        outputs = []
        for output in self.outputs:
            if isinstance(output, UserError):
                return output
            outputs.append(output)
        return Result(outputs, self.seconds or 0.0)


SMALLEST_RANGE = 1e-3
"""Ranges of outputs below this one count as this one: of nearly constant ones rounding is a large part."""


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference relative to the range of what is expected; not a number where there is one in ``got``."""
    if got.size == 0:
        return 0.0
    spread = max(float(np.ptp(expected.astype(np.float64))), SMALLEST_RANGE)
    return float(np.abs(got.astype(np.float64) - expected).max()) / spread
