"""What a training shows while it runs: a live table in a terminal, one plain line per epoch elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import keras
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from kerazoo.training.state import Position

ROWS = 12
"""Epochs that the table shows, the last ones."""
REFRESH = 0.5
"""Seconds between two drawings of the table."""


class Progress(keras.callbacks.Callback):
    """Epoch, step, losses and remaining time.

    Parameters
    ----------
    position
        Where the training stands.
    epochs
        How many there are in all.
    steps
        Steps of an epoch.
    console
        Where to write.
    """

    def __init__(self, position: Position, epochs: int, steps: int, console: Console) -> None:
        super().__init__()
        self._position, self._epochs, self._steps = position, epochs, steps
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._epoch, self._step, self._loss = position.epoch, 0, float("nan")
        self._started = self._drawn = time.monotonic()
        self._start = position.epoch

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Open the live table."""
        if self._live is not None:
            self._live.start()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Note the epoch."""
        self._epoch, self._step = epoch, 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Note the step, and draw the table now and then."""
        self._step, self._loss = batch + 1, float((logs or {})["loss"])
        if self._live is not None and time.monotonic() - self._drawn > REFRESH:
            self._drawn = time.monotonic()
            self._live.update(self._table(), refresh=True)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Draw the table, or write a line."""
        self._epoch, self._step = epoch + 1, 0
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
            return
        row = self._position.history[-1]
        values = "  ".join(f"{name} {row[name]:.4f}" for name in row if name not in ("epoch", "learning_rate"))
        self._console.print(f"epoch {epoch + 1}/{self._epochs}  {values}  {self._remaining()}", soft_wrap=True)

    def close(self) -> None:
        """Close the live table; it stays in the terminal."""
        if self._live is not None:
            self._live.stop()

    def _table(self) -> Group:
        names = [name for name in (self._position.history or [{}])[0] if name not in ("epoch", "learning_rate")]
        table = Table("epoch", *(name.replace("_", " ") for name in names), header_style="bold")
        for row in self._position.history[-ROWS:]:
            style = "green" if row["epoch"] == self._position.best_epoch else None
            table.add_row(f"{row['epoch']:.0f}", *(f"{row[name]:.4f}" for name in names), style=style)
        line = Table.grid(padding=(0, 1))
        done = self._epoch * self._steps + self._step
        line.add_row(
            f"epoch {min(self._epoch + 1, self._epochs)}/{self._epochs}",
            f"step {self._step}/{self._steps}",
            ProgressBar(total=self._epochs * self._steps, completed=done, width=30),
            f"loss {self._loss:.4f}",
            self._remaining(),
        )
        return Group(table, line) if names else Group(line)

    def _remaining(self) -> str:
        done = (self._epoch - self._start) * self._steps + self._step
        todo = (self._epochs - self._epoch) * self._steps - self._step
        if not done or not todo:
            return ""
        seconds = (time.monotonic() - self._started) / done * todo
        return f"{seconds / 60:.0f} min left" if seconds > 90 else f"{seconds:.0f} s left"
