"""What a training leaves on disk on its way: the best network, the history and the state, which belong together."""

from __future__ import annotations

import csv
import time
from typing import Any

import keras

from bmzpack.files import new_file
from kerazoo.runs.run import Run
from kerazoo.training.state import Position, State, capture, restore, write_state

INTERVAL = 10.0
"""Seconds between two checkpoints, at least: in short epochs writing would take longer than training."""


class Checkpoint:
    """Writes what an epoch has led to, now or a little later.

    The state is written last: a kill at any moment leaves a run that continues after the epoch that it tells of.

    Parameters
    ----------
    run
        Where to write.
    best
        A network in float32 that gets the weights of the best epoch.
    """

    def __init__(self, run: Run, best: Any) -> None:
        self._run, self._network = run, best
        self._last: State | None = None
        self._best: State | None = None
        self._written = -INTERVAL

    def take(self, position: Position, network: keras.Model, optimiser: Any, better: bool) -> None:
        """Remember where the training stands, and write it if enough time has passed.

        Parameters
        ----------
        position, network, optimiser
            After a complete epoch.
        better
            Whether it is the best one so far.
        """
        state = capture(position, network, optimiser)
        if better:
            self._best = state
        self._last = state
        if time.monotonic() - self._written >= INTERVAL:
            self.write()

    def write(self) -> None:
        """Write what is not yet written."""
        if self._last is None:
            return
        if self._best is not None:
            restore(self._best, self._network)
            with new_file(self._run.model_path, overwrite=True) as path:
                self._network.save(path)
        _write_history(self._run, self._last.position)
        write_state(self._run, self._last)
        self._last = self._best = None
        self._written = time.monotonic()


def _write_history(run: Run, position: Position) -> None:
    with (
        new_file(run.path / "history.csv", overwrite=True) as path,
        path.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, position.history[0])
        writer.writeheader()
        writer.writerows(position.history)
