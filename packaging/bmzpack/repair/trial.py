"""The trial that every weights file has to pass before it is taken into a repaired bundle."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmzpack import engines
from bmzpack.bundle.contents import Facts
from bmzpack.bundle.protobuf import OnnxFile, SavedModel
from bmzpack.consumers.conditions import description
from bmzpack.engines import TensorNames
from bmzpack.errors import UserError
from bmzpack.repair.work import Work
from bmzpack.weights import FORMATS, TOLERANCE

LARGEST_TRIED = 2**22
"""Values of a tensor of another size, unless the test tensor is about as large."""
RUN_FIRST = ("onnx", "tensorflow_saved_model_bundle", "torchscript")
"""In the order of how soon they answer."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """The test tensors of a bundle, as its network is given them."""

    names: TensorNames
    entries: list[dict[str, Any]]
    """Of the outputs in rdf.yaml."""
    sample: Any
    given: list[dict[str, np.ndarray]]
    """Preprocessed test inputs; then the same cut or repeated to other sizes that the description allows."""
    expected: dict[str, np.ndarray]
    """Test outputs."""

    def run(self, name: str, path: Path, own: TensorNames | None = None) -> list[dict[str, np.ndarray] | UserError]:
        """Run a weights file on all inputs.

        Parameters
        ----------
        name
            The weights format.
        path
            The file.
        own
            The file's own names of its tensors, in the order of the bundle's tensor ids.

        Returns
        -------
        list
            One entry per entry of `given`: raw outputs by tensor id, or why there are none.
        """
        own = own or self.names
        renamed = [
            {mine: tensors[name] for mine, name in zip(own.inputs, self.names.inputs, strict=True)}
            for tensors in self.given
        ]
        try:
            (attempt,) = engines.attempt_files([(str(FORMATS[name].engine), path)], renamed, own)
        except UserError as error:
            return [error] * len(renamed)
        return [
            found
            if isinstance(found, UserError)
            else {name: found[mine] for mine, name in zip(own.outputs, self.names.outputs, strict=True)}
            for found in attempt.outputs
        ]

    def error(self, outputs: Mapping[str, np.ndarray]) -> float:
        """How far raw outputs are from the test outputs, relative to their range, after postprocessing.

        Raises
        ------
        UserError
            They are of another shape.
        """
        from bmzpack.operations import processing

        # the sample is changed by postprocessing
        try:
            with description._silent():
                done = processing.postprocess(self.entries, dict(outputs), _copied(self.sample))
        except Exception as problem:  # bioimageio.core's own, on what no rule has found
            raise UserError(f"its output cannot be postprocessed: {_short(problem)}") from problem
        return max(_relative_error(done[name], self.expected[name], name) for name in self.names.outputs)

    def accept(self, name: str, path: Path, before: Sequence[dict[str, np.ndarray] | UserError] | None = None) -> float:
        """Take a new weights file.

        Parameters
        ----------
        name, path
            Its format and place.
        before
            What the file that it replaces gave.

        Returns
        -------
        float
            Largest difference from the test outputs, relative to their range.

        Raises
        ------
        UserError
            It does not run, or not give the test outputs or what the file before gave.
        """
        outputs = self.run(name, path)
        first = outputs[0]
        if isinstance(first, UserError):
            raise first
        error = self.error(first)
        if not error <= TOLERANCE:
            raise UserError(f"it differs from the test output by {error:.1e} of the range")
        for new, old in zip(outputs, before or [], strict=False):
            if isinstance(old, UserError):
                continue
            if isinstance(new, UserError):
                raise UserError("it does not take images of other sizes, which the file before took")
            worst = max(_relative_error(new[name], old[name], name) for name in old)
            if not worst <= TOLERANCE:
                raise UserError(f"it differs from the file before by {worst:.1e} of the range")
        return error


def trial(work: Work, sizes: int = 2) -> Trial:
    """The trial of a bundle.

    Parameters
    ----------
    work
        The bundle.
    sizes
        How many other sizes than that of the test tensors are tried, where the description allows several.

    Raises
    ------
    UserError
        Its test tensors are not there, not those that are meant, or do not fit the description.
    """
    from bmzpack.operations import processing

    facts = work.facts
    if facts.is_old:
        raise UserError("the description is of format 0.4")
    arrays = {}
    for tensor in facts.tensors:
        if f"{tensor.place}.test_tensor" in work.suspects:
            raise UserError(f"the test tensor of {tensor.id} has another checksum than is said")
        array = facts.array(tensor)
        if not isinstance(array, np.ndarray):
            raise UserError(f"there is no test tensor of {tensor.id} that could be compared with")
        arrays[tensor.id] = np.array(array)
    entries = {
        tensor.id: {
            key: value for key, value in (work.at(tensor.place) or {}).items() if not str(key).endswith("_tensor")
        }
        for tensor in facts.tensors
    }
    names = TensorNames([tensor.id for tensor in facts.inputs], [tensor.id for tensor in facts.outputs])
    try:
        with description._silent():  # bioimageio.spec logs what it would like to know besides
            sample = processing.preprocess([entries[name] for name in names.inputs], arrays)
    except Exception as error:  # bioimageio.core's own, on what no rule has found
        raise UserError(f"the test input cannot be preprocessed: {_short(error)}") from error
    first = processing.arrays(sample, names.inputs)
    expected = {name: arrays[name].astype(np.float32) for name in names.outputs}
    others = [_resized(facts, first, n) for n in range(sizes)] if _is_open(facts) else []
    given = [first, *(tensors for tensors in others if tensors is not None)]
    return Trial(names, [entries[name] for name in names.outputs], sample, given, expected)


def own_names(facts: Facts, name: str) -> TensorNames | None:
    """The names that a weights file gives the bundle's tensors, in their order; None where they cannot be told."""
    found = {"onnx": lambda: facts.onnx, "tensorflow_saved_model_bundle": lambda: facts.saved_model}.get(name)
    inputs, outputs = [tensor.id for tensor in facts.inputs], [tensor.id for tensor in facts.outputs]
    if found is None:
        return TensorNames(inputs, outputs)
    ends = found()
    if not isinstance(ends, OnnxFile | SavedModel):
        return None
    one, other = matched(inputs, list(ends.inputs), name), matched(outputs, list(ends.outputs), name)
    return TensorNames(one, other) if one and other else None


def matched(ids: Sequence[str], names: Sequence[str], kind: str) -> list[str] | None:
    """Names in a file for tensor ids: the same, or else by their order; None where there are more or fewer."""
    if set(ids) <= set(names):
        return list(ids)
    if len(ids) != len(names):
        return None
    # a signature has no order: output_2 comes before output_10
    return list(names) if kind == "onnx" else sorted(names, key=_natural)


def runnable(work: Work) -> list[tuple[str, Path, TensorNames]]:
    """Weights that can be run here: format, file and its own names of the tensors."""
    found = []
    for name in RUN_FIRST:
        path, own = work.trusted(name), own_names(work.facts, name)
        if path and own:
            found.append((name, path, own))
    return found


def _is_open(facts: Facts) -> bool:
    return any(axis.step for tensor in facts.inputs for axis in tensor.axes if axis.id != "batch")


def _resized(facts: Facts, tensors: Mapping[str, np.ndarray], number: int) -> dict[str, np.ndarray] | None:
    """The tensors in the smallest size and ``number`` steps more along one axis, cut or repeated; None if too large."""
    sizes: dict[tuple[str, str], int] = {}
    for tensor in facts.inputs:
        opened = [axis for axis in tensor.axes if axis.step and axis.minimum]
        for axis, length in zip(tensor.axes, tensors[tensor.id].shape, strict=True):
            more = number * (axis.step or 0) if axis in opened[-1:] else 0
            sizes[tensor.id, axis.id] = (axis.minimum or 1) + more if axis.step and axis.id != "batch" else length
    for tensor in facts.inputs:
        for axis in tensor.axes:
            if other := facts.referred(axis):
                size = sizes[other[0].id, other[1].id]
                sizes[tensor.id, axis.id] = round(size * facts.ratio(axis) + axis.offset)
    resized = {}
    for tensor in facts.inputs:
        array = tensors[tensor.id]
        if math.prod(sizes[tensor.id, axis.id] for axis in tensor.axes) > max(4 * array.size, LARGEST_TRIED):
            return None
        for position, axis in enumerate(tensor.axes):
            array = np.take(array, range(sizes[tensor.id, axis.id]), axis=position, mode="wrap")
        resized[tensor.id] = np.ascontiguousarray(array)
    return resized


def _relative_error(got: np.ndarray, expected: np.ndarray, name: str) -> float:
    if got.shape != expected.shape:
        raise UserError(f"it gives {name} the shape {got.shape}, where {expected.shape} is expected")
    return engines.relative_error(got, expected)


def _copied(sample: Any) -> Any:
    return dataclasses.replace(sample, members=dict(sample.members), stat=dict(sample.stat))


def _natural(name: str) -> list[Any]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200].rstrip('.')}"
