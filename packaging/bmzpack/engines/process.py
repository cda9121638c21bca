"""Starting a Python of its own for a framework, and telling what went wrong in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bmzpack.errors import UserError

PACKAGES = Path(__file__).parents[2]


def run_python(
    arguments: Sequence[str],
    failure: str,
    *,
    python: Path | None = None,
    backend: str = "tensorflow",
    seconds: float | None = None,
) -> None:
    """Run Python on the CPU and wait for its end.

    Parameters
    ----------
    arguments
        What follows the interpreter.
    failure
        What it means when the process fails; begins the message of the error.
    python
        The interpreter; this one by default.
    backend
        Of Keras.
    seconds
        Longest time that it may take.

    Raises
    ------
    UserError
        The process failed: with its own words where it ended on a UserError, else with the last line of its errors;
        or it took too long.
    """
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",  # a GPU rounds convolutions to TF32, and two frameworks would fight for it
        "PYTHONHASHSEED": "0",  # the order of sets decides the order of nodes
        "PYTHONSAFEPATH": "1",  # the folder that the command was called in may be a stranger's bundle with a numpy.py
    }
    if python is None:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PACKAGES), os.environ.get("PYTHONPATH")]))
    else:
        environment.pop("PYTHONPATH", None)
    try:
        done = subprocess.run(
            [str(python or sys.executable), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{failure}: it was stopped after {seconds:.0f} seconds.") from None
    if done.returncode == 0:
        return
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else f"exit code {done.returncode}"
    if done.returncode == 2 and last.startswith("Error: "):
        raise UserError(last.removeprefix("Error: "))
    raise UserError(f"{failure}: {last}")
