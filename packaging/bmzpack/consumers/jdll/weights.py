"""Which weights JDLL takes: the first of a hash map whose file is there and for which it has an engine.

ModelWeight, EngineInfo, BioimageIoModelJava and RunnerAdapter of 0.6.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmzpack.bundle.contents import Contents
from bmzpack.consumers.jdll.java import hash_map_order, text_of
from bmzpack.weights.tensorflow_saved_model_bundle import SAVED_MODEL

STATE_DICT = "pytorch_state_dict"
JAVA_FORMATS = (SAVED_MODEL, "onnx", "torchscript")
"""Formats with an engine in Java."""
VERSION_KEYS = {
    "keras_hdf5": "tensorflow_version",
    "onnx": "opset_version",
    STATE_DICT: "pytorch_version",
    SAVED_MODEL: "tensorflow_version",
    "tensorflow_js": "tensorflow_version",
    "torchscript": "pytorch_version",
}
"""By format that JDLL knows: the entry that becomes a part of its key in the hash map."""

DEFAULT_VERSIONS = {"onnx": "17", "torchscript": "1.13.1"}
"""By format: what JDLL takes for a version that is not given."""


def walked(weights: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The formats that JDLL knows, in the order in which it walks through them.

    Parameters
    ----------
    weights
        The entries of ``weights`` in rdf.yaml, in their order there.

    Returns
    -------
    list of str
        Also those for which it has no engine.
    """
    keys = {f"{name}_v{_version(name, entry)}": name for name, entry in weights.items() if name in VERSION_KEYS}
    return [keys[key] for key in hash_map_order(list(keys))]


def runs_in_python(weights: Mapping[str, Any]) -> bool:
    """Whether the state dict is all that JDLL can run: its engine for that is Python."""
    return STATE_DICT in weights and not any(name in weights for name in JAVA_FORMATS)


def order(contents: Contents) -> list[str]:
    """The formats of a bundle that JDLL can run, the one that it takes first.

    A format whose file is missing is passed over, so it comes last.
    """
    if runs_in_python(contents.weights):
        return [STATE_DICT]
    found = [
        name
        for name in walked({name: entry.content for name, entry in contents.weights.items()})
        if name in JAVA_FORMATS
    ]
    return sorted(found, key=lambda name: contents.weights_file(name) is None)


def _version(name: str, entry: Mapping[str, Any]) -> str:
    value = entry.get(VERSION_KEYS[name])
    if isinstance(value, str):
        # the version of CUDA is cut off
        for mark in ("+", "cuda", "cu"):
            if mark in value:
                return value.split(mark)[0].strip()
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return text_of(value)
    return DEFAULT_VERSIONS.get(name, "Unknown0")
