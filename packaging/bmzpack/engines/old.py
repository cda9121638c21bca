"""The engines inside Fiji, TensorFlow 2.10.1 and ONNX Runtime 1.13.1: environments of their own on Python 3.10.

They are made on request in the user's cache and kept there. Python 3.10 is the interpreter that the environment
variable ``BMZPACK_PYTHON310`` names (formerly ``KERAZOO_PYTHON310``), else the first ``python3.10`` that runs.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
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
        There is no Python 3.10, the environment cannot be made, or somebody else can change it.
    """
    environment = cache_folder("engines") / f"{engine}-{version}"
    if not _is_whole(environment, engine, version):
        _make(environment, engine, version)
    return environment / "bin" / "python"


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


def _is_whole(environment: Path, engine: str, version: str) -> bool:
    """Whether there is a complete environment; UserError where others than this user, or root, can change it."""
    for folder in (environment, environment.parent):
        with contextlib.suppress(FileNotFoundError):
            found = folder.stat()
            if found.st_uid not in (os.getuid(), 0) or stat.S_IMODE(found.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
                raise UserError(
                    f"Others can change what is in {folder}, so that nothing there is executed: remove it, or set "
                    "XDG_CACHE_HOME to a folder of your own."
                )
    installed = environment / "lib" / "python3.10" / "site-packages"
    return (environment / "bin" / "python").exists() and any(installed.glob(f"{engine}*-{version}.dist-info/RECORD"))


def _make(environment: Path, engine: str, version: str) -> None:
    interpreter = python310()
    if interpreter is None:
        raise UserError(
            f"{environment.name} needs Python 3.10, which was not found: install it, or name it in BMZPACK_PYTHON310."
        )
    environment.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    started = Path(tempfile.mkdtemp(prefix=f".{environment.name}.", dir=environment.parent))
    try:
        for command in (
            [interpreter, "-m", "venv", started],
            [started / "bin" / "python", "-m", "pip", "install", "--quiet", *REQUIREMENTS[engine, version]],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise UserError(f"{environment.name} could not be installed for Python 3.10: {last}")
        if not _is_whole(started, engine, version):
            raise UserError(f"{environment.name} could not be installed for Python 3.10: {engine} is not in it.")
        while not _is_whole(environment, engine, version):  # another process may have been as quick
            with contextlib.suppress(FileNotFoundError):
                environment.rename(started / f"broken-{secrets.token_hex(4)}")
            with contextlib.suppress(OSError):
                started.rename(environment)
    finally:
        shutil.rmtree(started, ignore_errors=True)
