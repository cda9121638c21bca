"""From a ``.keras`` file to every weights format of a bundle: written, run in its engine, compared with Keras.

No framework is imported here: writing and running are processes of their own.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmzpack import engines
from bmzpack.engines import TensorNames
from bmzpack.engines.process import run_python
from bmzpack.errors import UserError
from bmzpack.files import temporary_folder
from bmzpack.operations.labels import TOLERANCE as TOLERANCE_OF_LABELS
from bmzpack.operations.labels import LabelsPostprocessing, disagreement
from bmzpack.weights.format import Versions
from bmzpack.weights.references import reference
from bmzpack.weights.registry import FORMATS, choose_formats, labels_formats
from bmzpack.weights.source import check_source

LOG = logging.getLogger("bmzpack")
ORIGINAL = "keras_v3"
"""The format that the others are made from and compared with."""

LONGEST = 3600.0
"""Seconds that writing the formats of one backend may take."""

TOLERANCE = 1e-4
"""Largest difference from Keras, relative to the range of its output, with which a file is accepted."""


@dataclasses.dataclass(frozen=True)
class Written:
    """A weights file that has been run."""

    format: str
    path: Path
    parent: str | None
    """The format it was made from; None for the original."""
    versions: Versions
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
    labels: LabelsPostprocessing | None = None,
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
    labels
        One with a function is put behind the network, into the formats whose graph can end in labels; all others are
        no business of the weights.

    Returns
    -------
    list of Written
        In the order of ``formats``.

    Raises
    ------
    UserError
        The model cannot be used, or a format that was named: there is none of this name, it cannot be written or run,
        or does not compute what Keras computes.
    """
    labels = labels if labels and labels.in_graph else None
    chosen = labels_formats(formats, labels) if labels else choose_formats(formats)
    check_source(model_path, tensors, chosen, names_made_up=names_made_up)
    written = []
    with temporary_folder() as scratch:
        versions = _write(model_path, scratch, tensors, chosen, labels)
        runnable = [name for name in versions if "error" not in versions[name]]
        results = _run(scratch, runnable, test_inputs, tensors)
        for name in chosen:
            try:
                result, error = _checked(name, model_path, versions, results, labels)
            except UserError as problem:
                if formats is not None or name == chosen[0]:
                    raise
                LOG.warning("%s is left out. %s", name, problem)
                continue
            written.append(
                Written(
                    format=name,
                    path=folder / FORMATS[name].file,
                    parent=None if labels else FORMATS[name].parent,
                    versions=versions[name],
                    max_abs_error=error,
                    latency_s=result.seconds,
                    outputs=result.outputs,
                )
            )
        for entry in written:
            shutil.move(scratch / entry.path.name, entry.path)
    return written


def _write(
    model: Path, folder: Path, names: TensorNames, formats: Sequence[str], labels: LabelsPostprocessing | None
) -> dict[str, dict[str, Any]]:
    """Write the original and formats, those of one backend in one process.

    Returns
    -------
    dict
        Versions by format, or what went wrong as ``error``.
    """
    groups: dict[str, dict[str, None]] = {FORMATS[ORIGINAL].backend: {ORIGINAL: None}}
    for name in formats:
        groups.setdefault(FORMATS[name].backend, {})[name] = None
    versions = {}
    for backend, group in groups.items():
        source = model if ORIGINAL in group else folder / FORMATS[ORIGINAL].file
        task = {
            "model": str(source.resolve()),
            "folder": str(folder),
            "inputs": names.inputs,
            "outputs": names.outputs,
            "files": {name: _file(name) for name in group},
            "labels": labels and labels.in_graph,
        }
        (folder / "task.json").write_text(json.dumps(task))
        LOG.info("writing %s", ", ".join(group))
        run_python(
            ["-m", "bmzpack.weights.writer", str(folder / "task.json")],
            f"{model} could not be converted",
            folder,
            reads=[source],
            backend=backend,
            seconds=LONGEST,
        )
        versions |= json.loads((folder / "versions.json").read_text())
    return versions


def _file(name: str) -> dict[str, str]:
    """A file as the writing process knows it."""
    form = FORMATS[name]
    assert form.write is not None
    return {"name": form.file, "writer": reference(form.write)}


def _run(
    folder: Path, formats: Sequence[str], inputs: Sequence[dict[str, np.ndarray]], names: TensorNames
) -> dict[str, engines.Result | UserError]:
    """Run the written files, those of one framework in one process."""
    groups: dict[str, dict[str, tuple[str, Path]]] = {}
    for name in formats:
        form = FORMATS[name]
        assert form.engine is not None
        groups.setdefault(form.process, {})[name] = (form.engine, folder / form.file)
    results = {}
    for files in groups.values():
        LOG.info("running %s, to compare", ", ".join(files))
        attempts = engines.attempt_files(list(files.values()), inputs, names)
        results |= zip(files, (attempt.result() for attempt in attempts), strict=True)
    return results


def _checked(
    name: str,
    model: Path,
    versions: Mapping[str, Mapping[str, Any]],
    results: Mapping[str, engines.Result | UserError],
    labels: LabelsPostprocessing | None,
) -> tuple[engines.Result, float]:
    """The result and relative error of a file that was written, runs, and computes what Keras computes."""
    remedy = "" if name == ORIGINAL else " Choose other formats with --formats."
    if "error" in versions[name]:
        raise UserError(f"{versions[name]['error']}.{remedy}")
    result, expected = results[name], results[ORIGINAL]
    if isinstance(expected, UserError):
        raise expected
    if isinstance(result, UserError):
        raise UserError(f"{result}.{remedy}")
    for outputs in expected.outputs:
        for tensor, array in outputs.items():
            if not np.isfinite(array).all():
                raise UserError(f"{model}: the output {tensor!r} is not finite on the test input: check the weights.")
    error = (
        _error_of_labels(name, model, result, expected, labels)
        if labels
        else _error(name, model, result, expected, remedy)
    )
    return result, error


def _error(name: str, model: Path, result: engines.Result, expected: engines.Result, remedy: str) -> float:
    """How much outputs differ from those of Keras relative to their range, where it is little."""
    errors = []
    for got, outputs in zip(result.outputs, expected.outputs, strict=True):
        for tensor, array in outputs.items():
            if got[tensor].shape != array.shape:
                raise UserError(
                    f"{name} gives {tensor!r} the shape {got[tensor].shape}, where {model} gives {array.shape}.{remedy}"
                )
            errors.append(engines.relative_error(got[tensor], array))
    error = float(np.max(errors))
    if not error <= TOLERANCE:
        raise UserError(
            f"{name} differs from {model} by {error:.1e} of the output's range, more than {TOLERANCE:.0e}.{remedy}"
        )
    return error


def _error_of_labels(
    name: str, model: Path, result: engines.Result, expected: engines.Result, labels: LabelsPostprocessing
) -> float:
    """How much the labels of a graph differ from those that are made of the output of Keras, where it is little."""
    weighed = []
    for got, outputs in zip(result.outputs, expected.outputs, strict=True):
        for tensor, array in outputs.items():
            found, decoded = got[tensor], labels.decode(array)
            weighed.append((np.count_nonzero((found != 0) | (decoded != 0)), disagreement(found, decoded)))
    error = sum(pixels * part for pixels, part in weighed) / max(1, sum(pixels for pixels, _ in weighed))
    if not error <= TOLERANCE_OF_LABELS:
        raise UserError(
            f"{name} of {model} puts {error:.1%} of the objects' pixels on the test image into other objects than "
            f"the decoder does, more than {TOLERANCE_OF_LABELS:.0%}: choose another test image, with clearer objects."
        )
    return error
