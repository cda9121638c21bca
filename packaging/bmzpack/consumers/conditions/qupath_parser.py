"""What QuPath's parser needs and refuses: entries become objects of fixed types, by Gson.

Entries that are null are gone before they are read. Resource, Model, Processing, Axes and Tensors of
qupath-bioimageio-spec d372139.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bmzpack.bundle.contents import Contents
from bmzpack.bundle.described import DescribedOperation
from bmzpack.bundle.values import mapping, sequence
from bmzpack.consumers.conditions.metadata import files_as_mappings
from bmzpack.consumers.conditions.processing import operations
from bmzpack.consumers.findings import Condition, Occurrence

NEEDED = ("authors", "description", "documentation", "license", "name")
NEEDED_BEFORE = ("test_inputs", "test_outputs", "timestamp")
"""Entries that are needed up to format 0.5.0, that version included."""
TEXTS = ("description", "documentation", "license", "name", "git_repo", "icon", "id", "version", "download_url")
LISTS_OF_TEXTS = ("covers", "links", "tags", "sample_inputs", "sample_outputs")
LETTERS = frozenset("bicxyzt")
INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
READ = {
    "binarize": ("threshold",),
    "clip": ("min", "max"),
    "scale_linear": ("gain", "offset"),
    "scale_mean_variance": ("eps",),
    "scale_range": ("eps", "min_percentile", "max_percentile"),
    "zero_mean_unit_variance": ("eps", "mean", "std"),
}
"""By operation that reads arguments: those that are numbers or lists of them."""
LISTS = frozenset({"gain", "offset", "mean", "std"})


def missing_entries(contents: Contents) -> Iterator[Occurrence]:
    """Entries without which the parser ends with 'Required field not found'."""
    needed = NEEDED if contents.version_numbers > (0, 5, 0) else (*NEEDED, *NEEDED_BEFORE)
    for key in needed:
        if contents.rdf.get(key) is None:
            yield Occurrence(key, f"There is no {key}.")


def entries_of_another_type(contents: Contents) -> Iterator[Occurrence]:
    """Entries that the parser cannot turn into its types, or that it follows to nothing."""
    rdf = contents.rdf
    files = {occurrence.where for occurrence in files_as_mappings(contents)}
    for key in TEXTS:
        if isinstance(rdf.get(key), Mapping | list) and key not in files:
            yield Occurrence(key, f"{key} is no text.")
    for key in LISTS_OF_TEXTS:
        value = rdf.get(key)
        if value is not None and not isinstance(value, list):
            yield Occurrence(key, f"{key} is no list.")
        for n, entry in enumerate(sequence(value)):
            if isinstance(entry, Mapping | list) and f"{key}.{n}" not in files:
                yield Occurrence(f"{key}.{n}", f"{key} holds an entry that is no text.")
    for key in ("authors", "maintainers", "packaged_by", "cite"):
        if rdf.get(key) is not None and not isinstance(rdf[key], list):
            yield Occurrence(key, f"{key} is no list.")
    for key in ("parent", "training_data", "config"):
        if rdf.get(key) is not None and not isinstance(rdf[key], Mapping):
            yield Occurrence(key, f"{key} is no mapping.")
    for entry in contents.weights.values():
        if isinstance(entry.content.get("attachments"), list):
            yield Occurrence(f"{entry.place}.attachments", "The attachments of weights are a list, not a mapping.")


def unknown_data_types(contents: Contents) -> Iterator[Occurrence]:
    """Data types of tensors that the parser has not."""
    for place, tensor in _tensors(contents):
        data = mapping(tensor.get("data"))
        dtype = str(data.get("type") or "float32")
        allowed = {"float32", "float64", *INTEGERS, *(["bool"] if data.get("values") is not None else [])}
        if dtype.lower() not in allowed:
            yield Occurrence(f"{place}.data.type", f"QuPath has no data type {dtype}.")


def unread_axes(contents: Contents) -> Iterator[Occurrence]:
    """Axes that the parser cannot read."""
    for place, tensor in _tensors(contents):
        for n, axis in enumerate(sequence(tensor.get("axes"))):
            what = _axis(mapping(axis))
            if what:
                yield Occurrence(f"{place}.axes.{n}", f"{what}.")


def unread_sizes(contents: Contents) -> Iterator[Occurrence]:
    """Sizes that follow what the parser does not find."""
    for place, tensor in _tensors(contents):
        for n, axis in enumerate(sequence(tensor.get("axes"))):
            size = mapping(axis).get("size")
            if isinstance(size, Mapping) and {"axis_id", "tensor_id"} <= set(size) and axis.get("type") != "channel":
                what = _reference(size, contents, place.startswith("inputs"))
                if what:
                    yield Occurrence(f"{place}.axes.{n}", f"{what}.")


def _tensors(contents: Contents) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key in ("inputs", "outputs"):
        for n, tensor in enumerate(sequence(contents.rdf.get(key))):
            yield f"{key}.{n}", mapping(tensor)


def _axis(axis: Mapping[str, Any]) -> str | None:
    """What keeps an axis of format 0.5 from being read."""
    kind, size = axis.get("type"), axis.get("size")
    if kind is None:
        return "An axis has no type"
    if kind == "time" and (axis.get("unit") is None or axis.get("scale") is None):
        return "An axis time has no unit or no scale"
    if kind == "channel" and not isinstance(axis.get("channel_names"), list):
        return "A channel axis has no channel_names"
    if kind == "space" and str(axis.get("id")).lower() not in LETTERS:
        return f"A space axis is called {axis.get('id')}"
    if kind in ("time", "space", "index") and size is None:
        return f"An axis {axis.get('id') or kind} has no size"
    return None


def _reference(size: Mapping[str, Any], contents: Contents, of_input: bool) -> str | None:
    offset = size.get("offset")
    if isinstance(offset, float) and not offset.is_integer():  # neither are infinity and NaN
        return f"A size has an offset of {offset}"
    tensors = contents.inputs if of_input else contents.tensors
    tensor = next((tensor for tensor in tensors if tensor.id == size["tensor_id"]), None)
    if tensor is None:
        return f"A size follows {size['tensor_id']}, which is not there"
    axis = next((axis for axis in tensor.axes if axis.id.lower() == str(size["axis_id"]).lower()), None)
    return f"A size follows the axis {size['axis_id']}" if axis is None or axis.kind == "batch" else None


def refused_arguments(*names: str) -> Condition:
    """Arguments of these operations that the parser cannot read."""

    def condition(contents: Contents) -> Iterator[Occurrence]:
        for _, operation in operations(contents):
            what = refused(operation, _raw_kwargs(contents, operation)) if operation.id in names else None
            if what:
                yield Occurrence(operation.place, f"{what}.")

    return condition


def _raw_kwargs(contents: Contents, operation: DescribedOperation) -> Any:
    """The kwargs as they are written; None where there are none."""
    key, tensor, which, position = operation.place.split(".")
    entry = contents.rdf[key][int(tensor)][which][int(position)]
    return entry.get("kwargs") if isinstance(entry, Mapping) else None


def refused(operation: DescribedOperation, kwargs: Any) -> str | None:
    """Why the parser cannot read an operation with these kwargs; None where it can."""
    if operation.id not in READ:
        return None
    if not isinstance(kwargs, Mapping):
        return f"{operation.id} has no kwargs"
    if operation.id == "binarize" and kwargs.get("threshold") is None:
        return "binarize has no threshold"
    for key in READ[operation.id]:
        value = kwargs.get(key)
        if value is not None and isinstance(value, list) is not (key in LISTS):
            return f"{key} of {operation.id} is {'a number' if key in LISTS else 'a list'}"
    return None


def misread_percentiles(contents: Contents) -> Iterator[Occurrence]:
    """Percentiles that are left to their defaults, which QuPath has the wrong way round, and reference tensors."""
    for _, operation in operations(contents):
        if operation.id != "scale_range":
            continue
        absent = [key for key in ("min_percentile", "max_percentile") if operation.kwargs.get(key) is None]
        if absent:
            yield Occurrence(operation.place, f"scale_range has no {' and no '.join(absent)}.")
        if operation.kwargs.get("reference_tensor"):
            tensor = operation.kwargs["reference_tensor"]
            yield Occurrence(operation.place, f"The percentiles are to be those of the tensor {tensor}.")


def clips_at_percentiles(contents: Contents) -> Iterator[Occurrence]:
    """A clip without numbers."""
    for _, operation in operations(contents):
        if operation.id == "clip" and operation.kwargs.get("min") is None and operation.kwargs.get("max") is None:
            yield Occurrence(operation.place, f"clip is given {', '.join(operation.kwargs) or 'nothing'}.")
