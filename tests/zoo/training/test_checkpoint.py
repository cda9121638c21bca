"""Checkpoints: in short epochs written now and then, at the end always, and always best network and state together."""

import csv

import keras
import numpy as np
import pytest

from kerazoo.runs.run import Run
from kerazoo.training import checkpoint
from kerazoo.training.checkpoint import Checkpoint
from kerazoo.training.state import Position, read_state


def network():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="output")])
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture
def epoch(tmp_path):
    """A function that ends an epoch in which all weights become its number."""
    model, position = network(), Position()
    kept = Checkpoint(Run(tmp_path / "run"), network())

    def end(better):
        position.epoch += 1
        position.history.append({"epoch": position.epoch})
        model.set_weights([np.full_like(weight, position.epoch) for weight in model.get_weights()])
        kept.take(position, model, model.optimizer, better)

    return end, kept, Run(tmp_path / "run")


def written(run):
    """The epoch of the best network, that of the state, and the rows of the history."""
    weights = keras.saving.load_model(run.model_path).get_weights()
    state = read_state(run)
    assert {float(value) for values in state.model for value in np.ravel(values)} == {float(state.position.epoch)}
    with (run.path / "history.csv").open(encoding="utf-8") as file:
        return int(weights[0].max()), state.position.epoch, len(list(csv.DictReader(file)))


def test_the_first_epoch_is_written_and_the_others_later(epoch):
    end, kept, run = epoch
    end(better=True)
    assert written(run) == (1, 1, 1)
    end(better=True)
    end(better=False)
    assert written(run) == (1, 1, 1)
    kept.write()
    assert written(run) == (2, 3, 3)
    before = run.model_path.stat().st_mtime_ns
    kept.write()
    end(better=False)
    kept.write()
    assert written(run) == (2, 4, 4)
    assert run.model_path.stat().st_mtime_ns == before


def test_long_epochs_are_written_each(epoch, monkeypatch):
    monkeypatch.setattr(checkpoint, "INTERVAL", 0)
    end, _, run = epoch
    for better, best in ((True, 1), (False, 1), (True, 3)):
        end(better)
        assert written(run)[0] == best
    assert written(run) == (3, 3, 3)


def test_nothing_is_written_before_an_epoch_is_complete(epoch):
    _, kept, run = epoch
    kept.write()
    assert not run.path.exists()
