"""The test that every weights file has to pass before it is taken into a repaired bundle."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmzpack import engines
from bmzpack.bundle.contents import Contents
from bmzpack.bundle.described import every_axis
from bmzpack.bundle.protobuf import OnnxFile, SavedModel
from bmzpack.bundle.specification import silent
from bmzpack.engines import TensorNames
from bmzpack.errors import UserError
from bmzpack.repairs.work import Work
from bmzpack.testing.guard import refused
from bmzpack.weights import FORMATS, TOLERANCE

LARGEST_TRIED = 2**22
"""Values of a tensor of another size, unless the test tensor is about as large."""
LONGEST = 300.0
"""Seconds that one file may take."""
RUN_FIRST = ("onnx", "tensorflow_saved_model_bundle", "torchscript")
"""In the order of how soon they answer."""


@dataclasses.dataclass(frozen=True)
class AcceptanceTest:
    """The test tensors of a bundle: what goes into its network, and what has to come out."""

    contents: Contents
    names: TensorNames
    entries: list[dict[str, Any]]
    """The outputs as rdf.yaml has them."""
    sample: Any
    inputs: list[dict[str, np.ndarray]]
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
            One entry per entry of `inputs`: raw outputs by tensor id, or why there are none.
        """
        own = own or self.names
        renamed = [
            {mine: tensors[name] for mine, name in zip(own.inputs, self.names.inputs, strict=True)}
            for tensors in self.inputs
        ]
        try:
            # what is made here of a stranger's file was made of one that had been looked at
            if path == self.contents.weights_file(name) and (reason := refused(self.contents, name, trust=False)):
                raise UserError(reason)
            files = [(str(FORMATS[name].engine), path)]
            (attempt,) = engines.attempt_files(files, renamed, own, seconds=LONGEST)
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
            with silent():
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


def acceptance_test(work: Work, sizes: int = 2) -> AcceptanceTest:
    """Make the test of a bundle.

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

    contents = work.contents
    if contents.is_old:
        raise UserError("the description is of format 0.4")
    arrays = {}
    for tensor in contents.tensors:
        if f"{tensor.place}.test_tensor" in work.suspects:
            raise UserError(f"the test tensor of {tensor.id} has another checksum than is said")
        array = contents.array(tensor)
        if not isinstance(array, np.ndarray):
            raise UserError(f"there is no test tensor of {tensor.id} that could be compared with")
        arrays[tensor.id] = np.array(array)
    entries = {
        tensor.id: {
            key: value for key, value in (work.at(tensor.place) or {}).items() if not str(key).endswith("_tensor")
        }
        for tensor in contents.tensors
    }
    names = TensorNames([tensor.id for tensor in contents.inputs], [tensor.id for tensor in contents.outputs])
    try:
        with silent():  # bioimageio.spec logs what it would like to know besides
            sample = processing.preprocess([entries[name] for name in names.inputs], arrays)
    except Exception as error:  # bioimageio.core's own, on what no rule has found
        raise UserError(f"the test input cannot be preprocessed: {_short(error)}") from error
    first = processing.arrays(sample, names.inputs)
    expected = {name: arrays[name].astype(np.float32) for name in names.outputs}
    others = [_resized(contents, first, n) for n in range(sizes)] if _is_open(contents) else []
    tensors = [first, *(other for other in others if other is not None)]
    return AcceptanceTest(contents, names, [entries[name] for name in names.outputs], sample, tensors, expected)


def own_names(contents: Contents, name: str) -> TensorNames | None:
    """The names that a weights file gives the bundle's tensors, in their order; None where they are not known."""
    found = {"onnx": lambda: contents.onnx, "tensorflow_saved_model_bundle": lambda: contents.saved_model}.get(name)
    inputs, outputs = [tensor.id for tensor in contents.inputs], [tensor.id for tensor in contents.outputs]
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
        path, own = work.trusted(name), own_names(work.contents, name)
        if path and own:
            found.append((name, path, own))
    return found


def _is_open(contents: Contents) -> bool:
    return any(axis.step for tensor in contents.inputs for axis in tensor.axes if axis.id != "batch")


def _resized(contents: Contents, tensors: Mapping[str, np.ndarray], number: int) -> dict[str, np.ndarray] | None:
    """The tensors in the smallest size and ``number`` steps more along one axis, cut or repeated; None if too large."""
    sizes: dict[tuple[str, str], int] = {}
    for tensor in contents.inputs:
        opened = [axis for axis in tensor.axes if axis.step and axis.minimum]
        for axis, length in zip(tensor.axes, tensors[tensor.id].shape, strict=True):
            more = number * (axis.step or 0) if axis in opened[-1:] else 0
            sizes[tensor.id, axis.id] = (axis.minimum or 1) + more if axis.step and axis.id != "batch" else length
    for tensor, axis in every_axis(contents.inputs):
        if other := contents.referred(axis):
            size = sizes[other[0].id, other[1].id]
            sizes[tensor.id, axis.id] = round(size * contents.ratio(axis) + axis.offset)
    resized = {}
    for tensor in contents.inputs:
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
    return [int(part) if part.isdecimal() and len(part) < 20 else part for part in re.split(r"(\d+)", name)]


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200].rstrip('.')}"
