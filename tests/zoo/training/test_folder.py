"""The run folder: of one training only, an older run is kept until there is a new one, damage is named."""

import signal

import numpy as np
import pytest

from bmzpack.errors import UserError
from kerazoo.inference.network import load_model
from kerazoo.runs.run import Run
from kerazoo.training.folder import Claim
from kerazoo.training.interrupt import Interruptible
from kerazoo.training.state import Position, read_state


@pytest.fixture
def older(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("precious")
    return Run(tmp_path / "run")


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_an_older_run_comes_back(older, tmp_path):
    claim = Claim(older)
    claim.take(overwrite=True)
    (older.path / "config.yaml").write_text("")
    assert names(tmp_path) == ["run.old/notes.txt", "run/config.yaml"]
    claim.undo()
    assert names(tmp_path) == ["run/notes.txt"]


def test_an_older_run_is_replaced(older, tmp_path):
    (tmp_path / "run.old").mkdir()
    claim = Claim(older)
    claim.take(overwrite=True)
    (older.path / "config.yaml").write_text("")
    claim.settle()
    assert names(tmp_path) == ["run/config.yaml"]
    assert (tmp_path / "run.old").is_dir(), "it is none of this training"


def test_a_folder_is_of_one_training(tmp_path):
    first, second = Claim(Run(tmp_path / "run")), Claim(Run(tmp_path / "run"))
    first.take(overwrite=False)
    (tmp_path / "run" / "config.yaml").write_text("")
    with pytest.raises(UserError, match="made meanwhile, by another training"):
        second.take(overwrite=False)
    second.undo()
    assert names(tmp_path) == ["run/config.yaml"]
    with pytest.raises(UserError, match=r"config\.yaml.run cannot be made .*-o"):
        Claim(Run(tmp_path / "run" / "config.yaml" / "run")).take(overwrite=False)


def test_damaged_files(tmp_path):
    (tmp_path / "last").mkdir()
    np.savez(tmp_path / "last" / "state.npz", position=np.array("{}"))
    assert read_state(Run(tmp_path)).position == Position()
    content = (tmp_path / "last" / "state.npz").read_bytes()
    for part in (content[:100], b"", content[:-30]):
        (tmp_path / "last" / "state.npz").write_bytes(part)
        with pytest.raises(UserError, match=r"state\.npz is damaged: begin anew with --overwrite.*model\.weights"):
            read_state(Run(tmp_path))
    (tmp_path / "best.keras").write_bytes(content[:100])
    with pytest.raises(UserError, match=r"best\.keras is damaged"):
        load_model(tmp_path / "best.keras")


def test_what_is_said_of_an_unfinished_run(tmp_path):
    run = Run(tmp_path)
    (tmp_path / "config.yaml").write_text("model: {name: unet2d}\ndata: {}\ntraining: {epochs: 24}\n")
    (tmp_path / "history.csv").write_text("epoch,loss\n1,0.5\n2,0.4\n")
    assert "holds 2 of 24 epochs, and its thresholds are not chosen yet: finish it" in run.unfinished
    run.update_record(epochs=24)
    assert "holds all epochs, but its thresholds are not chosen" in run.unfinished
    run.update_record(scores={"dice": 0.9})
    assert run.unfinished is None


def test_an_interruption_waits_for_the_step():
    callback = Interruptible()
    before = signal.getsignal(signal.SIGINT)
    with callback.listening():
        callback.on_train_batch_end(0)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            callback.on_train_batch_end(1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before
