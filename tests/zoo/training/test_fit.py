"""Training: the run folder, resuming, transfer, and what stops it."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import yaml

from bmzpack.errors import UserError
from histories import history, stop_at
from kerazoo.commands import train
from kerazoo.data.pipeline import prepare, validation_dataset
from kerazoo.files.pairs import load_pair, pairs_of
from kerazoo.models.configure import family_of
from kerazoo.runs.run import Run
from kerazoo.training.callbacks import EndOfEpoch

COLUMNS = ["epoch", "learning_rate", "loss", "val_loss", "accuracy", "val_accuracy"]


@pytest.fixture(scope="module")
def config(make):
    return make()


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    return train(config, tmp_path_factory.mktemp("runs") / "run", progress=False)


def test_run_folder(run, config):
    assert {path.name for path in run.path.iterdir()} == {
        *("config.yaml", "split.json", "environment.json", "recipe.json", "record.json", "history.csv"),
        *("best.keras", "last", "figures", "tensorboard"),
    }
    assert Run.open(run.path).config == config
    rows = history(run)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert list(rows[0])[: len(COLUMNS)] == COLUMNS
    assert {"foreground_dice", "mean_iou", "val_mean_iou"} < set(rows[0])
    record = run.record.as_json()
    losses = [row["val_loss"] for row in rows]
    assert record["best_epoch"] == 1 + int(np.argmin(losses))
    assert record["best_validation_loss"] == min(losses)
    assert record["parameters"] == keras.saving.load_model(run.model_path).count_params()
    assert record["scores"]
    assert run.recipe.geometry.step == 4
    assert run.environment.as_json()["packages"]["keras"] == keras.__version__
    assert list((run.path / "tensorboard" / "train").iterdir())
    split = run.split.as_json()
    assert sorted(entry["id"] for side in split.values() for entry in side) == [p.id for p in pairs_of(config.data)]
    assert all(len(sha) == 64 for side in split.values() for entry in side for sha in entry["sha256"].values())


def test_saved_network_has_the_loss_of_its_epoch(run, config):
    model = keras.saving.load_model(run.model_path)
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    family = family_of(config)
    loss, target = family.loss(config, np.ones(3)), family.target(config)
    held_out = {entry["id"] for entry in run.split.as_json()["validation"]}
    samples = [load_pair(pair, config.data) for pair in pairs_of(config.data) if pair.id in held_out]
    sources = prepare(samples, config, run.recipe.normalisation, 0, target)
    data = validation_dataset(sources, config, 0, target)
    model.compile(loss=loss, jit_compile=False)
    assert model.evaluate(data, verbose=0) == pytest.approx(run.record.as_json()["best_validation_loss"], rel=1e-5)


@pytest.mark.usefixtures("without_validation")
def test_existing_run_is_kept_or_replaced(run, make, tmp_path):
    config = make(epochs=1)
    with pytest.raises(UserError, match="--overwrite"):
        train(config, run.path, progress=False)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "data.txt").write_text("not a run")
    with pytest.raises(UserError, match="not a run folder"):
        train(config, tmp_path / "precious", overwrite=True, progress=False)
    assert (tmp_path / "precious" / "data.txt").is_file()
    shutil.copytree(run.path, tmp_path / "run")
    (tmp_path / "run" / "old.txt").write_text("of the old run")
    train(config, tmp_path / "run", overwrite=True, progress=False)
    assert not (tmp_path / "run" / "old.txt").exists()
    with pytest.raises(UserError, match="not both"):
        train(config, tmp_path / "run", overwrite=True, resume=True, progress=False)


@pytest.mark.usefixtures("without_validation")
def test_resumed_run_has_the_same_history(run, config, make, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        stop_at(patch, epoch=1, batch=2, error=KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt, match=r"1 of 3 epochs.*--resume"):
            train(config, tmp_path / "run", progress=False)
    (tmp_path / "run" / ".best.keras.abc").mkdir()
    assert len(history(Run(tmp_path / "run"))) == 1
    assert not Run(tmp_path / "run").record.as_json()

    with pytest.raises(UserError, match=r"training\.learning_rate|training\.seed"):
        train(make(seed=2), tmp_path / "run", resume=True, progress=False)
    resumed = train(config, tmp_path / "run", resume=True, progress=False)
    assert not (tmp_path / "run" / ".best.keras.abc").exists()
    assert len(resumed.environment.as_json()["resumed"]) == 1
    for a, b in zip(history(run), history(resumed), strict=True):
        assert a == pytest.approx(b, abs=1e-6)
    assert resumed.record.as_json()["best_epoch"] == run.record.as_json()["best_epoch"]
    again = train(config, tmp_path / "run", resume=True, progress=False)
    assert history(again) == history(resumed)


@pytest.mark.usefixtures("without_validation")
def test_resuming_refuses_changed_images(config, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        stop_at(patch, epoch=1, batch=0, error=KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "run", progress=False)
    run = Run(tmp_path / "run")
    split = run.split.as_json()
    split["train"][0]["sha256"]["image"] = "0" * 64
    run.write("split", split)
    with pytest.raises(UserError, match="have changed"):
        train(config, run.path, resume=True, progress=False)
    with pytest.raises(UserError, match="no run in"):
        train(config, tmp_path / "absent", resume=True, progress=False)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("broken"), RuntimeError("broken")])
def test_nothing_is_left_of_a_training_that_fails_in_its_first_epoch(config, error, monkeypatch, tmp_path):
    stop_at(monkeypatch, epoch=0, batch=1, error=error)
    with pytest.raises(type(error)):
        train(config, tmp_path / "run", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_loss_that_is_no_number(make, tmp_path):
    with pytest.raises(UserError, match=r"loss became .* lower training\.learning_rate"):
        train(make(learning_rate=1e30, clip_norm=None, optimizer="sgd"), tmp_path / "run", progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sections", "training", "expected"),
    [
        ({}, {"patch_size": 34}, "choose 32 or 36"),
        ({}, {"patch_size": 128}, "patches of 128 pixels"),
        ({}, {"transfer": "freeze"}, r"training\.transfer"),
        ({}, {"freeze_until": "stride8"}, r"set that to freeze"),
        ({}, {"loss": {"class_weights": [1.0, 2.0]}}, "class_weights"),
        ({"model": {"name": "unet2d_2015"}}, {"patch_size": 100}, "188"),
        ({"model": {"name": "unet2d", "arguments": {"classes": 4}}}, {}, r"model\.arguments\.classes"),
        ({"model": {"name": "unet2d_2015", "backbone": "resnet50_v2"}}, {}, "backbone"),
    ],
)
def test_wrong_configuration(make, sections, training, expected, tmp_path):
    with pytest.raises(UserError, match=expected):
        train(make(sections, **training), tmp_path / "run", progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("without_validation")
def test_valid_network_early_stopping_and_plateau(make, monkeypatch, tmp_path):
    arguments = {"filters": 2, "depth": 2, "padding": "valid", "batch_norm": False}
    config = make(
        {"model": {"name": "unet2d", "arguments": arguments}},
        **{"patch_size": 44, "epochs": 12, "steps_per_epoch": 1, "schedule": "plateau", "early_stopping": 4},
        learning_rate=1e-9,
    )
    monkeypatch.setattr("kerazoo.training.callbacks.PLATEAU_EPOCHS", 2)
    original = EndOfEpoch.on_epoch_end
    monkeypatch.setattr(
        EndOfEpoch, "on_epoch_end", lambda self, epoch, logs: original(self, epoch, logs | {"val_loss": 1.0 + epoch})
    )
    run = train(config, tmp_path / "run", progress=False)
    rows = history(run)
    assert run.recipe.geometry.margin == 20
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    np.testing.assert_allclose([row["learning_rate"] for row in rows][1:], [1e-9, 1e-9, 5e-10, 5e-10], rtol=1e-5)
    assert run.record.as_json()["best_epoch"] == 1
    assert train(config, tmp_path / "run", resume=True, progress=False).record.epochs == 5


@pytest.mark.usefixtures("without_validation")
def test_transfer_of_a_pretrained_encoder(make, monkeypatch, tmp_path, data_folder):
    weights = data_folder("weights_mobilenetv2") / "mobilenetv2_0.35_224_imagenet_notop.npz"
    model = {
        "name": "unet2d",
        "backbone": "mobilenet_v2",
        "weights": str(weights),
        "arguments": {"filters": 4, "depth": 2},
    }
    config = make(
        {"model": model, "normalisation": {"method": "scaling"}},
        **{"transfer": "staged", "epochs": 3, "steps_per_epoch": 2, "warmup_epochs": 0},
        schedule="constant",
    )
    kernels = []
    original = EndOfEpoch.on_epoch_end

    def observe(self, epoch, logs=None):
        names = ("Conv1", "bn_Conv1", "block_3_expand", "decoder1_convolution1")
        layers = [self._network.get_layer(name) for name in names]
        kernels.append([keras.ops.convert_to_numpy(layer.weights[0]) for layer in layers])
        original(self, epoch, logs)

    monkeypatch.setattr(EndOfEpoch, "on_epoch_end", observe)
    with monkeypatch.context() as patch:
        stop_at(patch, epoch=2, batch=1, error=KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt, match="2 of 3 epochs"):
            train(config, tmp_path / "run", progress=False)
    run = train(config, tmp_path / "run", resume=True, progress=False)
    same = [
        [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
        for before, after in itertools.pairwise(kernels)
    ]
    # the head; then what lies behind stride 2 too; then all, but the statistics
    assert same == [[True, True, False, False], [False, True, False, False]]
    np.testing.assert_allclose([row["learning_rate"] for row in history(run)], [1e-3, 3e-4, 1e-4], rtol=1e-5)


@pytest.mark.usefixtures("without_validation")
def test_plain_lines_where_there_is_no_terminal(make, tmp_path, capsys):
    train(make(epochs=2), tmp_path / "run")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "7,647 parameters, 5 images to train and 1 to validate, float32"
    assert [line.split("  ")[0] for line in lines[1:]] == ["epoch 1/2", "epoch 2/2"]
    assert "val_loss" in lines[1]
    assert "\x1b" not in "".join(lines)


PROGRAM = """
import sys
from kerazoo.commands import train
from kerazoo.training import checkpoint
checkpoint.INTERVAL = 0
train(sys.argv[1], sys.argv[2], resume=len(sys.argv) > 3)
"""


@pytest.mark.slow
def test_killed_training_continues_as_if_nothing_had_happened(make, tmp_path):
    """SIGKILL in the middle of an epoch, twice; bit by bit the same with op determinism."""
    config = make(epochs=6, steps_per_epoch=40, deterministic=True, precision="bfloat16")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")

    def start(name, *words):
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "config.yaml"), str(tmp_path / name), *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    assert start("whole").wait() == 0
    for kill, words in enumerate([(), ("resume",)]):
        process = start("killed", *words)
        path, before = tmp_path / "killed" / "history.csv", 2 * kill
        while not path.is_file() or len(path.read_text(encoding="utf-8").splitlines()) < 3 + before:
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        done = len(history(Run(tmp_path / "killed")))
        assert 2 + before <= done < 6
    assert start("killed", "resume").wait() == 0
    whole, killed = Run(tmp_path / "whole"), Run(tmp_path / "killed")
    assert history(whole) == history(killed)
    models = [keras.saving.load_model(run.model_path).get_weights() for run in (whole, killed)]
    for a, b in zip(*models, strict=True):
        np.testing.assert_array_equal(a, b)
