"""A new operation is one class and one line: this one goes through pack, rdf.yaml, README.md and `bmzpack check`."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml
from keras import layers

HERE = Path(__file__).parent
PROGRAM = """
import os
from typer.testing import CliRunner
import toy_operation
from bmzpack.cli import app
for operation in (toy_operation.ToySigmoid, toy_operation.ToySigmoidInGraph):
    toy_operation.register(operation)
    os.mkdir(operation.__name__)
    bundle = f"{operation.__name__}/bundle.zip"
    formats = "keras_v3,tensorflow_saved_model_bundle"
    for words in (
        ["pack", "model.keras", "model.yaml", "-o", bundle, "--formats", formats],
        ["check", bundle, "--json", f"{operation.__name__}/check.json"],
    ):
        result = CliRunner().invoke(app, words)
        assert result.exit_code in (0, 1), result.output  # ilastik needs torch
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Bundles of a network with either operation, made in a process of their own."""
    folder = tmp_path_factory.mktemp("operations")
    raw = keras.Input((None, None, 1), name="raw")
    keras.Model(raw, layers.Conv2D(2, 3, padding="same", name="probability")(raw)).save(folder / "model.keras")
    np.save(folder / "image.npy", np.random.default_rng(0).normal(size=(80, 70)).astype(np.float32))
    (folder / "model.yaml").write_text(
        "name: A convolution\nlicence: CC-BY-4.0\ninputs: [{test_image: image.npy, preprocessing: [sigmoid]}]\n"
    )
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", ""), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def packed(operation, folder):
    """What rdf.yaml says of the input, README.md, and the report of the check."""
    with zipfile.ZipFile(folder / operation / "bundle.zip") as archive:
        rdf, readme = yaml.safe_load(archive.read("rdf.yaml")), archive.read("README.md").decode()
    return rdf["inputs"][0], readme, json.loads((folder / operation / "check.json").read_text())["consumers"]


def places(verdict):
    return {finding["where"] for finding in verdict["findings"] if finding["severity"] != "advice"}


@pytest.mark.slow
def test_declared_operation(folder):
    entry, readme, consumers = packed("ToySigmoid", folder)
    assert entry["preprocessing"] == [{"id": "sigmoid"}]
    assert "applies `sigmoid`" in readme
    assert "**Fiji (deepImageJ)** cannot run this model." in readme
    assert consumers["core"]["verdict"] == "opens"
    for program in ("fiji", "qupath"):
        assert "inputs.0.preprocessing.0" in places(consumers[program])


@pytest.mark.slow
def test_operation_in_the_graph(folder):
    entry, readme, consumers = packed("ToySigmoidInGraph", folder)
    assert "preprocessing" not in entry
    assert "The network itself applies `sigmoid`, because not every program does." in readme
    assert {consumers[program]["verdict"] for program in ("core", "fiji", "qupath")} == {"opens"}
