"""What a training shows."""

import io
import re

import pytest
from rich.console import Console

from kerazoo.training.progress import Progress
from kerazoo.training.state import Position


def show(console, epochs=2, steps=3):
    position = Position()
    progress = Progress(position, epochs, steps, console)
    progress.on_train_begin()
    try:
        for epoch in range(epochs):
            progress.on_epoch_begin(epoch)
            for step in range(steps):
                progress.on_train_batch_end(step, {"loss": 0.5})
            position.epoch, position.best_epoch = epoch + 1, 1
            position.history.append({"epoch": epoch + 1, "learning_rate": 1e-3, "loss": 0.25, "val_loss": 0.125})
            progress.on_epoch_end(epoch, {})
    finally:
        progress.close()


def test_live_table_in_a_terminal(monkeypatch):
    monkeypatch.setattr("kerazoo.training.progress.REFRESH", 0.0)
    text = io.StringIO()
    show(Console(file=text, force_terminal=True, width=100))
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.getvalue())
    assert "step 2/3" in plain
    assert "loss 0.5000" in plain
    assert "val loss" in plain
    assert "0.1250" in plain
    assert "s left" in plain


@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "", "TERM": "dumb"}])
def test_lines_elsewhere(environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    text = io.StringIO()
    show(Console(file=text, highlight=False))
    assert [line[:43] for line in text.getvalue().splitlines()] == [
        "epoch 1/2  loss 0.2500  val_loss 0.1250  0 ",
        "epoch 2/2  loss 0.2500  val_loss 0.1250  ",
    ]


def test_silence():
    text = io.StringIO()
    show(Console(file=text, quiet=True))
    assert text.getvalue() == ""
