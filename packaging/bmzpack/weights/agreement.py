"""Whether a weights file computes what Keras computes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from bmzpack.engines import Result, relative_error
from bmzpack.errors import UserError
from bmzpack.operations.labels import TOLERANCE as TOLERANCE_OF_LABELS
from bmzpack.operations.labels import LabelsPostprocessing, disagreement
from bmzpack.weights.format import Versions

TOLERANCE = 1e-4
"""Largest difference from Keras, relative to the range of its output, with which a file is accepted."""


@dataclasses.dataclass(frozen=True)
class Written:
    """A weights file that has been run."""

    format: str
    path: Path
    parent: str | None
    """The format it was made from; None for the original."""
    versions: Versions
    max_abs_error: float
    """Largest difference from the Keras output over all test inputs, relative to the range of that output."""
    latency_s: float
    """Seconds of one call with the first test input, on the CPU, in the format's engine."""
    outputs: list[dict[str, np.ndarray]]
    """Outputs by tensor id, one entry per test input."""


def check_outputs(name: str, model: Path, result: Result, expected: Result, remedy: str) -> float:
    """Compare outputs.

    Parameters
    ----------
    name
        The weights format.
    model
        The ``.keras`` file, for the messages.
    result, expected
        What the file gives, and what Keras gives.
    remedy
        Ends the messages.

    Returns
    -------
    float
        Largest difference relative to the range of the output.

    Raises
    ------
    UserError
        A shape is another one, or the difference is more than `TOLERANCE`.
    """
    errors = []
    for got, outputs in zip(result.outputs, expected.outputs, strict=True):
        for tensor, array in outputs.items():
            if got[tensor].shape != array.shape:
                raise UserError(
                    f"{name} gives {tensor!r} the shape {got[tensor].shape}, where {model} gives {array.shape}.{remedy}"
                )
            errors.append(relative_error(got[tensor], array))
    error = float(np.max(errors))
    if not error <= TOLERANCE:
        raise UserError(
            f"{name} differs from {model} by {error:.1e} of the output's range, more than {TOLERANCE:.0e}.{remedy}"
        )
    return error


def check_labels(model: Path, result: Result, expected: Result, labels: LabelsPostprocessing) -> float:
    """Compare the labels of a graph with those that are made of the output of Keras.

    Parameters
    ----------
    model
        The ``.keras`` file, for the message.
    result, expected
        What the file gives, and what Keras gives.
    labels
        Makes labels of the output of Keras.

    Returns
    -------
    float
        Part of the objects' pixels that differ.

    Raises
    ------
    UserError
        They are more than `bmzpack.operations.labels.TOLERANCE`.
    """
    weighed = []
    for got, outputs in zip(result.outputs, expected.outputs, strict=True):
        for tensor, array in outputs.items():
            found, decoded = got[tensor], labels.decode(array)
            weighed.append((np.count_nonzero((found != 0) | (decoded != 0)), disagreement(found, decoded)))
    error = sum(pixels * part for pixels, part in weighed) / max(1, sum(pixels for pixels, _ in weighed))
    if not error <= TOLERANCE_OF_LABELS:
        raise UserError(
            f"The graph of {model} puts {error:.1%} of the objects' pixels on the test image into other objects than "
            f"the decoder does, more than {TOLERANCE_OF_LABELS:.0%}: choose another test image, with clearer objects."
        )
    return error
