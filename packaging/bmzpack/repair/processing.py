"""Preprocessing: the same computation, asked for in a way that all programs understand."""

from __future__ import annotations

import copy

from bmzpack import engines
from bmzpack.bundle.contents import Operation, number
from bmzpack.errors import UserError
from bmzpack.operations.scaling import FixedZeroMeanUnitVariance
from bmzpack.repair.trial import trial
from bmzpack.repair.work import Work

SAME = 1e-5
"""Largest difference of a preprocessed test tensor, relative to its range."""


def over_batch(work: Work) -> None:
    """P2: statistics of each image by itself, where the test tensor is one image."""
    for operation in _operations(work):
        axes = operation.kwargs.get("axes")
        if isinstance(axes, list) and "batch" in axes:
            kwargs = operation.kwargs | {"axes": [axis for axis in axes if axis != "batch"]}
            _write(work, "P2", Operation(operation.id, kwargs, operation.place), "batch is out of the axes")


def fixed_statistics(work: Work) -> None:
    """P5: a normalisation with one mean and one deviation as the scaling that it is; QuPath knows no other."""
    for operation in _operations(work):
        mean, deviation = (number(operation.kwargs.get(key)) for key in ("mean", "std"))
        if operation.id == "fixed_zero_mean_unit_variance" and mean is not None and deviation is not None:
            scaling = FixedZeroMeanUnitVariance({"mean": mean, "std": deviation}).as_scale_linear()
            written = Operation(scaling.id, dict(scaling.kwargs), operation.place)
            _write(work, "P5", written, "It is written as scale_linear")


def _operations(work: Work) -> list[Operation]:
    """The preprocessing of all inputs."""
    return [] if work.facts.is_old else [operation for tensor in work.facts.inputs for operation in tensor.operations]


def _write(work: Work, rule: str, operation: Operation, what: str) -> None:
    """Write an operation in the place of another, if the test tensors come out the same."""
    before = copy.deepcopy(work.rdf)
    try:
        old = trial(work).given[0]
        work.at(operation.place).update(id=operation.id, kwargs=operation.kwargs)
        work.look_again()
        new = trial(work).given[0]
        worst = max(engines.relative_error(new[name], old[name]) for name in old)
        if not worst <= SAME:
            raise UserError(f"the test tensor would come out {worst:.1e} of its range from what it was")
    except UserError as problem:
        work.undone(before)
        work.left(rule, operation.place, f"It cannot be written otherwise: {problem}.")
        return
    work.changed(rule, operation.place, f"{what}: the test tensor comes out the same, up to {worst:.1e} of its range.")
