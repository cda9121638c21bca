"""Running a weights file in the engines of its consumers, each in a process of its own.

TensorFlow and torch abort when both are loaded into one process, and the old engines need an old Python: so every
engine is a process that reads test inputs, runs the file and writes what came out.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bmzpack.engines import old
from bmzpack.engines.process import run_python
from bmzpack.errors import UserError

WORKER = Path(__file__).with_name("worker.py")

FORMATS = {
    "keras": ("keras_v3", "keras_hdf5"),
    "tensorflow": ("tensorflow_saved_model_bundle",),
    "onnxruntime": ("onnx",),
    "torch": ("torchscript",),
    "tensorflow-2.10.1": ("tensorflow_saved_model_bundle",),
    "onnxruntime-1.13.1": ("onnx",),
}
"""The weights formats that an engine runs; an engine with a version is the one inside Fiji."""


@dataclasses.dataclass(frozen=True)
class TensorNames:
    """The tensor ids of a model, in the order of its inputs and outputs."""

    inputs: list[str]
    outputs: list[str]


@dataclasses.dataclass(frozen=True)
class Result:
    """What an engine made of the test inputs."""

    outputs: list[dict[str, np.ndarray]]
    """One entry per entry of the inputs, by tensor id."""
    seconds: float
    """Fastest of two to five calls with the first entry, on the CPU, when the engine is warm."""


def run(engine: str, weights: Path, inputs: Sequence[dict[str, np.ndarray]], names: TensorNames) -> Result:
    """Run a weights file on every entry of ``inputs``, on the CPU.

    Parameters
    ----------
    engine
        A key of `FORMATS`; an engine with a version is set up first where it is missing (see `bmzpack.engines.old`).
    weights
        A file of a format that the engine runs.
    inputs
        Tensors by tensor id, batch axis included.
    names
        Tensor ids of the model.

    Returns
    -------
    Result
        The outputs and the time of one call.

    Raises
    ------
    UserError
        The engine is not installed, or it cannot run the file.
    """
    result = run_files([(engine, weights)], inputs, names)[0]
    if isinstance(result, UserError):
        raise result
    return result


def run_files(
    files: Sequence[tuple[str, Path]], inputs: Sequence[dict[str, np.ndarray]], names: TensorNames
) -> list[Result | UserError]:
    """Run several weights files as `run` does, all in one process: importing TensorFlow takes its time.

    Parameters
    ----------
    files
        Engines and weights files; the engines must share a process: `keras` with `tensorflow`, or one engine alone.
    inputs, names
        As for `run`.

    Returns
    -------
    list
        One per file: its result, or why the engine cannot run it.

    Raises
    ------
    UserError
        The engine is not installed.
    """
    engine, _, version = files[0][0].partition("-")
    python = old.python(engine, version) if version else None
    with tempfile.TemporaryDirectory(prefix="bmzpack-") as scratch:
        folder = Path(scratch)
        for number, tensors in enumerate(inputs):
            np.savez(folder / f"input{number}.npz", allow_pickle=False, **tensors)
        jobs = [{"engine": name.partition("-")[0], "weights": str(weights.resolve())} for name, weights in files]
        task = {"jobs": jobs, "inputs": names.inputs, "outputs": names.outputs, "entries": len(inputs)}
        (folder / "task.json").write_text(json.dumps(task))
        run_python([str(WORKER), scratch], f"The engine {files[0][0]} failed", python=python)
        results = []
        for number, entry in enumerate(json.loads((folder / "results.json").read_text())):
            if "error" in entry:
                results.append(UserError(entry["error"]))
                continue
            paths = [folder / f"output{number}-{index}.npz" for index in range(len(inputs))]
            results.append(Result([_load(path, names.outputs) for path in paths], entry["seconds"]))
        return results


def _load(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return {name: stored[name] for name in names}
