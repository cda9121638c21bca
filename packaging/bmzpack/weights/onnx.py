"""ONNX for the runtime inside Fiji: opset 15, or 16 where a graph ends in labels; IR version 8."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import TYPE_CHECKING

from bmzpack.bundle.protobuf import OnnxFile, Unreadable
from bmzpack.bundle.references import onnx_references
from bmzpack.engines import TensorNames
from bmzpack.errors import UserError
from bmzpack.weights.format import Format, Versions

if TYPE_CHECKING:
    from bmzpack.bundle.contents import Contents
    from bmzpack.weights.frozen import Frozen
    from bmzpack.weights.model import Network

OPSET = 15
OPSET_OF_LABELS = 16
"""That in which values are summed by label; ONNX Runtime 1.13.1, the one inside Fiji, runs up to 17."""
DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
"""Operators that ONNX Runtime has built in."""


def write(network: Network, path: Path) -> Versions:
    """Write ``path``, inputs and outputs named by tensor id, batch and unknown sizes open and named."""
    from bmzpack.weights.graph_to_onnx import convert, handlers_for

    opset = OPSET_OF_LABELS if network.labels else OPSET
    convert(network.frozen, path, network.names, opset, handlers_for(network.model))
    return {"opset_version": opset}


def write_frozen(frozen: Frozen, path: Path, names: TensorNames) -> Versions:
    """Write a graph of any origin, whose ends are in the order of ``names``."""
    from bmzpack.weights.graph_to_onnx import convert

    convert(frozen, path, names, OPSET)
    return {"opset_version": OPSET}


def refusal(contents: Contents, path: Path, trust: bool) -> str | None:
    """Weights outside the bundle, and operators of others."""
    if not isinstance(contents.onnx, OnnxFile):
        raise UserError(f"{path.name} cannot be read: {contents.onnx}.")
    try:
        with path.open("rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            places, domains = onnx_references(content)
    except (Unreadable, RecursionError, OSError, ValueError) as error:
        raise UserError(f"{path.name} cannot be read: {error}.") from error
    folder = path.parent.resolve()
    for place in sorted(places):
        target = (folder / place).resolve() if "\0" not in place else folder
        if not target.is_relative_to(contents.folder.resolve()) or not target.is_file():
            return f"{path.name} keeps weights in {place!r}, which is no file of the bundle."
    strange = sorted(domains - DOMAINS)
    if strange:
        return f"{path.name} needs operators of {', '.join(strange)}, which ONNX Runtime has not built in."
    return None


FORMAT = Format(
    name="onnx",
    file="weights.onnx",
    process="onnxruntime",
    refusal=refusal,
    write=write,
    write_frozen=write_frozen,
    engine="onnxruntime",
    ends_in_labels=True,
)
