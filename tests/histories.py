"""What a training has written of its epochs, and one that is stopped in the middle of an epoch."""

import csv

from kerazoo.training.callbacks import EndOfEpoch


def history(run):
    with (run.path / "history.csv").open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def stop_at(monkeypatch, epoch, batch, error):
    """Let a training fail in the middle of an epoch (0 for the first)."""
    original = EndOfEpoch.on_train_batch_end

    def fail(self, step, logs=None):
        if (self._position.epoch, step) == (epoch, batch):
            raise error
        original(self, step, logs)

    monkeypatch.setattr(EndOfEpoch, "on_train_batch_end", fail)
