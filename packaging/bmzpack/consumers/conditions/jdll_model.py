"""What the exact model of JDLL says of a bundle: casts, image sizes, operations, and how its Python engines load it."""

from __future__ import annotations

import collections
from collections.abc import Container, Iterator, Mapping
from typing import Any

import numpy as np

from bmzpack.bundle.contents import Contents
from bmzpack.bundle.described import DescribedOperation, DescribedTensor
from bmzpack.bundle.protobuf import OnnxFile, SavedModel
from bmzpack.bundle.values import mapping, sequence
from bmzpack.consumers.conditions.processing import EXACT, amount, error_of, operations
from bmzpack.consumers.findings import Condition, Occurrence, Severity, Sides
from bmzpack.consumers.jdll.descriptor import DTYPES, Refused
from bmzpack.consumers.jdll.processing import ARGUMENTS, Transformation
from bmzpack.consumers.jdll.sides import described, sides, trial_of
from bmzpack.consumers.jdll.weights import STATE_DICT, order, runs_in_python

USUAL = 2048
"""Images of sides up to this one are usual: that one of these is refused limits a model."""
TEXTS = ("name", "description", "id", "license", "git_repo")
PERSON = ("affiliation", "email", "github_user", "name", "orcid")
AXES = ("z", "y", "x")
LETTERS = {"batch": "b", "channel": "c", "index": "i", "time": "t"}
"""Axis ids of the specification whose letter in format 0.4 is another one."""


def entries_of_another_type(contents: Contents) -> Iterator[Occurrence]:
    """Entries that JDLL casts to a type that they are not of."""
    for key in TEXTS:
        value = contents.rdf.get(key)
        if value is not None and not isinstance(value, str):
            yield Occurrence(key, f"{key} is {value!r}, which is no text.")
    for key in ("authors", "maintainers", "packaged_by", "cite"):
        fields = ("text", "doi", "url") if key == "cite" else PERSON
        for n, entry in enumerate(sequence(contents.rdf.get(key))):
            for field in fields:
                value = mapping(entry).get(field)
                if value is not None and not isinstance(value, str):
                    yield Occurrence(f"{key}.{n}.{field}", f"{field} is {value!r}, which is no text.")
    yield from refused_description("D3")(contents)


def refused_description(rule: str) -> Condition:
    """What ends JDLL's reading of inputs, outputs and config, for the reason of a rule."""

    def condition(contents: Contents) -> Iterator[Occurrence]:
        refused = described(contents)
        if isinstance(refused, Refused) and refused.rule == rule:
            yield Occurrence(refused.place, f"{refused.why}.")

    return condition


def refused_images(rule: str) -> Condition:
    """Square images that JDLL refuses for the reason of a rule: all of them, or some of a usual size."""

    def condition(contents: Contents) -> Iterator[Occurrence]:
        found = sides(contents)
        if found is None:
            return
        by_data = {axis.place for tensor in contents.outputs for axis in tensor.axes if axis.by_data}
        smallest = 1 if not found.running else _smallest(contents)
        if not found.running and rule != _commonest(found):
            return
        said: set[tuple[str, str]] = set()
        for stretch in found.stretches:
            key = (stretch.where, stretch.why)
            matters = stretch.first <= USUAL and (stretch.last or USUAL) >= smallest
            if stretch.rule != rule or key in said or stretch.where in by_data or not matters:
                continue
            said.add(key)
            if not found.running:
                yield Occurrence(stretch.where, f"All images{_planes(found)} are refused: {stretch.why}.")
            else:
                first = max(stretch.first, smallest)
                yield Occurrence(
                    stretch.where,
                    f"{_images(first, stretch.last)} are refused: {stretch.why}. Images of {found} run.",
                    Severity.DEGRADED,
                )

    return condition


def _commonest(found: Sides) -> str:
    """The rule that refuses most images of usual sizes."""
    counts = collections.Counter[str]()
    for stretch in found.stretches:
        counts[stretch.rule] += max(0, min(stretch.last or USUAL, USUAL) - stretch.first + 1)
    return counts.most_common(1)[0][0]


def _smallest(contents: Contents) -> int:
    """The smallest side that the description allows."""
    sizes = [
        axis.smallest for tensor in contents.inputs for axis in tensor.axes if axis.id in ("y", "x") and axis.smallest
    ]
    return max(sizes, default=1)


def _images(first: int, last: int | None) -> str:
    if first == last:
        return f"Images of {first:,} pixels a side"
    return f"Images of {first:,} to {min(last or USUAL, USUAL):,} pixels a side"


def _planes(found: Sides) -> str:
    return f" of {found.planes} planes" if found.planes else ""


def several_tiles_of_vectors(contents: Contents) -> Iterator[Occurrence]:
    """Outputs that are no images: they are shown as one pixel, and hold what the last tile gave."""
    model, trial = described(contents), trial_of(contents)
    if isinstance(model, Refused) or trial is None:
        return
    tiled = np.flatnonzero((trial.refused < 0) & (trial.count_of_tiles > 1))
    for tensor in model.outputs:
        if not tensor.is_image:
            from_side = (
                f" From {tiled[0] + 1} pixels a side on it is that of the last tile alone." if tiled.size else ""
            )
            yield Occurrence(
                f"{tensor.place}.axes",
                f"{tensor.name} is no image: it is shown as 1 x 1 pixels with the values as channels.{from_side}",
            )


def outputs_of_another_dtype(contents: Contents) -> Iterator[Occurrence]:
    """Outputs that are declared with another data type than the network gives: JDLL cannot put one into the other."""
    graphs = {"onnx": contents.onnx, "tensorflow_saved_model_bundle": contents.saved_model}
    taken = next(iter(order(contents)), None)
    graph = graphs.get(taken or "")
    ends = graph.outputs if isinstance(graph, OnnxFile | SavedModel) else {}
    for n, tensor in enumerate(contents.outputs):
        if tensor.dtype not in DTYPES:
            continue  # refused for every image
        end = list(ends.values())[n] if n < len(ends) else None
        given = end.dtype if end is not None and end.dtype in DTYPES else None
        casts = [operation.id for operation in tensor.operations if operation.id in ("ensure_dtype", "binarize")]
        if given is None and casts and tensor.dtype != "float32":
            given = "float32"
        if given is not None and given != tensor.dtype:
            yield Occurrence(
                f"{tensor.place}.data", f"{tensor.id} is declared as {tensor.dtype}, and the network gives {given}."
            )


def sent_to_stardist(contents: Contents) -> Iterator[Occurrence]:
    """A model that JDLL hands to Python StarDist, which needs weights of its own."""
    configuration = contents.config.get("stardist")
    if "stardist" not in contents.name.lower() or configuration is None:
        return
    if contents.is_old:
        yield Occurrence(
            "config.stardist",
            "JDLL takes it for a StarDist model, and looks for its test tensors at a path that is joined twice.",
        )
    elif not any(path.suffix == ".h5" for path in contents.root.iterdir()):
        yield Occurrence(
            "config.stardist", "JDLL takes it for a StarDist model, and there are no weights of StarDist (.h5)."
        )
    else:
        letters = {axis.id for tensor in contents.tensors for axis in tensor.axes}
        lacking = [
            axis for axis in ("batch", "x", "y", "channel") for tensor in contents.tensors if axis not in tensor.ids
        ]
        if lacking or "z" in letters:
            yield Occurrence("config.stardist", "JDLL gives StarDist images of the axes batch, y, x and channel only.")
        else:
            yield Occurrence(
                "config.stardist",
                "JDLL hands it to Python StarDist with the .h5 file; whether that loads is not known.",
                Severity.DEGRADED,
            )


def architecture_as_text(contents: Contents) -> Iterator[Occurrence]:
    """A state dict, run in Python, whose architecture is no mapping."""
    entry = contents.weights.get(STATE_DICT)
    if entry is not None and runs_in_python(contents.weights):
        architecture = entry.content.get("architecture")
        if not isinstance(architecture, Mapping):
            yield Occurrence(
                f"{entry.place}.architecture", f"The architecture is {architecture!r}, which is no mapping."
            )


def refused_operations(*names: str, but: Container[str] = ()) -> Condition:
    """Operations that JDLL refuses: of these names, or of all but some."""

    def condition(contents: Contents) -> Iterator[Occurrence]:
        for tensor, operation in operations(contents):
            if (operation.id in names) if names else (operation.id not in but):
                refusal = None if _skipped(contents, operation) else _refusal(contents, tensor, operation)
                if refusal:
                    yield Occurrence(operation.place, f"{refusal}.")

    return condition


def _of_images(contents: Contents) -> Iterator[tuple[DescribedTensor, DescribedOperation]]:
    """Operations on tensors whose axes JDLL knows."""
    return (
        (tensor, operation)
        for tensor, operation in operations(contents)
        if {*tensor.ids} <= {*AXES, "batch", "channel"}
    )


def _skipped(contents: Contents, operation: DescribedOperation) -> bool:
    """Whether JDLL's parser leaves an operation out."""
    return operation.id == "ensure_dtype" and not contents.is_old


def _refusal(contents: Contents, tensor: DescribedTensor, operation: DescribedOperation) -> str | None:
    sizes = {axis.id: axis.size for axis in tensor.axes if axis.size is not None}
    letters = {LETTERS.get(name, name): size for name, size in sizes.items()} | {"b": 1}
    return _transformation(contents, tensor, operation).refusal(letters)


def _transformation(contents: Contents, tensor: DescribedTensor, operation: DescribedOperation) -> Transformation:
    kwargs: dict[str, Any] = dict(operation.kwargs)
    if contents.is_old and isinstance(kwargs.get("axes"), list):
        kwargs["axes"] = "".join(LETTERS.get(axis, axis) for axis in map(str, kwargs["axes"]))
    letters = "".join(LETTERS.get(axis, axis)[:1] for axis in tensor.ids)
    return Transformation(operation.id, kwargs, letters)


def _error(
    contents: Contents, tensor: DescribedTensor, operation: DescribedOperation, transformation: Transformation
) -> float | None:
    """How far JDLL's computation is off on the test image, of the range."""
    return error_of(contents, tensor, operation, lambda _, image, __: transformation.forward(image))


def otherwise_computed(*names: str, over_batch: bool = False) -> Condition:
    """Operations of these names that JDLL computes otherwise than specified.

    With ``over_batch`` those whose axes name the batch, else the others.
    """

    def condition(contents: Contents) -> Iterator[Occurrence]:
        for tensor, operation in _of_images(contents):
            axes = operation.kwargs.get("axes")
            if operation.id not in names or ("batch" in (axes if isinstance(axes, list) else [])) is not over_batch:
                continue
            if operation.id not in ARGUMENTS or _refusal(contents, tensor, operation):
                continue
            transformation = _transformation(contents, tensor, operation)
            what = _difference(transformation, tensor, operation)
            if what is None:
                continue
            error = _error(contents, tensor, operation, transformation)
            if error is None or error > EXACT:
                yield Occurrence(operation.place, f"{what}{amount(error)}.")

    return condition


def _difference(transformation: Transformation, tensor: DescribedTensor, operation: DescribedOperation) -> str | None:
    """What JDLL does otherwise, in words; None where it computes as specified."""
    lists = [value for value in operation.kwargs.values() if isinstance(value, list) and value and _numbers(value)]
    if operation.id == "scale_linear":
        same = all(value[1:] == value[:-1] for value in lists)
        return None if same and (transformation.outside or not lists) else "scale_linear has one number per channel"
    single = {"bc"[n] for n, axis in enumerate(("batch", "channel")) if axis == "batch" or tensor.channels == 1}
    of_jdll = set(transformation.outside) - single
    asked = operation.kwargs.get("axes")
    specified = [*map(str, asked)] if isinstance(asked, list) else None
    chosen = {LETTERS.get(axis, axis) for axis in specified or ()}
    meant = set() if specified is None else set(transformation.letters) - chosen - single
    over = ", ".join(specified or [str(asked or "no axes")])
    if operation.id == "scale_range":
        return None if of_jdll == meant else f"scale_range runs over the axes {over}"
    if of_jdll or of_jdll != meant:
        left_out = next(name for name in tensor.ids if LETTERS.get(name, name) in meant | of_jdll)
        return f"Mean and deviation are asked for over {over}, for each {left_out} by itself"
    return None


def _numbers(value: list[Any]) -> bool:
    return all(isinstance(number, int | float) for number in value)


def rough_percentiles(contents: Contents) -> Iterator[Occurrence]:
    """Percentiles, which are not interpolated, and reference tensors, which are not looked at."""
    for tensor, operation in _of_images(contents):
        if operation.id != "scale_range" or _refusal(contents, tensor, operation):
            continue
        transformation = _transformation(contents, tensor, operation)
        if operation.kwargs.get("reference_tensor"):
            yield Occurrence(
                operation.place,
                f"The percentiles are to be those of the tensor {operation.kwargs['reference_tensor']}.",
                Severity.WRONG_RESULT,
                remedy="Put the scaling into the network, or leave it out.",
            )
        elif _difference(transformation, tensor, operation) is None:
            error = _error(contents, tensor, operation, transformation)
            if error is None or error > EXACT:
                yield Occurrence(operation.place, f"Percentiles decide the scaling{amount(error)}.")
