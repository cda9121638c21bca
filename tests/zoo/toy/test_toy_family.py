"""A new family is a folder and one line of the registry: all commands take this one without an edit elsewhere."""

import csv
import json
import os
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image
from typer.testing import CliRunner

import kerazoo
from bmzpack.bundle.archive import unpacked
from bmzpack.settings import read_yaml
from kerazoo import cli
from kerazoo.examples.synthetic import write_nuclei
from kerazoo.models import registry
from kerazoo.runs.run import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of two channels, with label images."""
    folder = tmp_path_factory.mktemp("toy")
    write_nuclei(folder, images=6, seed=3, size=96)
    for path in (folder / "images").iterdir():
        image = tifffile.imread(path) if path.suffix == ".tif" else np.asarray(Image.open(path))
        image = (image / image.max() * 255).astype(np.uint8)
        path.unlink()
        tifffile.imwrite(path.with_suffix(".tif"), np.stack([255 - image, image]), metadata={"axes": "CYX"})
    return folder


@pytest.fixture(scope="module", autouse=True)
def one_line_of_the_registry():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        patch.setattr(registry, "FAMILIES", [*registry.FAMILIES, "toy_family:Toy"])
        yield
        sys.modules.pop("toy_family", None)
        registry._instances.pop("toy_family:Toy", None)


def call(*words):
    result = CliRunner().invoke(cli.app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def run(folder):
    kerazoo.init("two_inputs", folder / "images", folder / "masks", folder / "toy.yaml")
    call("train", folder / "toy.yaml", "-o", folder / "run", "--set", "training.precision=float32")
    return Run.open(folder / "run")


def test_it_is_listed_and_configured(run, folder):
    assert "two_inputs" in call("models")
    content = yaml.safe_load((folder / "toy.yaml").read_text())
    assert content["targets"]["kind"] == "glow"
    assert (run.recipe.targets, run.recipe.task, run.recipe.classes) == ("glow", "instances", ["glow"])


def test_it_learns_and_its_decoding_is_chosen(run):
    rows = list(csv.DictReader(run.history_path.open()))
    assert float(rows[-1]["val_loss"]) < float(rows[0]["val_loss"])
    assert run.recipe.decoding.threshold in (0.4, 0.5, 0.6)
    assert {path.name for path in run.figures.iterdir()} == {"curves.png", "samples.png", "worst.png"}
    assert (
        "Each pixel gets the probability that it lies in an object"
        in Path(call("report", run.path).strip()).read_text()
    )


def test_it_predicts_and_is_scored(run, folder):
    image = next((folder / "images").iterdir())
    call("predict", run.path, image, "-o", folder / "out")
    labels = tifffile.imread(folder / "out" / image.name)
    assert labels.max() > 1
    places = "--images", folder / "images", "--masks", folder / "masks"
    call("evaluate", run.path, *places, "--json", folder / "scores.json")
    assert json.loads((folder / "scores.json").read_text())["scores"]["dice"] > 0.7


def test_it_has_a_card(folder, monkeypatch):
    monkeypatch.setattr(registry, "FAMILIES", ["toy_family:Toy"])
    call("cards", "-o", folder / "cards")
    card = (folder / "cards" / "two_inputs.md").read_text(encoding="utf-8")
    for line in ("- `membrane` (batch, y, x, channel;", "- `nuclei` (batch, y, x, channel;", "- `glow` (batch, y, x,"):
        assert line in card
    assert "for 2 inputs of 256 x 256 pixels, 1 channel" in card
    assert (folder / "cards" / "figures" / "two_inputs.svg").is_file()


def test_its_bundle_has_two_inputs(run, folder):
    image = next((folder / "images").iterdir())
    call("export", run.path, "-o", folder / "toy.zip", "--formats", "keras_v3,onnx")
    with unpacked(folder / "toy.zip") as opened:
        described = read_yaml(opened / "rdf.yaml", "description")
        names = [(tensor["id"], tensor["axes"][-1]["channel_names"]) for tensor in described["inputs"]]
        assert names == [("membrane", ["channel0"]), ("nuclei", ["channel1"])]
        network = keras.saving.load_model(opened / described["weights"]["keras_v3"]["source"])
        assert [tensor.name for tensor in network.inputs] == ["membrane", "nuclei"]
    call("predict", folder / "toy.zip", image, "-o", folder / "from_bundle")
    call("predict", run.path, image, "-o", folder / "from_run")
    expected = tifffile.imread(folder / "from_run" / image.name)
    np.testing.assert_array_equal(tifffile.imread(folder / "from_bundle" / image.name), expected)
