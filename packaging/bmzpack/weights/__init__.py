"""From a ``.keras`` file to every weights format of a bundle: written, run in its engine, compared with Keras.

One small module per format holds its ``write(model, path, names)``; this front door imports no framework and starts
the processes that do.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmzpack import engines
from bmzpack.engines import TensorNames
from bmzpack.engines.process import run_python
from bmzpack.errors import UserError
from bmzpack.operations.labels import TOLERANCE as TOLERANCE_OF_LABELS
from bmzpack.operations.labels import Ending, disagreement
from bmzpack.weights.source import check_source, tensor_names

__all__ = ["FORMATS", "TensorNames", "Written", "choose_formats", "tensor_names", "write_all"]

FORMATS = {
    "keras_v3": ("keras", "weights.keras"),
    "keras_hdf5": ("keras", "weights.h5"),
    "tensorflow_saved_model_bundle": ("tensorflow", "saved_model.zip"),
    "onnx": ("onnxruntime", "weights.onnx"),
    "torchscript": ("torch", "weights.pt"),
}
"""Engine that runs a format here, and name of its file in a bundle."""

LABELS_FORMAT = "tensorflow_saved_model_bundle"
"""The format whose graph can end in labels."""

TOLERANCE = 1e-4
"""Largest difference from Keras, relative to the range of its output, with which a file is accepted."""


@dataclasses.dataclass(frozen=True)
class Written:
    """A weights file that has been run."""

    format: str
    path: Path
    parent: str | None
    """The format it was made from; None for the original."""
    versions: dict[str, str | int]
    """``keras_version``, ``tensorflow_version``, ``pytorch_version`` and ``opset_version``, as the format has them."""
    max_abs_error: float
    """Largest difference from the Keras output over all test inputs, relative to the range of that output."""
    latency_s: float
    """Seconds of one call with the first test input, on the CPU, in the format's engine."""
    outputs: list[dict[str, np.ndarray]]
    """Outputs by tensor id, one entry per test input."""


def write_all(
    model_path: Path,
    folder: Path,
    tensors: TensorNames,
    test_inputs: Sequence[dict[str, np.ndarray]],
    formats: Sequence[str] | None = None,
    *,
    names_made_up: bool = False,
    ending: Ending | None = None,
) -> list[Written]:
    """Write a model in several weights formats; every file is run before it is returned.

    All files compute in float32, also those of a model trained in mixed precision, and hold no optimiser state.

    Parameters
    ----------
    model_path
        A ``.keras`` file made of Keras' own layers.
    folder
        Where the files go; must exist.
    tensors
        Tensor ids, in the order of the model's inputs and outputs.
    test_inputs
        float32 inputs by tensor id, batch axis included; of several sizes, so that a size that was frozen into a file
        is found out.
    formats
        Keys of `FORMATS`. None for all that this model can be written in; what is left out is logged as a warning.
    names_made_up
        As for `bmzpack.weights.source.check_source`.
    ending
        One with a function is put behind the network, into the saved model, the only format then; all others are no
        business of the weights.

    Returns
    -------
    list of Written
        In the order of ``formats``.

    Raises
    ------
    UserError
        The model cannot be used, or a format that was asked for: there is none of this name, it cannot be written or
        run, or does not compute what Keras computes.
    """
    ending = ending if ending and ending.in_graph else None
    if ending:
        formats = _with_labels(formats)
    chosen = choose_formats(formats)
    check_source(model_path, tensors, chosen, names_made_up=names_made_up)
    written = []
    with tempfile.TemporaryDirectory(prefix="bmzpack-") as scratch_folder:
        scratch = Path(scratch_folder)
        versions = _convert(model_path, scratch, tensors, chosen, ending)
        runnable = [name for name in versions if "error" not in versions[name]]
        results = _run(scratch, runnable, test_inputs, tensors)
        for name in chosen:
            try:
                result, error = _accepted(name, model_path, versions, results, ending)
            except UserError as problem:
                if formats is not None or name == "keras_v3":
                    raise
                logging.getLogger("bmzpack").warning("%s is left out. %s", name, problem)
                continue
            written.append(
                Written(
                    format=name,
                    path=folder / FORMATS[name][1],
                    parent=None if name == "keras_v3" or ending else "keras_v3",
                    versions=versions[name],
                    max_abs_error=error,
                    latency_s=result.seconds,
                    outputs=result.outputs,
                )
            )
        for entry in written:
            shutil.move(scratch / entry.path.name, entry.path)
    return written


def choose_formats(formats: Sequence[str] | None) -> list[str]:
    """The formats to be written: those asked for, or all that this installation can write.

    Raises
    ------
    UserError
        There is no format of a name, or it needs torch, which is not installed.
    """
    has_torch = importlib.util.find_spec("torch") is not None
    if formats is None:
        if not has_torch:
            logging.getLogger("bmzpack").warning("torchscript is left out: it needs pip install kerazoo[torch].")
        return [name for name in FORMATS if has_torch or name != "torchscript"]
    for name in formats:
        if name not in FORMATS:
            raise UserError(f"There is no weights format {name!r}: choose from {', '.join(FORMATS)}.")
    if "torchscript" in formats and not has_torch:
        raise UserError("The format torchscript needs torch: pip install kerazoo[torch], or leave the format out.")
    return list(dict.fromkeys(formats))


def _with_labels(formats: Sequence[str] | None) -> list[str]:
    """The formats of a graph that ends in labels."""
    others = [name for name in formats or () if name != LABELS_FORMAT]
    if others:
        raise UserError(
            f"{others[0]} cannot hold the TensorFlow operations that make labels: name {LABELS_FORMAT} alone, or no "
            "format."
        )
    return [LABELS_FORMAT]


def _convert(
    model: Path, folder: Path, names: TensorNames, formats: Sequence[str], ending: Ending | None
) -> dict[str, dict[str, Any]]:
    """Write formats, TorchScript in a process of its own; returns their versions, or what went wrong as ``error``."""
    by_tensorflow = dict.fromkeys(["keras_v3", *(name for name in formats if name != "torchscript")])
    steps = [("tensorflow", model, list(by_tensorflow))]
    if "torchscript" in formats:
        steps.append(("torch", folder / FORMATS["keras_v3"][1], ["torchscript"]))
    versions = {}
    for backend, source, targets in steps:
        task = {
            "model": str(source.resolve()),
            "folder": str(folder),
            "inputs": names.inputs,
            "outputs": names.outputs,
            "formats": {name: FORMATS[name][1] for name in targets},
            "ending": ending and ending.in_graph,
        }
        (folder / "task.json").write_text(json.dumps(task))
        run_python(
            ["-m", "bmzpack.weights.writer", str(folder / "task.json")],
            f"{model} could not be converted",
            backend=backend,
        )
        versions |= json.loads((folder / "versions.json").read_text())
    return versions


def _run(
    folder: Path, formats: Sequence[str], inputs: Sequence[dict[str, np.ndarray]], names: TensorNames
) -> dict[str, engines.Result | UserError]:
    """Run the written files, those of one framework in one process."""
    results = {}
    for group in (("keras", "tensorflow"), ("onnxruntime",), ("torch",)):
        files = {name: (FORMATS[name][0], folder / FORMATS[name][1]) for name in formats if FORMATS[name][0] in group}
        if files:
            results |= zip(files, engines.run_files(list(files.values()), inputs, names), strict=True)
    return results


def _accepted(
    name: str,
    model: Path,
    versions: dict[str, dict[str, Any]],
    results: dict[str, engines.Result | UserError],
    ending: Ending | None,
) -> tuple[engines.Result, float]:
    """The result and relative error of a file that was written, runs, and computes what Keras computes."""
    remedy = "" if name == "keras_v3" else " Choose other formats with --formats."
    if "error" in versions[name]:
        raise UserError(f"{versions[name]['error']}.{remedy}")
    result, reference = results[name], results["keras_v3"]
    if isinstance(reference, UserError):
        raise reference
    if isinstance(result, UserError):
        raise UserError(f"{result}.{remedy}")
    for expected in reference.outputs:
        for tensor, array in expected.items():
            if not np.isfinite(array).all():
                raise UserError(f"{model}: the output {tensor!r} is not finite on the test input: check the weights.")
    if ending:
        return result, _accepted_labels(model, result, reference, ending)
    for got, expected in zip(result.outputs, reference.outputs, strict=True):
        for tensor, array in expected.items():
            if got[tensor].shape != array.shape:
                raise UserError(
                    f"{name} gives {tensor!r} the shape {got[tensor].shape}, where {model} gives {array.shape}.{remedy}"
                )
    error = _relative_error(result, reference)
    if not error <= TOLERANCE:
        raise UserError(
            f"{name} differs from {model} by {error:.1e} of the output's range, more than {TOLERANCE:.0e}.{remedy}"
        )
    return result, error


def _accepted_labels(model: Path, result: engines.Result, reference: engines.Result, ending: Ending) -> float:
    """How much the labels of a graph differ from those that are made of the output of Keras, where it is little."""
    weighed = []
    for got, expected in zip(result.outputs, reference.outputs, strict=True):
        for tensor, array in expected.items():
            labels, decoded = got[tensor], ending.decode(array)
            weighed.append((np.count_nonzero((labels != 0) | (decoded != 0)), disagreement(labels, decoded)))
    error = sum(pixels * part for pixels, part in weighed) / max(1, sum(pixels for pixels, _ in weighed))
    if not error <= TOLERANCE_OF_LABELS:
        raise UserError(
            f"The graph of {model} puts {error:.1%} of the objects' pixels on the test image into other objects than "
            f"the decoder does, more than {TOLERANCE_OF_LABELS:.0%}: choose another test image, with clearer objects."
        )
    return error


def _relative_error(result: engines.Result, reference: engines.Result) -> float:
    """Largest difference relative to the range of the output."""
    return float(
        np.max(
            [
                engines.relative_error(got[tensor], array)
                for got, expected in zip(result.outputs, reference.outputs, strict=True)
                for tensor, array in expected.items()
            ]
        )
    )
