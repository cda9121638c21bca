"""Declared pre- and postprocessing, checked as bioimageio.spec and computed as bioimageio.core does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pydantic

from bmzpack.errors import UserError
from bmzpack.operations.section import Processing

if TYPE_CHECKING:
    from bioimageio.core import Sample


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
            known.validate_python(operation.model_dump(exclude_defaults=True))
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
        The inputs of the network; `arrays` reads them.
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
        Its inputs, from `preprocess`.

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
    from bioimageio.core.axis import Axis
    from bioimageio.core.proc_ops import get_proc
    from bioimageio.core.stat_calculators import compute_measures
    from bioimageio.spec import ValidationContext

    with ValidationContext(perform_io_checks=False, log_warnings=False):
        descriptions = [descriptor.model_validate(entry) for entry in entries]
    members: Any = sample.members
    for description in descriptions:
        array = tensors[str(description.id)]
        members[description.id] = Tensor.from_numpy(array, dims=[Axis(axis.id, axis.type) for axis in description.axes])
    operations = [get_proc(step, description) for description in descriptions for step in getattr(description, kind)]
    measures = {measure for operation in operations for measure in operation.required_measures}
    sample.stat = compute_measures(measures, [sample])
    for operation in operations:
        operation(sample)
