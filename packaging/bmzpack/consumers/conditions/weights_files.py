"""Weights: which formats there are, what their files say of themselves, and what they are called."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from bmzpack.bundle.contents import Contents
from bmzpack.bundle.described import DescribedAxis
from bmzpack.bundle.protobuf import OnnxFile, SavedModel
from bmzpack.consumers.findings import Condition, Occurrence, Severity
from bmzpack.operations.labels import TO_LABELS
from bmzpack.weights.tensorflow_saved_model_bundle import SAVED_MODEL

VERSIONS = ("tensorflow_version", "pytorch_version", "keras_version", "version")
NEWEST_OPSET, NEWEST_IR = 17, 8
"""The newest that ONNX Runtime 1.13.1 runs."""


def no_weights_of(formats: Sequence[str]) -> Condition:
    """None of these formats."""

    def condition(contents: Contents) -> Iterator[Occurrence]:
        if not set(formats) & set(contents.weights):
            have = ", ".join(contents.weights) or "no weights"
            yield Occurrence("weights", f"The bundle has {have}, but none of {', '.join(formats)}.")

    return condition


Order = Sequence[str] | Callable[[Contents], Sequence[str]]
"""Formats in the order in which a program tries them, or a function that gives it for a bundle."""


def order_for(order: Order, contents: Contents) -> Sequence[str]:
    """The order in which a program tries the formats of a bundle."""
    return order(contents) if callable(order) else order


def by_priority(ordered: Order, *conditions: Condition) -> Condition:
    """Defects of weights: only advice for a format if the program takes another one before it, and nothing for a format
    that it does not run."""

    def placed(contents: Contents) -> Iterator[Occurrence]:
        order = order_for(ordered, contents)
        taken = next((name for name in order if name in contents.weights), None)
        for occurrence in (found for condition in conditions for found in condition(contents)):
            name = occurrence.where.split(".")[1] if occurrence.where.startswith("weights.") else taken
            if name == taken:
                yield occurrence
            elif name in order:
                found = f"{occurrence.found} It takes {taken} before this one."
                yield Occurrence(occurrence.where, found, Severity.ADVICE, occurrence.remedy)

    return placed


def fatal_if_alone(formats: Sequence[str], condition: Condition) -> Condition:
    """A defect of a format: fatal where it is the only one of these, so that nothing else can be taken in its place."""

    def placed(contents: Contents) -> Iterator[Occurrence]:
        only = len(set(formats) & set(contents.weights)) == 1
        for occurrence in condition(contents):
            severity = Severity.CANNOT_OPEN if only else occurrence.severity
            yield Occurrence(occurrence.where, occurrence.found, severity, occurrence.remedy)

    return placed


def misplaced_saved_model(contents: Contents) -> Iterator[Occurrence]:
    """A saved model's zip without the files where they are expected, or with another zip in it."""
    files = contents.saved_model_files
    if files is None:
        return
    place = f"weights.{SAVED_MODEL}.source"
    if isinstance(files, str):
        yield Occurrence(place, f"The saved model cannot be opened: {files}.")
        return
    nested = [name for name in files if name.endswith(".zip")]
    if nested:
        yield Occurrence(place, f"There is a zip in the zip: {nested[0]}.")
    elif "saved_model.pb" not in files:
        inside = [name for name in files if name.endswith("saved_model.pb")]
        yield Occurrence(
            place, f"saved_model.pb is in {inside[0]}." if inside else "There is no saved_model.pb in the zip."
        )
    elif isinstance(contents.saved_model, str):
        yield Occurrence(place, f"saved_model.pb cannot be read: {contents.saved_model}.")


def saved_model_without_variables_entry(contents: Contents) -> Iterator[Occurrence]:
    """A saved model's zip without a place for variables."""
    files = contents.saved_model_files
    if not isinstance(files, dict) or not isinstance(contents.saved_model, SavedModel):
        return
    if "saved_model.pb" in files and not any(name.startswith("variables/") for name in files):
        yield Occurrence(f"weights.{SAVED_MODEL}.source", "There is no entry variables/ in the zip.")


def saved_model_endpoint_without_names(contents: Contents) -> Iterator[Occurrence]:
    """A saved model whose endpoint serve gives tensors without names, as Keras' own export writes it."""
    found = contents.saved_model
    if isinstance(found, SavedModel) and "serve" in found.signatures:
        unnamed = [name for name in found.outputs or () if re.fullmatch(r"output_\d+", name)]
        if unnamed and unnamed == list(found.outputs):
            yield Occurrence(f"weights.{SAVED_MODEL}", "The endpoint serve gives tensors without names.")


def unfit_saved_model_signature(contents: Contents) -> Iterator[Occurrence]:
    """A saved model without the graph or signature that programs ask for, or with other names of its tensors."""
    found = contents.saved_model
    if not isinstance(found, SavedModel):
        return
    place = f"weights.{SAVED_MODEL}"
    if not any("serve" in tags for tags in found.tags):
        yield Occurrence(place, f"No graph has the tag serve, but {[sorted(tags) for tags in found.tags]}.")
    elif "serving_default" not in found.signatures:
        have = ", ".join(sorted(found.signatures)) or "none"
        yield Occurrence(place, f"There is no signature serving_default; the graph has: {have}.")
    else:
        yield from _names(contents, found.inputs, found.outputs, place, "the signature")


def unfrozen_saved_model(contents: Contents) -> Iterator[Occurrence]:
    """A saved model that is not frozen."""
    found = contents.saved_model
    if isinstance(found, SavedModel):
        live = sorted(found.operations & {"VarHandleOp", "VariableV2", "ReadVariableOp", "DisableCopyOnRead"})
        if live:
            newer = ": TensorFlow before 2.9 does not know DisableCopyOnRead" if "DisableCopyOnRead" in live else ""
            yield Occurrence(f"weights.{SAVED_MODEL}", f"The graph has variables ({', '.join(live)}){newer}.")


def unreadable_onnx(contents: Contents) -> Iterator[Occurrence]:
    """An ONNX file that is none."""
    if isinstance(contents.onnx, str):
        yield Occurrence("weights.onnx.source", f"The ONNX file cannot be read: {contents.onnx}.")


def onnx_too_new(contents: Contents) -> Iterator[Occurrence]:
    """An opset or IR version that ONNX Runtime 1.13.1 does not know, or operators of others."""
    found = contents.onnx
    if not isinstance(found, OnnxFile):
        return
    if found.opset > NEWEST_OPSET or found.ir_version > NEWEST_IR:
        yield Occurrence("weights.onnx", f"The file has opset {found.opset} and IR version {found.ir_version}.")
    if found.domains - {"ai.onnx.ml", "com.microsoft"}:
        yield Occurrence("weights.onnx", f"The file needs operators of {', '.join(sorted(found.domains))}.")


def onnx_tensor_names_differ(contents: Contents) -> Iterator[Occurrence]:
    """An ONNX graph with other names of its tensors."""
    if isinstance(contents.onnx, OnnxFile):
        yield from _names(contents, contents.onnx.inputs, contents.onnx.outputs, "weights.onnx", "the graph")


def graph_inputs_not_float32(contents: Contents) -> Iterator[Occurrence]:
    """Inputs of a saved model or ONNX graph that are not float32."""
    for place, graph in _graphs(contents):
        for name, end in graph.inputs.items():
            if end.dtype not in ("float32", "unknown"):
                yield Occurrence(place, f"The input {name} of the network is {end.dtype}.")


def graph_shapes_differ(contents: Contents) -> Iterator[Occurrence]:
    """Another number of axes in a graph than in the description, or sizes that are fixed there only."""
    for place, graph in _graphs(contents):
        yield from _shapes(contents, graph, place)


def unreadable_torchscript(contents: Contents) -> Iterator[Occurrence]:
    """A TorchScript file that is none: a pickle of weights, or damaged."""
    files = contents.torchscript_files
    place = "weights.torchscript.source"
    if isinstance(files, str):
        yield Occurrence(place, f"The TorchScript file cannot be read: {files}.")
    elif files is not None and not any("code/" in name for name in files):
        yield Occurrence(place, "The file holds no TorchScript code: it is a pickle of weights or of a Python object.")


def external_onnx_weights(contents: Contents) -> Iterator[Occurrence]:
    """ONNX weights in files of their own."""
    if isinstance(contents.onnx, OnnxFile) and contents.onnx.external:
        yield Occurrence("weights.onnx", f"Its weights are in another file, {contents.onnx.external[0]}.")


def not_one_original(contents: Contents) -> Iterator[Occurrence]:
    """No original, or several."""
    if not contents.weights:
        return
    originals = [name for name, entry in contents.weights.items() if not entry.content.get("parent")]
    if len(originals) != 1:
        have = ", ".join(originals) or "none"
        yield Occurrence("weights", f"One format is the original and has no parent; here it is: {have}.")


def versions_without_three_numbers(contents: Contents) -> Iterator[Occurrence]:
    """Versions of frameworks that are not written as text of three numbers."""
    for entry in contents.weights.values():
        for key in VERSIONS:
            value = entry.content.get(key)
            if value is not None and not (isinstance(value, str) and re.match(r"\d+\.\d+\.\d+", value)):
                # a text of two numbers is still the version that was meant
                severity = Severity.ADVICE if isinstance(value, str) and re.match(r"\d+\.\d+$", value) else None
                found = f"{key} is {value!r}."
                yield Occurrence(f"{entry.place}.{key}", found, severity, _three_numbers(key, value))


def bilinear_upsampling(contents: Contents) -> Iterator[Occurrence]:
    """A Keras network that cannot be written as a saved model, in a bundle without one."""
    if SAVED_MODEL in contents.weights or not isinstance(contents.keras_layers, list):
        return
    for layer in contents.keras_layers:
        config: Any = layer.get("config")
        if (
            layer.get("class_name") == "UpSampling2D"
            and isinstance(config, dict)
            and config.get("interpolation") == "bilinear"
        ):
            yield Occurrence(
                "weights.keras_v3",
                f"The layer {config.get('name')} is a bilinear UpSampling2D, and there is no saved model.",
            )


def only_saved_model(contents: Contents) -> Iterator[Occurrence]:
    """A saved model and nothing else that Fiji runs."""
    if contents.weights_file(SAVED_MODEL) and not {"onnx", "torchscript"} & set(contents.weights):
        yield Occurrence("weights", "The saved model is the only format that Fiji runs here.")


def _three_numbers(key: str, value: Any) -> str:
    parts = str(value).split(".")
    full = ".".join([*parts, "0", "0"][:3])
    return f'Write the version with three numbers and in quotes, such as {key}: "{full}".'


def _graphs(contents: Contents) -> Iterator[tuple[str, OnnxFile | SavedModel]]:
    """The graphs that can be read, with their places."""
    for name, graph in ((SAVED_MODEL, contents.saved_model), ("onnx", contents.onnx)):
        if isinstance(graph, OnnxFile | SavedModel):
            yield f"weights.{name}", graph


def _names(
    contents: Contents, inputs: Iterable[str], outputs: Iterable[str], place: str, what: str
) -> Iterator[Occurrence]:
    for kind, tensors, names in (("inputs", contents.inputs, set(inputs)), ("outputs", contents.outputs, set(outputs))):
        ids = [tensor.id for tensor in tensors]
        if not ids or set(ids) == names:
            continue
        # one name is found by its place
        alone = len(ids) == len(names) == 1
        yield Occurrence(
            place,
            f"The {kind} of {what} are called {', '.join(sorted(names)) or 'nothing'}, in the description "
            f"{', '.join(ids)}.",
            Severity.ADVICE if alone else None,
        )


def _shapes(contents: Contents, file: OnnxFile | SavedModel, place: str) -> Iterator[Occurrence]:
    for tensors, ends, takes in ((contents.inputs, file.inputs, "takes"), (contents.outputs, file.outputs, "gives")):
        for tensor in tensors:
            end = ends.get(tensor.id) or (next(iter(ends.values())) if len(ends) == len(tensors) == 1 else None)
            if end is None or end.shape is None or not tensor.axes:
                continue
            if len(end.shape) != len(tensor.axes):
                yield Occurrence(
                    place, f"{tensor.id} has {len(end.shape)} axes in the network, {len(tensor.axes)} are described."
                )
                continue
            made_into_labels = any(operation.id in TO_LABELS for operation in tensor.operations)
            for axis, size in zip(tensor.axes, end.shape, strict=True):
                if made_into_labels and axis.id == "channel":
                    continue
                if isinstance(size, int) and size > 0 and not _fits(axis, size):
                    described = axis.size if axis.size is not None else f"{axis.minimum} + n x {axis.step}"
                    yield Occurrence(
                        place,
                        f"The network {takes} {size} along {axis.id} of {tensor.id} and nothing else, the description "
                        f"says {described}.",
                    )


def _fits(axis: DescribedAxis, size: int) -> bool:
    """Whether a size that is fixed in the network is what the description says."""
    if axis.size is not None:
        return axis.size == size
    return axis.id == "batch" or axis.by_data or axis.reference is not None


def onnx_outputs_in_other_order(contents: Contents) -> Iterator[Occurrence]:
    """An ONNX graph whose outputs are in another order than described, for programs that take them by position."""
    if isinstance(contents.onnx, OnnxFile):
        graph, ids = list(contents.onnx.outputs), [tensor.id for tensor in contents.outputs]
        if graph != ids and set(graph) == set(ids):
            yield Occurrence(
                "weights.onnx", f"The graph gives {', '.join(graph)}, the description has {', '.join(ids)}."
            )
