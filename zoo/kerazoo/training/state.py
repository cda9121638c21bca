"""Where a training stands after an epoch: everything that is needed to go on as if nothing had happened."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
import zipfile
import zlib
from typing import Any

import keras
import numpy as np

from bmzpack.errors import UserError
from bmzpack.files import new_file
from kerazoo.runs.run import Run


@dataclasses.dataclass
class Position:
    """Counters and history of a training."""

    epoch: int = 0
    """Complete epochs."""
    best_loss: float | None = None
    """Lowest validation loss."""
    best_epoch: int = 0
    """Its epoch, 1 for the first."""
    waited: int = 0
    """Epochs since the best one, for early stopping."""
    plateau: int = 0
    """Epochs since the best one or since the learning rate was lowered."""
    rate_factor: float = 1.0
    """What `plateau` has multiplied the learning rate with."""
    stopped: bool = False
    """Whether early stopping has ended the training."""
    seconds: float = 0.0
    """Time spent in complete epochs, validation included."""
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    """One row per epoch."""


@dataclasses.dataclass(frozen=True)
class State:
    """A `Position` with the values of all variables."""

    position: Position
    model: list[np.ndarray]
    optimiser: list[np.ndarray]


def capture(position: Position, model: keras.Model, optimiser: Any) -> State:
    """The state of a training: weights, statistics, random generators and optimiser."""
    return State(copy.deepcopy(position), _values(model.variables), _values(optimiser.variables))


def restore(state: State, model: keras.Model, optimiser: Any = None) -> None:
    """Give a model, and an optimiser if there is one, the values of a state."""
    for variable, value in zip(model.variables, state.model, strict=True):
        variable.assign(value)
    if optimiser is not None:
        for variable, value in zip(optimiser.variables, state.optimiser, strict=True):
            variable.assign(value)


def write_state(run: Run, state: State) -> None:
    """Write last/state.npz in one piece: a kill leaves either the old one or the new one."""
    arrays: dict[str, Any] = {"position": np.array(json.dumps(dataclasses.asdict(state.position)))}
    for kind, values in (("model", state.model), ("optimiser", state.optimiser)):
        arrays |= {f"{kind}/{number}": value for number, value in enumerate(values)}
    with new_file(_path(run), overwrite=True) as path:
        np.savez(path, **arrays)


def read_state(run: Run) -> State | None:
    """The state of the last complete epoch; None where there is none yet.

    Raises
    ------
    UserError
        The file is damaged.
    """
    if not _path(run).is_file():
        return None
    try:
        with np.load(_path(run)) as file:
            position = Position(**json.loads(str(file["position"])))
            kinds = {
                kind: [file[f"{kind}/{number}"] for number in range(sum(name.startswith(kind) for name in file))]
                for kind in ("model", "optimiser")
            }
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{_path(run)} is damaged: begin anew with --overwrite, or with another name from what has been learned, "
            f"by --set model.weights={run.model_path}."
        ) from error
    return State(position, kinds["model"], kinds["optimiser"])


def remove_unfinished_files(run: Run) -> None:
    """Remove what a kill left of files that were being written."""
    for folder in (run.path, run.path / "last", run.path / "figures"):
        for path in folder.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)


def _path(run: Run) -> Any:
    return run.path / "last" / "state.npz"


def _values(variables: list[keras.Variable]) -> list[np.ndarray]:
    return [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in variables]
