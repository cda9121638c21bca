"""The engines inside Fiji, TensorFlow 2.10.1 and ONNX Runtime 1.13.1: environments of their own on Python 3.10.

They are made on request in the user's cache and kept there. Python 3.10 is the interpreter that the environment
variable ``BMZPACK_PYTHON310`` names (formerly ``KERAZOO_PYTHON310``), else the first ``python3.10`` that runs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bmzpack.errors import UserError
from bmzpack.files import cache_folder

REQUIREMENTS = {
    ("tensorflow", "2.10.1"): ("tensorflow-cpu==2.10.1", "numpy<2", "protobuf<3.20"),
    ("onnxruntime", "1.13.1"): ("onnxruntime==1.13.1", "numpy<2"),
}


def python(engine: str, version: str) -> Path:
    """The interpreter of an old engine's environment, which is made where it is missing.

    Raises
    ------
    UserError
        There is no Python 3.10, or the environment cannot be made.
    """
    environment = cache_folder("engines") / f"{engine}-{version}"
    interpreter = environment / "bin" / "python"
    if not interpreter.exists():
        _make(environment, REQUIREMENTS[engine, version])
    return interpreter


def python310() -> Path | None:
    """A Python 3.10 that runs, or None."""
    for candidate in _candidates():
        # a pyenv shim lies on the path and fails when its version is not switched on
        try:
            answer = subprocess.run(
                [candidate, "-c", "import sys; print(sys.version_info[:2] == (3, 10))"], capture_output=True, text=True
            )
        except OSError:
            continue
        if answer.stdout.strip() == "True":
            return Path(candidate)
    return None


def _candidates() -> Iterator[str | Path]:
    named = os.environ.get("BMZPACK_PYTHON310") or os.environ.get("KERAZOO_PYTHON310")
    if named:
        yield named
        return
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if found := shutil.which("python3.10", path=folder):
            yield found
    yield from sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/3.10.*/bin/python"))


def _make(environment: Path, requirements: tuple[str, ...]) -> None:
    interpreter = python310()
    if interpreter is None:
        raise UserError(
            f"{environment.name} needs Python 3.10, which was not found: install it, or name it in BMZPACK_PYTHON310."
        )
    environment.parent.mkdir(parents=True, exist_ok=True)
    started = Path(tempfile.mkdtemp(prefix=f".{environment.name}.", dir=environment.parent))
    try:
        for command in (
            [interpreter, "-m", "venv", started],
            [started / "bin" / "python", "-m", "pip", "install", "--quiet", *requirements],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise UserError(f"{environment.name} could not be installed for Python 3.10: {last}")
        if not environment.exists():
            started.replace(environment)
    finally:
        shutil.rmtree(started, ignore_errors=True)
