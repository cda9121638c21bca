"""Running weights files in engines, each in a process of its own.

TensorFlow and torch abort when both are loaded into one process, and the old engines need an old Python: so every
engine is a process that reads test inputs, runs the file and writes what came out.
"""

from __future__ import annotations

import inspect
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmzpack.bundle.archive import extract
from bmzpack.engines import old, worker
from bmzpack.engines.process import run_python
from bmzpack.engines.registry import ENGINES
from bmzpack.engines.tensors import Attempt, TensorNames
from bmzpack.errors import UserError


def attempt_files(
    files: Sequence[tuple[str, Path]],
    inputs: Sequence[dict[str, np.ndarray]],
    names: TensorNames,
    *,
    trust: bool = False,
    seconds: float | None = None,
) -> list[Attempt]:
    """Run weights files on every entry of ``inputs``, on the CPU.

    All run in one process: importing TensorFlow takes its time.

    Parameters
    ----------
    files
        Keys of `ENGINES`, and files of formats that these engines run; the engines must share a process: `keras` with
        `tensorflow`, or one engine alone. One with a version is set up first where it is missing (see
        `bmzpack.engines.old`).
    inputs
        Tensors by tensor id, batch axis included.
    names
        Tensor ids of the model.
    trust
        Whether Keras may execute Python code that is in a file.
    seconds
        Longest time that all of it may take.

    Returns
    -------
    list of Attempt
        One per file: for every entry of the inputs what came of it, and the time of one call.

    Raises
    ------
    UserError
        The engine is not installed, it crashed, or it took too long.
    """
    first = ENGINES[files[0][0]]
    python = old.python(first.framework, first.version) if first.version else None
    with tempfile.TemporaryDirectory(prefix="bmzpack-") as scratch:
        folder = Path(scratch)
        refused: dict[int, UserError] = {}
        jobs = []
        for number, (name, weights) in enumerate(files):
            try:
                jobs.append(_job(name, weights, folder / str(number), trust))
            except UserError as error:
                refused[number] = error
        failure = f"The engine {first.name} failed"
        arguments = [str(worker.__file__)]
        found = iter(
            run_worker(arguments, failure, folder, jobs, inputs, names, python=python, seconds=seconds) if jobs else []
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
        Where the task and the results are written.
    jobs
        One per weights file, as the worker knows them.
    inputs, names
        As for `attempt_files`.
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


def _job(name: str, weights: Path, folder: Path, trust: bool) -> dict[str, Any]:
    """What the worker has to know of a weights file."""
    engine, path = ENGINES[name], weights
    if engine.unpacked:
        folder.mkdir()
        extract(weights, folder)
        path = folder
    return {
        "engine": engine.framework,
        "loader": {"file": inspect.getfile(engine.load), "function": engine.load.__name__},
        "name": weights.name,
        "trust": trust,
        "weights": str(path.resolve()),
    }


def memory() -> int:
    """Bytes that an engine may take: those of the computer."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # on Windows
        return 2**40


def _load(path: Path, names: TensorNames) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in names.outputs}
