"""Preprocessing: the same computation, asked for in a way that all programs understand."""

from __future__ import annotations

from bmzpack import engines
from bmzpack.bundle.described import DescribedOperation
from bmzpack.bundle.values import number
from bmzpack.errors import UserError
from bmzpack.operations.scaling import FixedZeroMeanUnitVariance
from bmzpack.repairs.acceptance import acceptance_test
from bmzpack.repairs.work import Work

SAME = 1e-5
"""Largest difference of a preprocessed test tensor, relative to its range."""


def over_batch(work: Work) -> None:
    """P2: statistics of each image by itself, where the test tensor is one image."""
    for operation in _operations(work):
        axes = operation.kwargs.get("axes")
        if isinstance(axes, list) and "batch" in axes:
            kwargs = operation.kwargs | {"axes": [axis for axis in axes if axis != "batch"]}
            _write(work, "P2", DescribedOperation(operation.id, kwargs, operation.place), "batch is out of the axes")


def fixed_statistics(work: Work) -> None:
    """P5: a normalisation with one mean and one deviation as the scaling that it is; QuPath knows no other."""
    for operation in _operations(work):
        mean, deviation = (number(operation.kwargs.get(key)) for key in ("mean", "std"))
        if operation.id == "fixed_zero_mean_unit_variance" and mean is not None and deviation is not None:
            scaling = FixedZeroMeanUnitVariance({"mean": mean, "std": deviation}).as_scale_linear()
            written = DescribedOperation(scaling.id, dict(scaling.kwargs), operation.place)
            _write(work, "P5", written, "It is written as scale_linear")


def _operations(work: Work) -> list[DescribedOperation]:
    """The preprocessing of all inputs."""
    return (
        []
        if work.contents.is_old
        else [operation for tensor in work.contents.inputs for operation in tensor.operations]
    )


def _write(work: Work, rule: str, operation: DescribedOperation, what: str) -> None:
    """Write an operation in the place of another, if the test tensors come out the same."""
    with work.attempt([(rule, operation.place)], "It cannot be written otherwise"):
        old = acceptance_test(work).inputs[0]
        work.at(operation.place).update(id=operation.id, kwargs=operation.kwargs)
        work.reread()
        new = acceptance_test(work).inputs[0]
        worst = max(engines.relative_error(new[name], old[name]) for name in old)
        if not worst <= SAME:
            raise UserError(f"the test tensor would come out {worst:.1e} of its range from what it was")
        same = f"the test tensor comes out the same, up to {worst:.1e} of its range"
        work.changed(rule, operation.place, f"{what}: {same}.")
