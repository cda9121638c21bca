"""A trained network that comes with the package: made of a run, found by its name, used like a run."""

import shutil

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

import kerazoo
from bmzpack.errors import UserError
from kerazoo.cli import app
from kerazoo.commands import train
from kerazoo.configuration import head_start
from kerazoo.examples.synthetic import write_nuclei
from kerazoo.models import trained
from kerazoo.models.configure import make_config, read_config
from kerazoo.runs import run as runs
from kerazoo.runs.records import Origin
from kerazoo.runs.shipping import ship
from kerazoo.runs.trained import find_run, open_run

START_OF = head_start.start_of
DATA = Origin(name="synthetic nuclei", licence="CC0-1.0", source="drawn by kerazoo")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images, a run, and in `trained` what comes of it."""
    folder = tmp_path_factory.mktemp("shipped")
    write_nuclei(folder, images=5, seed=1, size=48)
    content = {
        "model": {"name": "unet2d", "arguments": {"filters": 4, "depth": 1}},
        "data": {"images": str(folder / "images"), "masks": str(folder / "masks")},
        "training": {"epochs": 1, "steps_per_epoch": 2, "patch_size": 32, "batch_size": 2},
    }
    run = train(make_config(content), folder / "run", progress=False)
    ship(run, "nuclei", run.held_out()[0].id, DATA, root=folder / "trained")
    return folder


@pytest.fixture(autouse=True)
def shipped(folder, monkeypatch, tmp_path):
    for module in (trained, runs):
        monkeypatch.setattr(module, "FOLDER", folder / "trained")
    monkeypatch.setattr(head_start, "start_of", START_OF)
    monkeypatch.chdir(tmp_path)
    return folder / "trained" / "unet2d" / "nuclei"


def test_weights_take_half_the_place_and_differ_by_rounding(folder, shipped):
    whole, half = folder / "run" / "best.keras", shipped / "best.keras"
    assert half.stat().st_size < whole.stat().st_size
    pairs = zip(*(keras.saving.load_model(path, compile=False).get_weights() for path in (whole, half)), strict=True)
    for before, after in pairs:
        assert after.dtype == before.dtype
        np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-6)


def test_nothing_of_the_machine_is_left(folder, shipped):
    for path in shipped.iterdir():
        if path.suffix in (".json", ".yaml", ".csv"):
            assert str(folder.parent) not in path.read_text(encoding="utf-8"), path
    record = find_run("unet2d/nuclei").record
    known = record.origin.as_json()
    assert 5 < known.pop("diameter") < 40
    assert known == DATA.as_json()


def test_it_is_used_like_a_run(folder, shipped, tmp_path):
    image, mask = (next((folder / kind).iterdir()) for kind in ("images", "masks"))
    before = sorted(shipped.iterdir())
    result = CliRunner().invoke(app, ["predict", "unet2d/nuclei", str(image), "-o", "out"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "objects.csv").is_file()
    scores = kerazoo.evaluate("unet2d/nuclei", folder / "images", folder / "masks")
    assert set(scores["scores"]) >= {"ap_50"}
    assert scores["trained_on"] == 4
    assert kerazoo.load("unet2d/nuclei").predict(np.zeros((32, 32), np.uint8)).shape == (32, 32)
    bundle = kerazoo.export("unet2d/nuclei", "nuclei.zip", formats=["keras_v3"])
    assert bmz_opens(bundle)
    assert sorted(shipped.iterdir()) == before
    assert mask.is_file()


def bmz_opens(bundle):
    import bmzpack

    return bmzpack.check(bundle).consumers["core"].verdict == "opens"


def test_training_starts_from_it(folder, tmp_path):
    """Also where nobody asked for it; its arguments are those of the trained network."""
    for name, given in (("config", {}), ("named", {"weights": "unet2d/nuclei"})):
        path = kerazoo.init("unet2d", folder / "images", folder / "masks", f"{name}.yaml", **given)
        config = read_config(path)
        assert config.model.weights == "unet2d/nuclei"
        assert config.model.arguments == {"filters": 4, "depth": 1}
        assert config.training.learning_rate == pytest.approx(0.0003)
        assert "trained on synthetic nuclei; its objects have a diameter of" in path.read_text(encoding="utf-8")
    alone = kerazoo.init("unet2d", folder / "images", folder / "masks", "alone.yaml", weights="none")
    assert read_config(alone).model.weights is None
    assert read_config(alone).training.learning_rate == 0.001
    other = kerazoo.init("unet2d", folder / "images", folder / "masks", "other.yaml", annotation="binary")
    assert read_config(other).model.weights is None
    path = kerazoo.init("unet2d", folder / "images", folder / "masks", "config.yaml", overwrite=True)
    overridden = read_config(path, ["model.weights=unet2d/nuclei", "model.arguments={filters: 4, depth: 1}"])
    assert overridden.model.weights == "unet2d/nuclei"
    network = kerazoo.create_model("unet2d", filters=4, depth=1, weights="unet2d/nuclei")
    given = keras.saving.load_model(folder / "trained" / "unet2d" / "nuclei" / "best.keras", compile=False)
    np.testing.assert_array_equal(network.get_weights()[0], given.get_weights()[0])


@pytest.mark.parametrize(
    ("network", "options", "match"),
    [
        ("stardist2d", {}, "unet2d/nuclei is no start for stardist2d on these images .1 channel, labels.: leave"),
        ("unet2d", {"annotation": "binary"}, "1 channel, binary.: leave --weights out"),
        ("unet2d", {"backbone": "mobilenet_v2"}, "no start for unet2d with mobilenet_v2"),
    ],
)
def test_a_trained_network_that_does_not_fit_is_refused(network, options, match, folder, tmp_path):
    with pytest.raises(UserError, match=match):
        kerazoo.init(network, folder / "images", folder / "masks", "config.yaml", weights="unet2d/nuclei", **options)
    assert not any(tmp_path.iterdir())


def test_a_folder_of_that_name_comes_first(folder, tmp_path):
    shutil.copytree(folder / "run", tmp_path / "unet2d" / "nuclei")
    assert find_run("unet2d/nuclei").path.resolve() == tmp_path / "unet2d" / "nuclei"


def test_names_are_listed_and_named_where_there_is_none():
    assert trained.trained_networks() == ["unet2d/nuclei"]
    assert "unet2d/nuclei" in CliRunner().invoke(app, ["models"]).output
    for use in (kerazoo.load, lambda name: kerazoo.predict(name, ["a.tif"], "out")):
        with pytest.raises(UserError, match="Trained networks of kerazoo: unet2d/nuclei"):
            use("unet2d/cells")
    with pytest.raises(UserError, match="name its file with -o"):
        kerazoo.report("unet2d/nuclei")


def test_what_cannot_be_shipped(folder, tmp_path):
    run = open_run(folder / "run")
    with pytest.raises(UserError, match="has no validation image other: choose from"):
        ship(run, "nuclei", "other", DATA, root=tmp_path)
    assert not any(tmp_path.iterdir())
