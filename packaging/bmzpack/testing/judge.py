"""What the outputs of an engine are worth.

An engine passes where it reproduces the test output, takes the other sizes that the description allows, and computes
there what the first engine that ran computes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bmzpack.bundle.contents import Contents
from bmzpack.bundle.specification import load_model
from bmzpack.engines import Attempt, TensorNames, relative_error
from bmzpack.engines.matrix import Cell
from bmzpack.engines.rows import ENGINES, TODAY
from bmzpack.errors import UserError
from bmzpack.operations import processing
from bmzpack.operations.labels import CHANNEL_NAMES, MASK_NAMES, TO_LABELS, are_objects, disagreement
from bmzpack.operations.labels import TOLERANCE as TOLERANCE_OF_LABELS
from bmzpack.testing.inputs import EngineInputs, plan, seam
from bmzpack.weights import TOLERANCE

if TYPE_CHECKING:
    from bioimageio.core import Sample

SEAM = 1e-3
"""Difference at the seams of tiles, relative to the range of the output, that nobody sees: a quarter of a grey value
in 8 bit."""


class Expectation:
    """The inputs of the engines, and the outputs that are expected of them."""

    def __init__(self, contents: Contents, tensors: dict[str, np.ndarray], sizes: bool) -> None:
        self.contents = contents
        self.tensors = tensors
        self.input_entries, self.output_entries = _entries(contents)
        self.names = TensorNames([tensor.id for tensor in contents.inputs], [tensor.id for tensor in contents.outputs])
        members: dict[Any, Any] = dict(self._sample().members)
        preprocessed = {name: _contiguous(np.asarray(members[name].data)) for name in self.names.inputs}
        self.inputs = plan(contents, preprocessed) if sizes else EngineInputs([preprocessed])
        channels = [axis.channel_names for tensor in contents.outputs for axis in tensor.axes if axis.id == "channel"]
        self.labels = channels in ([CHANNEL_NAMES], [MASK_NAMES]) and are_objects(tensors[self.names.outputs[0]])
        self.tolerance = TOLERANCE_OF_LABELS if self.labels else TOLERANCE

    def error(self, outputs: Mapping[str, np.ndarray]) -> float:
        """Largest difference from the test outputs, relative to their range; of labels, how many pixels differ.

        Raises
        ------
        UserError
            They have another shape.
        """
        found = processing.postprocess(self.output_entries, outputs, self._sample())
        errors = []
        for name, output in found.items():
            expected = self.tensors[name]
            if output.shape != expected.shape:
                raise UserError(
                    f"The engine gives {name} the shape {output.shape}, the test tensor has {expected.shape}."
                )
            errors.append(disagreement(output, expected) if self.labels else relative_error(output, expected))
        return float(np.max(errors))

    def _sample(self) -> Sample:
        return processing.preprocess(self.input_entries, self.tensors)


def reference_of(attempts: Mapping[tuple[str, str], Attempt | Cell]) -> tuple[tuple[str, str], Attempt] | None:
    """The first engine that took all sizes, else the first that ran; those inside Fiji come last."""
    rows = sorted(ENGINES, key=lambda row: row not in TODAY)
    ran = [(key, attempts[key]) for row in rows for key in attempts if key[0] == row]
    found = [(key, attempt) for key, attempt in ran if isinstance(attempt, Attempt) and attempt.seconds is not None]
    whole = [(key, attempt) for key, attempt in found if not isinstance(attempt.result(), UserError)]
    return next(iter([*whole, *found]), None)


def judge(
    expectation: Expectation, attempt: Attempt, reference: tuple[tuple[str, str], Attempt] | None, key: tuple[str, str]
) -> Cell:
    """What an engine's outputs are worth."""
    messages = list(attempt.messages)
    status = attempt.status or "passed"
    first = attempt.outputs[0]
    error = None
    if isinstance(first, UserError):
        if attempt.status != "passed":
            status = "failed"
        if not messages:
            messages.append(str(first))
        return Cell(status, message=" ".join(messages))  # pyright: ignore[reportArgumentType]
    try:
        error = expectation.error(first)
    except UserError as problem:
        return Cell("failed", seconds=attempt.seconds, message=" ".join([*messages, first_line(problem)]))
    except ImportError as problem:
        packages = [TO_LABELS.get(step.id, "") for tensor in expectation.contents.outputs for step in tensor.operations]
        remedy = f": pip install {' '.join(filter(None, packages))}." if any(packages) else "."
        return Cell("absent", message=f"The output cannot be processed here ({first_line(problem)}){remedy}")
    except Exception as problem:  # whatever bioimageio.core says of the processing of a stranger's bundle
        return Cell(
            "unsupported", seconds=attempt.seconds, message=f"The output cannot be processed: {first_line(problem)}"
        )
    # bioimageio.core has a tolerance of its own, which the bundle may set
    if attempt.status is None and not error <= expectation.tolerance:
        status = "failed"
        part = "the objects' pixels" if expectation.labels else "its range"
        messages.append(f"The engine's output differs from the test tensor by {error:.1e} of {part}.")
    problems = _at_other_sizes(expectation, attempt, reference, key)
    if problems:
        status = "failed"
    found = None if expectation.labels else seam(expectation.contents, expectation.inputs, attempt.outputs)
    if found is not None and not found <= SEAM:
        problems.append(f"Tiles differ from the whole image by {found:.1e} of its range: the halo is too small.")
    message = " ".join([*messages, *problems])
    return Cell(status, error, attempt.seconds, message, found)  # pyright: ignore[reportArgumentType]


def _at_other_sizes(
    expectation: Expectation, attempt: Attempt, reference: tuple[tuple[str, str], Attempt] | None, key: tuple[str, str]
) -> list[str]:
    """What goes wrong with the entries besides the test input."""
    problems, entries = [], expectation.inputs.entries
    for number in range(1, len(entries)):
        output = attempt.outputs[number]
        if isinstance(output, UserError):
            return [*problems, str(output)]
        if reference is None or reference[0] == key:
            continue
        expected = reference[1].outputs[number]
        if isinstance(expected, UserError):
            continue
        shapes = ", ".join("x".join(map(str, array.shape)) for array in entries[number].values())
        other = f"{reference[0][0]} ({reference[0][1]})"
        for name, array in expected.items():
            if output[name].shape != array.shape:
                return [f"With an input of {shapes} it gives {name} another shape than {other}."]
            labels = expectation.labels and are_objects(array)
            difference = disagreement(output[name], array) if labels else relative_error(output[name], array)
            if not difference <= (TOLERANCE_OF_LABELS if labels else TOLERANCE):
                part = "the objects' pixels" if labels else "the range"
                return [f"With an input of {shapes} it differs from {other} by {difference:.1e} of {part}."]
    return problems


def _entries(contents: Contents) -> tuple[Sequence[Any], Sequence[Any]]:
    """Inputs and outputs as `bmzpack.operations.processing` takes them."""
    if not contents.is_old:
        return [_without_halo(entry) for entry in contents.rdf["inputs"]], [
            _without_halo(entry) for entry in contents.rdf["outputs"]
        ]
    with warnings.catch_warnings():
        # it says what it guesses when it brings a description to the latest format
        warnings.simplefilter("ignore")
        description = load_model(contents.root, contents.root / contents.file)
    return description.inputs, description.outputs


def _without_halo(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Processing does not depend on the halo, and a wrong one shall not keep a network from being run."""
    axes = [{key: value for key, value in axis.items() if key != "halo"} for axis in entry["axes"]]
    return dict(entry) | {"axes": axes}


def _contiguous(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32) if array.dtype == np.float64 else np.ascontiguousarray(array)


def first_line(error: Exception) -> str:
    """What an exception says, in one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
