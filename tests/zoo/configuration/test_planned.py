"""A training is planned for the minutes that a user has, with a step that is measured."""

import pytest

import kerazoo
from bmzpack.errors import UserError
from kerazoo.examples.glyphs import write_digits
from kerazoo.examples.synthetic import write_nuclei
from kerazoo.models.configure import read_config
from kerazoo.training import duration
from kerazoo.training.duration import Duration


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nuclei")
    write_nuclei(folder, images=5, seed=1, size=64)
    return folder


def planned(nuclei, path, minutes, **options):
    said = []
    kerazoo.init("unet2d", nuclei / "images", nuclei / "masks", path, minutes=minutes, say=said.append, **options)
    return read_config(path).training, said


def test_a_step_is_measured_and_nothing_is_written(nuclei, tmp_path):
    path = kerazoo.init("unet2d", nuclei / "images", nuclei / "masks", tmp_path / "config.yaml")
    config = read_config(
        path, ["training.patch_size=32", "training.steps_per_epoch=null", "model.arguments={filters: 4, depth: 1}"]
    )
    found = duration.measure(config)
    assert 0 < found.step < 5
    assert 0 < found.validation < 10
    assert found.once == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    ("minutes", "step", "epochs", "steps"),
    [
        (20, 0.46, 48, 50),  # 1,200 s are 48 epochs of 50 steps and a validation
        (40, 0.46, 96, 50),
        (20, 10, 11, 11),  # epochs of 112 s: at least ten, to choose the best one of
        (1e4, 0.46, 400, 50),
    ],
)
def test_epochs_take_the_minutes(minutes, step, epochs, steps, nuclei, tmp_path, monkeypatch):
    monkeypatch.setattr(duration, "measure", lambda config: Duration(step=step, validation=2.0, once=7))
    training, said = planned(nuclei, tmp_path / "config.yaml", minutes)
    assert (training.epochs, training.steps_per_epoch) == (epochs, steps)
    assert f"{epochs} epochs of {steps} steps" in said[0]
    assert "--minutes" in said[0]


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), 0.2])
def test_too_few_minutes_are_refused(minutes, nuclei, tmp_path, monkeypatch):
    monkeypatch.setattr(duration, "measure", lambda config: Duration(step=0.5, validation=0.1, once=7))
    with pytest.raises(UserError, match="--minutes"):
        planned(nuclei, tmp_path / "config.yaml", minutes)
    assert not any(tmp_path.iterdir())


def test_a_classifier_takes_no_more_epochs_than_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(duration, "measure", lambda config: Duration(step=0.001, validation=0.1, once=3))
    write_digits(tmp_path / "digits", 40)
    options = {"folder": tmp_path / "digits", "weights": "none"}
    usual = read_config(kerazoo.init("lenet1989", None, None, tmp_path / "usual.yaml", **options)).training
    path = kerazoo.init("lenet1989", None, None, tmp_path / "config.yaml", minutes=20, **options)
    assert read_config(path).training.epochs == usual.epochs
