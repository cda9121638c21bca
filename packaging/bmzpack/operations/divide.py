"""Pre- and postprocessing: what the bundle declares, and what goes into the graph.

Programs differ in the operations that they have and in how they compute them. An operation that would be computed
wrongly somewhere is put into the network's graph, or rewritten as another one that means the same; what remains is
declared in the bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bmzpack.errors import UserError
from bmzpack.operations.section import Processing

if TYPE_CHECKING:
    from bmzpack.describe.description import Input, Output
    from bmzpack.measure.axes import Tensor


def divide(
    inputs: Sequence[Tensor[Input]], outputs: Sequence[Tensor[Output]]
) -> tuple[dict[str, list[Processing]], dict[str, list[Processing]]]:
    """Divide the described operations into those that are declared and those that go into the graph.

    Parameters
    ----------
    inputs, outputs
        The network's tensors.

    Returns
    -------
    tuple of dict
        The declared operations, then those of the graph, by tensor id.

    Raises
    ------
    UserError
        An operation has arguments that no program computes rightly, or would have to go into the graph and cannot.
    """
    declared, in_graph = {}, {}
    for tensor in inputs:
        steps = tensor.described.preprocessing
        # what reads scalings badly opens no network of several inputs
        first = _first_in_graph(steps, preferred=len(inputs) == 1)
        declared[tensor.id] = _declared(steps[:first], tensor)
        in_graph[tensor.id] = _graph(steps[first:], tensor, "preprocessing")
    for tensor in outputs:
        steps = tensor.described.postprocessing
        end = len(steps) - _first_in_graph(steps[::-1])
        in_graph[tensor.id] = _graph(steps[:end], tensor, "postprocessing")
        declared[tensor.id] = _declared(steps[end:], tensor)
    return declared, in_graph


def _first_in_graph(steps: Sequence[Processing], preferred: bool = True) -> int:
    """From this operation on all are put into the graph, towards the network: one has to be, or one had better."""
    last_without = max((n + 1 for n, step in enumerate(steps) if not _can_be_layer(step)), default=0)
    needed = [n for n, step in enumerate(steps) if step.operation.needs_graph]
    better = [n for n, step in enumerate(steps) if n >= last_without and step.operation.prefers_graph]
    return min([*needed, *(better if preferred else []), len(steps)])


def _can_be_layer(step: Processing) -> bool:
    return step.operation.has_layer or step.id == "ensure_dtype"


def _graph(steps: Sequence[Processing], tensor: Tensor[Any], kind: str) -> list[Processing]:
    kept = [step for step in steps if step.id != "ensure_dtype"]
    by_channel = [step for step in kept if step.operation.needs_graph]
    if by_channel and "c" not in tensor.axes:
        raise UserError(
            f"{kind} of {tensor.id!r}: {by_channel[0].id} runs over channels, but the tensor has no channel axis."
        )
    for step in kept:
        if not step.operation.has_layer:
            cause = next(other.id for other in steps if other.operation.needs_graph)
            raise UserError(
                f"{kind} of {tensor.id!r}: {cause} is put into the network, because not every program computes it "
                f"rightly, and {step.id} would have to follow it there: change their order, or leave "
                f"{step.id} out."
            )
        counts = {len(value) for value in step.kwargs.values() if isinstance(value, list)} - {1, tensor.channels}
        if counts:
            raise UserError(
                f"{kind} of {tensor.id!r}: {step.id} has {counts.pop()} numbers for {tensor.channels} channels."
            )
    return kept


def _declared(steps: Sequence[Processing], tensor: Tensor[Any]) -> list[Processing]:
    declared = []
    for step in steps:
        if "batch" in step.kwargs.get("axes", ()):
            whole = [axis for axis in ("channel", "z", "y", "x", "index") if axis in tensor.ids]
            raise UserError(
                f"{step.id} of {tensor.id!r} runs over the batch axis, which Fiji computes wrongly: "
                f"write its axes as {whole}."
            )
        operation = step.operation.declared(tensor.ids, tensor.channels)
        declared.append(Processing(id=operation.id, kwargs=dict(operation.kwargs)))
    return declared
