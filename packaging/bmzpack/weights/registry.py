"""The weights formats."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from bmzpack.errors import UserError
from bmzpack.operations.labels import LabelsPostprocessing
from bmzpack.weights import (
    keras_hdf5,
    keras_v3,
    onnx,
    pytorch_state_dict,
    tensorflow_saved_model_bundle,
    torchscript,
)
from bmzpack.weights.format import Format

FORMATS = {
    form.name: form
    for form in (
        keras_v3.FORMAT,
        keras_hdf5.FORMAT,
        tensorflow_saved_model_bundle.FORMAT,
        onnx.FORMAT,
        torchscript.FORMAT,
    )
}
"""Those that bmzpack writes, by name, in the order of a bundle: the original first."""
FOREIGN = {pytorch_state_dict.FORMAT.name: pytorch_state_dict.FORMAT}
"""Those that only other programs write."""


def find_format(name: str) -> Format | None:
    """The format of a name, also one that only other programs write."""
    return FORMATS.get(name) or FOREIGN.get(name)


def choose_formats(names: Sequence[str] | None) -> list[str]:
    """The formats to be written: those that are named, or all that this installation can write.

    Raises
    ------
    UserError
        There is no format of a name, or it needs a package that is not installed.
    """
    if names is None:
        for form in FORMATS.values():
            if form.missing:
                logging.getLogger("bmzpack").warning("%s is left out: it needs %s.", form.name, form.missing)
        return [name for name, form in FORMATS.items() if not form.missing]
    for name in names:
        if name not in FORMATS:
            raise UserError(f"There is no weights format {name!r}: choose from {', '.join(FORMATS)}.")
        if missing := FORMATS[name].missing:
            raise UserError(f"The format {name} needs {FORMATS[name].package}: {missing}, or leave the format out.")
    return list(dict.fromkeys(names))


def labels_formats(names: Sequence[str] | None, labels: LabelsPostprocessing) -> list[str]:
    """The formats of a graph that ends in labels.

    Parameters
    ----------
    names
        Those that are asked for; None for all that this installation can write.
    labels
        What makes the labels.

    Raises
    ------
    UserError
        A format that is named cannot hold such a graph, or needs a package that is not installed.
    """
    able = [form.name for form in FORMATS.values() if form.ends_in_labels]
    if labels.torch_function is None:
        able = [name for name in able if FORMATS[name].backend != "torch"]
    chosen = choose_formats(names)
    for name in names or ():
        if not FORMATS[name].ends_in_labels:
            raise UserError(
                f"{name} has no loops whose length depends on the image: name {' or '.join(able)}, or no format."
            )
        if name not in able:
            raise UserError(f"There are no {name} operations for these labels: name {' or '.join(able)}, or no format.")
    return [name for name in able if name in chosen]
