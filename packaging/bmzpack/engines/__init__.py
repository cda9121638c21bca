"""Running a weights file in the engines of its consumers, each in a process of its own.

TensorFlow and torch abort when both are loaded into one process, and the old engines need an old Python: so every
engine is a process that reads test inputs, runs the file and writes what came out.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    return [attempt.result() for attempt in attempt_files(files, inputs, names)]


@dataclasses.dataclass(frozen=True)
class Attempt:
    """What an engine made of test inputs of which it may not take all."""

    outputs: list[dict[str, np.ndarray] | UserError]
    """One entry per entry of the inputs: tensors by id, or why it cannot be run."""
    seconds: float | None
    """As in `Result`; None where the first entry cannot be run."""
    status: str | None = None
    """`passed` or `failed` of the engine's own test, where it has one: bioimageio.core."""
    messages: list[str] = dataclasses.field(default_factory=list)
    """Of that test."""

    def result(self) -> Result | UserError:
        """All outputs, or the first error."""
        outputs = []
        for output in self.outputs:
            if isinstance(output, UserError):
                return output
            outputs.append(output)
        return Result(outputs, self.seconds or 0.0)


def attempt_files(
    files: Sequence[tuple[str, Path]],
    inputs: Sequence[dict[str, np.ndarray]],
    names: TensorNames,
    *,
    trust: bool = False,
    seconds: float | None = None,
) -> list[Attempt]:
    """Run several weights files as `run_files` does, and tell for every entry of the inputs what came of it.

    Parameters
    ----------
    files, inputs, names
        As for `run_files`.
    trust
        Whether Keras may execute Python code that is in a file.
    seconds
        Longest time that all of it may take.

    Returns
    -------
    list of Attempt
        One per file.

    Raises
    ------
    UserError
        The engine is not installed, it crashed, or it took too long.
    """
    engine, _, version = files[0][0].partition("-")
    python = old.python(engine, version) if version else None
    with tempfile.TemporaryDirectory(prefix="bmzpack-") as scratch:
        folder = Path(scratch)
        refused: dict[int, UserError] = {}
        jobs = []
        for number, (name, weights) in enumerate(files):
            job = {"engine": name.partition("-")[0], "name": weights.name, "trust": trust}
            try:
                path = _saved_model(weights, folder / str(number)) if job["engine"] == "tensorflow" else weights
            except UserError as error:
                refused[number] = error
                continue
            jobs.append(job | {"weights": str(path.resolve())})
        found = iter(
            run_worker(
                [str(WORKER)],
                f"The engine {files[0][0]} failed",
                folder,
                jobs,
                inputs,
                names,
                python=python,
                seconds=seconds,
            )
            if jobs
            else []
        )
        return [
            Attempt([refused[number]] * len(inputs), None) if number in refused else next(found)
            for number in range(len(files))
        ]


def run_worker(
    arguments: Sequence[str],
    failure: str,
    folder: Path,
    jobs: Sequence[dict[str, Any]],
    inputs: Sequence[dict[str, np.ndarray]],
    names: TensorNames,
    *,
    python: Path | None = None,
    seconds: float | None = None,
) -> list[Attempt]:
    """Give jobs to a worker and read what it wrote.

    Parameters
    ----------
    arguments, failure, python, seconds
        As for `bmzpack.engines.process.run_python`; the folder is the last argument.
    folder
        Of the task and the results.
    jobs
        One per weights file, as the worker knows them.
    inputs, names
        As for `run`.
    """
    for number, tensors in enumerate(inputs):
        np.savez(folder / f"input{number}.npz", allow_pickle=False, **tensors)
    task = {
        "jobs": list(jobs),
        "inputs": names.inputs,
        "outputs": names.outputs,
        "entries": len(inputs),
        "memory": memory(),
    }
    (folder / "task.json").write_text(json.dumps(task))
    run_python([*arguments, str(folder)], failure, python=python, seconds=seconds)
    attempts = []
    for number, entry in enumerate(json.loads((folder / "results.json").read_text())):
        error = entry.get("error")
        failures = {int(index): UserError(text) for index, text in entry.get("failures", {}).items()}
        outputs = [
            UserError(error) if error else failures.get(index) or _load(folder / f"output{number}-{index}.npz", names)
            for index in range(len(inputs))
        ]
        attempts.append(Attempt(outputs, entry.get("seconds"), entry.get("status"), entry.get("messages", [])))
    return attempts


def memory() -> int:
    """Bytes that an engine may take: those of the computer."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # on Windows
        return 2**40


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference relative to the range of what is expected; not a number where there is one in ``got``."""
    if got.size == 0:
        return 0.0
    spread = float(np.ptp(expected.astype(np.float64))) or 1.0
    return float(np.abs(got.astype(np.float64) - expected).max()) / spread


def _saved_model(archive: Path, folder: Path) -> Path:
    """The folder of an unpacked saved model."""
    from bmzpack.bundle.archive import extract  # it imports the weights, which import this

    folder.mkdir()
    extract(archive, folder)
    return folder


def _load(path: Path, names: TensorNames) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in names.outputs}
