"""Preprocessing: the same computation, asked for in a way that all programs understand."""

from __future__ import annotations

from bmzpack import engines
from bmzpack.bundle.described import DescribedOperation, DescribedTensor
from bmzpack.bundle.values import number
from bmzpack.consumers.conditions.qupath_parser import READ, refused
from bmzpack.errors import UserError
from bmzpack.operations.scaling import FixedZeroMeanUnitVariance, ScaleLinear
from bmzpack.repairs.acceptance import acceptance_test
from bmzpack.repairs.work import Work

SAME = 1e-5
"""Largest difference of a preprocessed test tensor, relative to its range."""


def fixed_statistics(work: Work) -> None:
    """P5: a normalisation with one mean and one deviation as the scaling that it is; QuPath knows no other."""
    for tensor, operation in _operations(work):
        mean, deviation = (number(operation.kwargs.get(key)) for key in ("mean", "std"))
        if operation.id == "fixed_zero_mean_unit_variance" and mean is not None and deviation is not None:
            scaling = FixedZeroMeanUnitVariance({"mean": mean, "std": deviation}).declared(tensor.ids, tensor.channels)
            written = DescribedOperation(scaling.id, dict(scaling.kwargs), operation.place)
            _write(work, "P5", written, "It is written as scale_linear")


def arguments(work: Work) -> None:
    """P11 and P3: arguments in the form, and percentiles in the number, that QuPath reads."""
    for tensor, operation in _operations(work):
        kwargs = dict(operation.kwargs)
        if operation.id == "scale_linear" and refused(operation, kwargs):
            lists = ScaleLinear(kwargs).declared(tensor.ids, tensor.channels)
            written = DescribedOperation(operation.id, dict(lists.kwargs), operation.place)
            if not refused(written, written.kwargs):
                _write(work, "P11", written, "Gain and offset are lists of one number per channel")
        elif operation.id == "scale_range" and not {"min_percentile", "max_percentile"} <= set(kwargs):
            kwargs = {"min_percentile": 0.0, "max_percentile": 100.0} | kwargs
            _write(
                work, "P3", DescribedOperation(operation.id, kwargs, operation.place), "Both percentiles are written"
            )
        elif operation.id in READ and not isinstance((work.at(operation.place) or {}).get("kwargs"), dict):
            _write(work, "P11", DescribedOperation(operation.id, kwargs, operation.place), "It has kwargs")


def _operations(work: Work) -> list[tuple[DescribedTensor, DescribedOperation]]:
    """The preprocessing of all inputs."""
    return (
        []
        if work.contents.is_old
        else [(tensor, operation) for tensor in work.contents.inputs for operation in tensor.operations]
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
