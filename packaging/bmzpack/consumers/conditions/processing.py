"""Operations of pre- and postprocessing, and how wrong they come out."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

import numpy as np

from bmzpack.bundle.contents import Contents
from bmzpack.bundle.described import DescribedOperation, DescribedTensor
from bmzpack.consumers import jdll
from bmzpack.consumers.findings import Condition, Occurrence, Severity
from bmzpack.operations.operation import Operation, axes_of
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


def skipped(known: Container[str], but: Container[str] = ()) -> Condition:
    """Operations outside of a list, with the error of leaving them out."""

    def condition(contents: Contents) -> Iterator[Occurrence]:
        for tensor, operation in operations(contents):
            if operation.id not in known and operation.id not in but and not harmless(operation):
                error = _error(contents, tensor, operation, _left_out)
                yield Occurrence(operation.place, f"The operation {operation.id} is left out{_amount(error)}.")

    return condition


def only(name: str, condition: Condition) -> Condition:
    """The places of a condition that concern one operation."""

    def chosen(contents: Contents) -> Iterator[Occurrence]:
        places = {operation.place for _, operation in operations(contents) if operation.id == name}
        yield from (occurrence for occurrence in condition(contents) if occurrence.where in places)

    return chosen


def harmless(operation: DescribedOperation) -> bool:
    """Whether it makes no difference that an operation is left out: tensors are float32 everywhere."""
    return operation.id == "ensure_dtype" and operation.kwargs.get("dtype") == "float32"


def casts(contents: Contents) -> Iterator[Occurrence]:
    """Changes of the data type to another one than float32."""
    for tensor, operation in operations(contents):
        if operation.id == "ensure_dtype" and not harmless(operation):
            error = _error(contents, tensor, operation, _left_out)
            yield Occurrence(
                operation.place,
                f"Values are to become {operation.kwargs.get('dtype')}{_amount(error)}.",
                Severity.WRONG_RESULT if error is not None and error > SLIGHT else None,
            )


def some_axes_of_many_channels(contents: Contents) -> Iterator[Occurrence]:
    """Statistics over y and x alone, where there are several channels."""
    for tensor, operation in operations(contents):
        axes = axes_of(operation.kwargs)
        if operation.id != "zero_mean_unit_variance" or axes is None or "batch" in axes:
            continue
        whole = [axis for axis in ("channel", "z", "y", "x") if axis in tensor.ids]
        left_out = [axis for axis in whole if axis not in axes and (axis != "channel" or tensor.channels > 1)]
        if left_out:
            error = _error(contents, tensor, operation, jdll.transformed)
            yield Occurrence(
                operation.place,
                f"Mean and deviation are asked for over {', '.join(axes) or 'no axes'}, for each {left_out[0]} by "
                f"itself{_amount(error)}.",
                remedy=f"Let it run over {', '.join(whole)}, or put the normalisation per channel into the network.",
            )


def over_batch(contents: Contents) -> Iterator[Occurrence]:
    """Statistics over the batch axis."""
    for _, operation in operations(contents):
        if "batch" in (axes_of(operation.kwargs) or ()):
            yield Occurrence(
                operation.place, f"{operation.id} runs over the axes {', '.join(axes_of(operation.kwargs) or ())}."
            )


def rough_percentiles(contents: Contents) -> Iterator[Occurrence]:
    """Percentiles, which are not interpolated, and reference tensors, which are not looked at."""
    for tensor, operation in operations(contents):
        if operation.id != "scale_range" or "batch" in (axes_of(operation.kwargs) or ()):
            continue
        if operation.kwargs.get("reference_tensor"):
            yield Occurrence(
                operation.place,
                f"The percentiles are to be those of the tensor {operation.kwargs['reference_tensor']}.",
                Severity.WRONG_RESULT,
                remedy="Put the scaling into the network, or leave it out.",
            )
        else:
            error = _error(contents, tensor, operation, jdll.transformed)
            if error is None or error > EXACT:
                yield Occurrence(operation.place, f"Percentiles decide the scaling{_amount(error)}.")


def per_channel(name: str) -> Condition:
    """An operation with one number per channel."""

    def condition(contents: Contents) -> Iterator[Occurrence]:
        for tensor, operation in operations(contents):
            lists = [value for value in operation.kwargs.values() if isinstance(value, list)]
            if operation.id != name or not lists:
                continue
            error = None
            if name == "scale_linear":
                if all(value[1:] == value[:-1] for value in lists):
                    continue  # the first number is that of all
                error = _error(contents, tensor, operation, jdll.transformed)
            yield Occurrence(operation.place, f"{name} has one number per channel{_amount(error)}.")

    return condition


def open_clip(contents: Contents) -> Iterator[Occurrence]:
    """A clip without both ends as numbers."""
    for _, operation in operations(contents):
        if operation.id == "clip" and not {"min", "max"} <= {
            key for key, value in operation.kwargs.items() if value is not None
        }:
            given = ", ".join(f"{key}: {value}" for key, value in operation.kwargs.items())
            yield Occurrence(operation.place, f"clip is given {given or 'nothing'}.")


def _left_out(operation: Operation, image: np.ndarray, axes: list[str]) -> np.ndarray:
    return image


def _amount(error: float | None) -> str:
    """An error as an end of a sentence."""
    if error is None:
        return ""
    amount = f"{error:.2g} of its range" if error < 1 else "more than its range"
    return f": on the test image the result is off by up to {amount}"


def _error(
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
