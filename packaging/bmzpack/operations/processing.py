"""Pre- and postprocessing: what the bundle declares, what goes into the graph, and what it computes.

Programs differ in the operations that they have and in how they compute them. An operation that would be computed
wrongly somewhere is put into the network's graph, or rewritten as another one that means the same; what remains is
declared in the bundle and computed here as bioimageio.core does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pydantic

from bmzpack.describe.description import Processing
from bmzpack.errors import UserError

if TYPE_CHECKING:
    from bioimageio.core import Sample

    from bmzpack.describe.description import Input, Output
    from bmzpack.measure.axes import Tensor

EPSILON = 1e-6
"""What bioimageio.core adds to a standard deviation."""
INTO_GRAPH = ("scale_linear", "fixed_zero_mean_unit_variance", "sigmoid", "softmax")
"""Operations that have a Keras layer."""


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
        operations = tensor.given.preprocessing
        first = next((n for n, operation in enumerate(operations) if _needs_graph(operation)), len(operations))
        declared[tensor.id] = _declared(operations[:first], tensor)
        in_graph[tensor.id] = _graph(operations[first:], tensor, "preprocessing")
    for tensor in outputs:
        operations = tensor.given.postprocessing
        end = max((n + 1 for n, operation in enumerate(operations) if _needs_graph(operation)), default=0)
        in_graph[tensor.id] = _graph(operations[:end], tensor, "postprocessing")
        declared[tensor.id] = _declared(operations[end:], tensor)
    return declared, in_graph


def check_operations(operations: Sequence[Processing], kind: str, where: str) -> None:
    """Refuse operations whose arguments the zoo's specification does not know.

    Parameters
    ----------
    operations
        As described.
    kind
        ``preprocessing`` or ``postprocessing``.
    where
        Begins the message.

    Raises
    ------
    UserError
        An argument is missing, unknown or of another type.
    """
    from bioimageio.spec.model import v0_5

    known = pydantic.TypeAdapter(v0_5.PreprocessingDescr if kind == "preprocessing" else v0_5.PostprocessingDescr)
    for operation in operations:
        try:
            known.validate_python(operation.model_dump())
        except pydantic.ValidationError as error:
            problem = error.errors()[0]
            argument = str(problem["loc"][-1])
            raise UserError(
                f"{where}: the {kind} {operation.id} is not as specified: {argument}: {problem['msg'].lower()}."
            ) from error


def preprocess(entries: Sequence[dict[str, Any]], tensors: Mapping[str, np.ndarray]) -> Sample:
    """Compute the declared preprocessing as bioimageio.core does.

    Parameters
    ----------
    entries
        The inputs' entries of rdf.yaml.
    tensors
        Images by tensor id, in the tensors' axes.

    Returns
    -------
    bioimageio.core.Sample
        What the network is given; `arrays` reads it.
    """
    from bioimageio.core import Sample
    from bioimageio.spec.model import v0_5

    sample = Sample(members={}, stat={}, id="test")
    _process(sample, entries, tensors, v0_5.InputTensorDescr, "preprocessing")
    return sample


def postprocess(
    entries: Sequence[dict[str, Any]], tensors: Mapping[str, np.ndarray], sample: Sample
) -> dict[str, np.ndarray]:
    """Compute the declared postprocessing as bioimageio.core does.

    Parameters
    ----------
    entries
        The outputs' entries of rdf.yaml.
    tensors
        What the network gave, by tensor id.
    sample
        What it was given, from `preprocess`.

    Returns
    -------
    dict
        float32 arrays by tensor id.
    """
    from bioimageio.spec.model import v0_5

    _process(sample, entries, tensors, v0_5.OutputTensorDescr, "postprocessing")
    return arrays(sample, tensors)


def arrays(sample: Sample, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Tensors of a sample as float32 arrays."""
    members: dict[Any, Any] = dict(sample.members)
    return {name: np.asarray(members[name].data, np.float32) for name in names}


def _process(
    sample: Sample, entries: Sequence[dict[str, Any]], tensors: Mapping[str, np.ndarray], descriptor: Any, kind: str
) -> None:
    from bioimageio.core import Tensor
    from bioimageio.core.proc_ops import get_proc
    from bioimageio.core.stat_calculators import compute_measures
    from bioimageio.spec import ValidationContext

    with ValidationContext(perform_io_checks=False, log_warnings=False):
        descriptions = [descriptor.model_validate(entry) for entry in entries]
    members: Any = sample.members
    for description in descriptions:
        array = tensors[str(description.id)]
        members[description.id] = Tensor.from_numpy(array, dims=[axis.id for axis in description.axes])
    operations = [get_proc(step, description) for description in descriptions for step in getattr(description, kind)]
    measures = {measure for operation in operations for measure in operation.required_measures}
    sample.stat = compute_measures(measures, [sample])
    for operation in operations:
        operation(sample)


def _needs_graph(operation: Processing) -> bool:
    """Softmax, and what has one number per channel."""
    return operation.id == "softmax" or (
        operation.id in ("scale_linear", "fixed_zero_mean_unit_variance")
        and any(isinstance(value, Sequence) and not isinstance(value, str) for value in operation.kwargs.values())
    )


def _graph(operations: Sequence[Processing], tensor: Tensor[Any], kind: str) -> list[Processing]:
    kept = [operation for operation in operations if operation.id != "ensure_dtype"]
    if kept and "c" not in tensor.axes:
        raise UserError(
            f"{kind} of {tensor.id!r}: {kept[0].id} runs over channels, but the tensor has no channel axis."
        )
    for operation in kept:
        if operation.id not in INTO_GRAPH:
            cause = next(other.id for other in operations if _needs_graph(other))
            raise UserError(
                f"{kind} of {tensor.id!r}: {cause} is put into the network, because not every program computes it "
                f"rightly, and {operation.id} would have to follow it there: change their order, or leave "
                f"{operation.id} out."
            )
        counts = {len(value) for value in operation.kwargs.values() if isinstance(value, list)} - {1, tensor.channels}
        if counts:
            raise UserError(
                f"{kind} of {tensor.id!r}: {operation.id} has {counts.pop()} numbers for {tensor.channels} channels."
            )
    return kept


def _declared(operations: Sequence[Processing], tensor: Tensor[Any]) -> list[Processing]:
    whole = [axis for axis in ("channel", "z", "y", "x", "index") if axis in tensor.ids]
    declared = []
    for operation in operations:
        kwargs = dict(operation.kwargs)
        if "batch" in kwargs.get("axes", ()):
            raise UserError(
                f"{operation.id} of {tensor.id!r} runs over the batch axis, which Fiji computes wrongly: "
                f"write its axes as {whole}."
            )
        if operation.id in ("zero_mean_unit_variance", "scale_range"):
            given = set(kwargs.get("axes", whole))
            # of one channel it is the same with and without that axis, but Fiji wants it
            full = given == set(whole) or (tensor.channels == 1 and given | {"channel"} == set(whole))
            kwargs["axes"] = whole if full else list(kwargs["axes"])
        if operation.id == "fixed_zero_mean_unit_variance":
            # QuPath lacks it, and it is a linear scaling
            gain = 1 / (kwargs["std"] + EPSILON)
            declared.append(Processing(id="scale_linear", kwargs={"gain": gain, "offset": -kwargs["mean"] * gain}))
        else:
            declared.append(Processing(id=operation.id, kwargs=kwargs))
    return declared
