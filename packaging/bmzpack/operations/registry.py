"""The operations of pre- and postprocessing: one class for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmzpack.operations import instances, pointwise, scaling, statistics
from bmzpack.operations.operation import Operation

OPERATIONS: dict[str, type[Operation]] = {
    operation.id: operation
    for operation in (
        pointwise.Binarize,
        instances.CellposeFlowDynamics,
        pointwise.Clip,
        pointwise.EnsureDtype,
        scaling.FixedZeroMeanUnitVariance,
        scaling.ScaleLinear,
        statistics.ScaleMeanVariance,
        statistics.ScaleRange,
        pointwise.Sigmoid,
        pointwise.Softmax,
        instances.StardistPostprocessing,
        statistics.ZeroMeanUnitVariance,
    )
}
"""By their names in rdf.yaml, in alphabetical order."""


def find_operation(name: str, kwargs: Mapping[str, Any]) -> Operation | None:
    """An operation with its arguments; None for a name that is not among `OPERATIONS`."""
    found = OPERATIONS.get(name)
    return found(kwargs) if found else None
