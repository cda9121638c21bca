"""The official packages, each in an environment and in processes of its own: they do not fit beside one another.

`make parity` makes the environments `.venv/parity/PEER` from `.ci/parity/PEER.txt`. A script `peers/PEER_peer.py` holds
the functions that run there; what goes in and what comes out are arrays, in npz files.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".venv" / "parity"

Peer = Callable[..., dict[str, np.ndarray]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("parity")


def _array(value: object) -> np.ndarray:
    return np.asarray(str(value) if isinstance(value, Path) else value)


@pytest.fixture
def peer(tmp_path: Path) -> Callable[[str], Peer]:
    """A function ``peer(NAME)(function, **inputs)`` that runs a function of ``peers/NAME_peer.py`` and returns arrays.

    Inputs are arrays, numbers, texts or paths. The function takes a dict of them, and returns a dict of arrays.
    Another script for the same environment is named as the second argument.
    """

    def of(name: str, script: str | None = None) -> Peer:
        python = ENVIRONMENTS / name / "bin" / "python"
        if not python.is_file():
            pytest.fail(f"There is no environment {python.parents[1]}: make it with `make parity`.")

        def call(function: str, /, **inputs: object) -> dict[str, np.ndarray]:
            given, result = tmp_path / "inputs.npz", tmp_path / "outputs.npz"
            np.savez(given, **{key: _array(value) for key, value in inputs.items()})
            command = [python, HERE / "peers" / "run.py", script or f"{name}_peer", function, given, result]
            # what is chosen for us is not chosen for others
            ours = ("KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS")
            environment = {key: value for key, value in os.environ.items() if key not in ours}
            environment["PYTHONPATH"] = str(HERE.parent)
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-4000:]
            with np.load(result) as arrays:
                return dict(arrays)

        return call

    return of
