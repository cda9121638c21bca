"""Running weights files in engines, each in a process of its own.

TensorFlow and torch abort when both are loaded into one process, and the old engines need an old Python: so every
engine is a process that reads test inputs, runs the file and writes what came out.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from bmzpack.bundle.archive import extract
from bmzpack.bundle.data_files import load_array
from bmzpack.engines import old, worker
from bmzpack.engines.process import LONGEST, run_python
from bmzpack.engines.registry import ENGINES
from bmzpack.engines.tensors import Attempt, TensorNames
from bmzpack.errors import UserError, harmless
from bmzpack.files import temporary_folder

LARGEST_RESULTS = 2**24
"""Bytes of what a worker says."""
LARGEST_OUTPUTS = 2**32
"""Bytes of all tensors that it gives."""


def attempt_files(
    files: Sequence[tuple[str, Path]],
    inputs: Sequence[dict[str, np.ndarray]],
    names: TensorNames,
    *,
    trust: bool = False,
    seconds: float = LONGEST,
) -> list[Attempt]:
    """Run weights files on every entry of ``inputs``, on the CPU, confined as `bmzpack.engines.process` does.

    All run in one process: importing TensorFlow takes its time. Files of strangers are looked at before, see
    `bmzpack.testing.foreign`.

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
        Whether Keras may execute Python code that is in a file, and the process is not confined.
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
    with temporary_folder() as folder:
        refused: dict[int, UserError] = {}
        jobs = []
        for number, (name, weights) in enumerate(files):
            try:
                jobs.append(_job(name, weights, folder / str(number), trust))
            except UserError as error:
                refused[number] = error
        loaders = {inspect.getfile(ENGINES[name].load) for name, _ in files}
        reads = [*map(Path, loaders), *(weights for name, weights in files if not ENGINES[name].unpacked)]
        failure = f"The engine {first.name} failed"
        found = iter(
            run_worker(
                [str(worker.__file__)],
                failure,
                folder,
                jobs,
                inputs,
                names,
                reads=reads,
                trust=trust,
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
    reads: Sequence[Path],
    trust: bool = False,
    python: Path | None = None,
    seconds: float = LONGEST,
) -> list[Attempt]:
    """Give jobs to a worker and read what it wrote.

    Parameters
    ----------
    arguments, failure, reads, trust, python, seconds
        As for `bmzpack.engines.process.run_python`; the folder is the last argument.
    folder
        Where the task and the results are written.
    jobs
        One per weights file, as the worker knows them.
    inputs, names
        As for `attempt_files`.
    """
    for number, tensors in enumerate(inputs):
        for position, name in enumerate(names.inputs):
            np.save(folder / f"input{number}-{position}.npy", tensors[name], allow_pickle=False)
    task = {"jobs": list(jobs), "inputs": names.inputs, "outputs": names.outputs, "entries": len(inputs)}
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
    run_python([*arguments, str(folder)], failure, folder, reads=reads, trust=trust, python=python, seconds=seconds)
    answers = _answers(folder, len(jobs), failure)
    if sum(path.stat().st_size for path in folder.glob("output*.npy")) > LARGEST_OUTPUTS:
        raise UserError(f"{failure}: its outputs take more than {LARGEST_OUTPUTS / 2**30:.0f} GiB.")
    attempts = []
    for number, answer in enumerate(answers):
        outputs = []
        for index in range(len(inputs)):
            error = answer.error or answer.failures.get(str(index))
            outputs.append(UserError(error) if error else _outputs(folder, f"output{number}-{index}", names))
        attempts.append(Attempt(outputs, answer.seconds, answer.status, [*map(harmless, answer.messages)]))
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


def _answers(folder: Path, count: int, failure: str) -> list[_Answer]:
    """What a worker says of its jobs, which may be anything."""
    path = folder / "results.json"
    try:
        if path.stat().st_size > LARGEST_RESULTS:
            raise ValueError
        answers = pydantic.TypeAdapter(list[_Answer]).validate_json(path.read_bytes(), strict=True)
        if len(answers) != count:
            raise ValueError
    except (OSError, ValueError):
        raise UserError(f"{failure}: it ended without a result.") from None
    return answers


def _outputs(folder: Path, stem: str, names: TensorNames) -> dict[str, np.ndarray] | UserError:
    """The tensors that a worker wrote."""
    found = {}
    for position, name in enumerate(names.outputs):
        array = load_array(folder / f"{stem}-{position}.npy")
        if isinstance(array, str):
            return UserError(f"The output {name} holds no numbers: {array}.")
        if array.dtype.kind not in "buif":
            return UserError(f"The output {name} is of type {array.dtype}, where numbers are expected.")
        found[name] = np.array(array)
    return found


class _Answer(pydantic.BaseModel):
    """What a worker says of a job."""

    error: str | None = None
    failures: dict[str, str] = {}
    seconds: float | None = None
    status: str | None = None
    messages: list[str] = []
