"""Python code in the Keras files of strangers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bmzpack.weights.format import TRUST

KERAS_CODE = {
    "Lambda": "Python code",
    "__lambda__": "Python code",
    "TFSMLayer": "a saved model outside the file",
    "TorchModuleWrapper": "a pickle of a torch module, which is Python code",
    "JaxLayer": "a serialised function",
    "FlaxLayer": "a serialised function",
}
"""Layers of Keras that bring along what is no network of Keras layers."""


def code_in(layers: list[dict[str, Any]], path: Path) -> str | None:
    """What a Keras file would execute besides Keras' own layers, in one sentence, or None.

    Parameters
    ----------
    layers
        Serialised objects of the file.
    path
        The file, for the message.
    """
    for layer in layers:
        kind, module = str(layer.get("class_name")), layer.get("module")
        registered = layer.get("registered_name")
        config = layer.get("config")
        name = config.get("name") if isinstance(config, dict) else config
        if kind in KERAS_CODE:
            return f"The layer {name!r} of {path.name} is a {kind}: {KERAS_CODE[kind]}, which is not executed. {TRUST}"
        own = module is None or str(module).split(".")[0] in ("keras", "builtins")
        if not own or ">" in kind or (isinstance(registered, str) and ">" in registered):
            return f"{name!r} in {path.name} is custom code ({module}.{kind}), which is not executed. {TRUST}"
        if isinstance(config, dict) and isinstance(config.get("vocabulary"), str):
            return f"The layer {name!r} of {path.name} reads a file of this computer, {config['vocabulary']}. {TRUST}"
    return None
