"""Which programs can run a bundle, and why another one cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

LINKS = {
    "Fiji (deepImageJ)": "deepimagej/deepimagej",
    "ilastik": "ilastik/ilastik",
    "QuPath": "bioimageio/qupath",
}
"""Ids by which the zoo's site filters for a program."""

QUPATH_OPERATIONS = {"binarize", "clip", "scale_linear", "scale_range", "sigmoid", "zero_mean_unit_variance"}
RUNNABLE = ("tensorflow_saved_model_bundle", "onnx", "torchscript")


def obstacles(
    inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]], formats: Sequence[str]
) -> dict[str, list[str]]:
    """What keeps each program from running a bundle.

    Parameters
    ----------
    inputs, outputs
        The tensors' entries of rdf.yaml.
    formats
        The bundle's weights formats.

    Returns
    -------
    dict
        Reasons by program, for the programs of `LINKS`; an empty list where it can.
    """
    return {
        "Fiji (deepImageJ)": list(_fiji(inputs, outputs, formats)),
        "ilastik": list(_ilastik(inputs, outputs, formats)),
        "QuPath": list(_qupath(inputs, outputs, formats)),
    }


def core_obstacle(name: str, inputs: int, outputs: int) -> str | None:
    """What keeps bioimageio.core 0.11 from running a weights format, given the numbers of inputs and outputs."""
    if inputs > 1 and name in ("keras_v3", "keras_hdf5", "tensorflow_saved_model_bundle"):
        return f"bioimageio.core runs {name} with one input only."  # it calls model.predict(*inputs)
    if outputs > 1 and name == "tensorflow_saved_model_bundle":
        return (
            f"bioimageio.core takes the outputs of {name} in no certain order."  # that of a map of the protocol buffer
        )
    return None


def _fiji(inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]], formats: Sequence[str]) -> Iterator[str]:
    if not set(formats) & set(RUNNABLE):
        yield f"it runs {', '.join(RUNNABLE)}"
    if len(inputs) > 1:
        yield "it takes one input"
    for tensor in (*inputs, *outputs):
        ids = _axis_ids(tensor)
        if not {"y", "x"} <= ids:
            yield f"{tensor['id']} is not an image"
        if "index" in ids:
            yield f"{tensor['id']} has an index axis"
    for tensor, operation in _operations(inputs, outputs):
        name, kwargs = operation["id"], operation["kwargs"]
        whole = _axis_ids(tensor) - {"batch"}
        if name in ("zero_mean_unit_variance", "scale_range") and set(kwargs.get("axes", whole)) != whole:
            yield f"it computes {name} over some axes wrongly"
        if "reference_tensor" in kwargs or name == "scale_mean_variance":
            yield f"it does not know the reference tensor of {name}"
        if name == "clip" and not {"min", "max"} <= set(kwargs):
            yield "its clip needs min and max"
        if name == "binarize" and isinstance(kwargs.get("threshold"), Sequence):
            yield "its binarize takes one threshold"
        if name == "softmax":
            yield "it has no softmax"


def _ilastik(
    inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]], formats: Sequence[str]
) -> Iterator[str]:
    if "torchscript" not in formats:
        yield "it runs torchscript"
    if len(inputs) > 1 or len(outputs) > 1:
        yield "it takes one input and gives one output"
    for tensor in (*inputs, *outputs):
        if not {"channel", "y", "x"} <= _axis_ids(tensor):
            yield f"{tensor['id']} is not an image with channels"


def _qupath(
    inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]], formats: Sequence[str]
) -> Iterator[str]:
    if not set(formats) & set(RUNNABLE):
        yield f"it runs {', '.join(RUNNABLE)}"
    if len(inputs) > 1 or len(outputs) > 1:
        yield "it takes one input and gives one output"
    for tensor in (*inputs, *outputs):
        if not {"channel", "y", "x"} <= _axis_ids(tensor) or "z" in _axis_ids(tensor):
            yield f"{tensor['id']} is not a 2D image with channels"
    for _, operation in _operations(inputs, outputs):
        if operation["id"] not in QUPATH_OPERATIONS | {"ensure_dtype"}:
            yield f"it leaves out {operation['id']}"


def _operations(
    inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], Mapping[str, Any]]]:
    for tensor in (*inputs, *outputs):
        for operation in tensor.get("preprocessing", []) + tensor.get("postprocessing", []):
            yield tensor, {"kwargs": {}} | operation


def _axis_ids(tensor: Mapping[str, Any]) -> set[str]:
    return {axis["id"] for axis in tensor["axes"]}
