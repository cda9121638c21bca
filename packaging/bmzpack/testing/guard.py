"""What of a stranger's bundle is not run, and why: read from the files, before any framework sees them.

A weights file is a program. Most can only compute; what is refused here could do more: execute Python, read or write
files, or fill the memory. ``--trust`` runs it nevertheless, except what no honest bundle holds. This is the first,
friendly answer; what protects is `bmzpack.engines.sandbox`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bmzpack.bundle.contents import Contents
from bmzpack.engines import sandbox
from bmzpack.testing.inputs import STEPS, sizes_at
from bmzpack.weights import find_format
from bmzpack.weights.format import TRUST

LARGEST = 2**30
"""Bytes of a test tensor or of an input that the description asks for, up to which a bundle is run."""


def refused(contents: Contents, name: str, trust: bool) -> str | None:
    """Why a weights file is not run, in one sentence, or None where it can be.

    Parameters
    ----------
    contents
        The bundle.
    name
        The weights format.
    trust
        Whether the bundle's Python code may be executed.

    Raises
    ------
    UserError
        The file is damaged: no engine could run it.
    """
    path = contents.weights_file(name)
    source = contents.weights[name].source
    if path is None:
        return f"{source or 'The file'} is not in the bundle."
    form = find_format(name)
    if form is None:
        return None
    if form.program and not trust and (obstacle := sandbox.obstacle()):
        return f"{path.name} is a program, and is run where the system can confine it only: {obstacle}. {TRUST}"
    return form.refusal(contents, path, trust)


def refused_bundle(contents: Contents, trust: bool) -> str | None:
    """Why nothing of a bundle is run, in one sentence, or None where it can be."""
    if contents.problems or not contents.inputs or not contents.outputs:
        return (
            f"The description cannot be understood: {contents.problems[0][1] if contents.problems else 'no tensors'}."
        )
    ids = [tensor.id for tensor in contents.tensors]
    if len(set(ids)) < len(ids):
        return "Two tensors have the same id."
    for tensor in contents.tensors:
        if not trust and any(operation.id == "custom" for operation in tensor.operations):
            return f"The processing of {tensor.id} is Python code of the bundle, which is not executed. {TRUST}"
    for n, tensor in enumerate(contents.rdf["inputs"]):
        if isinstance(tensor, Mapping) and tensor.get("output_of") is not None:
            return f"inputs.{n} is the output of another model, which is not fetched."
    for tensor in contents.tensors:
        if contents.local(tensor.test) is None:
            return f"The test tensor of {tensor.id}, {tensor.test or 'which has no name'}, is not in the bundle."
        array = contents.array(tensor)
        if not isinstance(array, np.ndarray):
            return f"{tensor.test} cannot be read: {array}."
        if array.nbytes > LARGEST:
            return f"{tensor.test} holds {_gigabytes(array.nbytes)}: it is not loaded."
        if array.ndim != len(tensor.axes):
            return f"{tensor.test} has {array.ndim} axes, but {len(tensor.axes)} are described."
        if array.dtype.kind not in "uifb" or array.size == 0:
            return f"{tensor.test} holds no numbers."
    for key in ("inputs", "outputs"):
        for size in _numbers([[entry.get("axes"), entry.get("shape")] for entry in contents.rdf[key]]):
            if not abs(size) <= LARGEST:
                return f"A size of {size:.2g} pixels is declared in {key}: nothing of that size is made."
    for steps in STEPS:
        sizes = sizes_at(contents, None, steps)
        for tensor in contents.inputs:
            size = 4 * math.prod(sizes[tensor.id, axis.id] for axis in tensor.axes)
            if size > LARGEST:
                which = f"{steps} steps above its smallest size" if steps else "of its smallest size"
                return f"{tensor.id}, {which}, would take {_gigabytes(size)}: nothing of that size is made."
    return None


def _numbers(value: Any) -> Iterator[float]:
    """All numbers of sizes, those that make no sense included; a pixel has other sizes."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, Mapping):
        yield from (number for key, part in value.items() if key != "scale" for number in _numbers(part))
    elif isinstance(value, list):
        yield from (number for part in value for number in _numbers(part))


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
