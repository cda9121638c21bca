"""Operations of pre- and postprocessing, and how wrong they come out."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

import numpy as np

from bmzpack.bundle.contents import Contents
from bmzpack.bundle.described import DescribedOperation, DescribedTensor
from bmzpack.consumers.findings import Condition, Occurrence, Severity
from bmzpack.operations.operation import Operation
from bmzpack.operations.registry import find_operation

EXACT, SLIGHT = 1e-4, 1e-2
"""Errors, of the range: below the first they are those of any engine, above the second the result is another one."""
LARGEST_TRIED = 2**20
"""Values of a test tensor on which operations are tried; of a larger one a part is taken."""


def operations(contents: Contents) -> Iterator[tuple[DescribedTensor, DescribedOperation]]:
    """All operations with their tensors."""
    for tensor in contents.tensors:
        for operation in tensor.operations:
            yield tensor, operation


def named(*names: str) -> Condition:
    """Operations of these names."""

    def condition(contents: Contents) -> Iterator[Occurrence]:
        for _, operation in operations(contents):
            if operation.id in names:
                yield Occurrence(operation.place, f"The operation {operation.id} is asked for.")

    return condition


def of_inputs(contents: Contents) -> Iterator[Occurrence]:
    """Any preprocessing."""
    for tensor in contents.inputs:
        for operation in tensor.operations[:1]:
            yield Occurrence(operation.place, f"Integer images of {tensor.id} would be preprocessed as integers.")


def skipped(known: Container[str], but: Container[str] = ()) -> Condition:
    """Operations outside of a list, with the error of leaving them out."""

    def condition(contents: Contents) -> Iterator[Occurrence]:
        for tensor, operation in operations(contents):
            if operation.id not in known and operation.id not in but and not harmless(operation):
                error = error_of(contents, tensor, operation, _left_out)
                yield Occurrence(operation.place, f"The operation {operation.id} is left out{amount(error)}.")

    return condition


def only(name: str, condition: Condition) -> Condition:
    """The places of a condition that concern one operation."""

    def chosen(contents: Contents) -> Iterator[Occurrence]:
        places = {operation.place for _, operation in operations(contents) if operation.id == name}
        yield from (occurrence for occurrence in condition(contents) if occurrence.where in places)

    return chosen


def old_scale_linear_with_axes(contents: Contents) -> Iterator[Occurrence]:
    """A linear scaling of format 0.4 over some axes."""
    for _, operation in operations(contents):
        if contents.is_old and operation.id == "scale_linear" and operation.kwargs.get("axes") is not None:
            yield Occurrence(operation.place, "scale_linear has axes.")


def harmless(operation: DescribedOperation) -> bool:
    """Whether it makes no difference that an operation is left out: tensors are float32 everywhere."""
    return operation.id == "ensure_dtype" and operation.kwargs.get("dtype") == "float32"


def casts(contents: Contents) -> Iterator[Occurrence]:
    """Changes of the data type to another one than float32."""
    for tensor, operation in operations(contents):
        if operation.id == "ensure_dtype" and not harmless(operation):
            error = error_of(contents, tensor, operation, _left_out)
            yield Occurrence(
                operation.place,
                f"Values are to become {operation.kwargs.get('dtype')}{amount(error)}.",
                Severity.WRONG_RESULT if error is not None and error > SLIGHT else None,
            )


def _left_out(operation: Operation, image: np.ndarray, axes: list[str]) -> np.ndarray:
    return image


def amount(error: float | None) -> str:
    """An error as an end of a sentence."""
    if error is None:
        return ""
    share = f"{error:.2g} of its range" if error < 1 else "more than its range"
    return f": on the test image the result is off by up to {share}"


def error_of(
    contents: Contents,
    tensor: DescribedTensor,
    operation: DescribedOperation,
    other: Callable[[Operation, np.ndarray, list[str]], np.ndarray | None],
) -> float | None:
    """How far another computation is off on the bundle's own test image, relative to the range of the right one."""
    image = contents.array(tensor) if tensor in contents.inputs else None
    if not isinstance(image, np.ndarray) or image.ndim != len(tensor.ids) or image.dtype.kind not in "uif":
        return None
    while image.size > LARGEST_TRIED:
        longest = int(np.argmax(image.shape))
        image = image.take(range(image.shape[longest] // 2), longest)
    position = next(n for n, step in enumerate(tensor.operations) if step is operation)
    steps = [find_operation(step.id, step.kwargs) for step in tensor.operations[: position + 1]]
    try:
        with np.errstate(all="ignore"):
            for step in steps[:-1]:
                image = step and step.forward(image, tensor.ids)
                if image is None:
                    return None
            right = steps[-1] and steps[-1].forward(image, tensor.ids)
            wrong = steps[-1] and other(steps[-1], image, tensor.ids)
            if right is None or wrong is None:
                return None
            extent = float(np.ptp(right))
            error = float(np.abs(right - wrong).max()) / extent if extent else None
    except (TypeError, ValueError, KeyError, IndexError, OverflowError, MemoryError, AttributeError):
        return None
    return error if error is not None and np.isfinite(error) else None
