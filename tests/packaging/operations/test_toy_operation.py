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
import sys
from typer.testing import CliRunner
import toy_operation
toy_operation.register(getattr(toy_operation, sys.argv[1]))
from bmzpack.cli import app
for words in (
    ["pack", "model.keras", "model.yaml", "-o", "bundle.zip", "--formats", "keras_v3,tensorflow_saved_model_bundle"],
    ["check", "bundle.zip", "--json", "check.json"],
):
    result = CliRunner().invoke(app, words)
    assert result.exit_code in (0, 1), result.output  # ilastik needs torch
"""


@pytest.fixture
def folder(tmp_path):
    raw = keras.Input((None, None, 1), name="raw")
    keras.Model(raw, layers.Conv2D(2, 3, padding="same", name="probability")(raw)).save(tmp_path / "model.keras")
    np.save(tmp_path / "image.npy", np.random.default_rng(0).normal(size=(80, 70)).astype(np.float32))
    (tmp_path / "model.yaml").write_text(
        "name: A convolution\ninputs: [{test_image: image.npy, preprocessing: [sigmoid]}]\n"
    )
    return tmp_path


def packed(operation, folder):
    """What rdf.yaml says of the input, README.md, and the report of the check.

    All of it in a process in which the operation is registered before anything else is imported.
    """
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", ""), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, operation],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(folder / "bundle.zip") as archive:
        rdf, readme = yaml.safe_load(archive.read("rdf.yaml")), archive.read("README.md").decode()
    return rdf["inputs"][0], readme, json.loads((folder / "check.json").read_text())["consumers"]


def places(verdict):
    return {finding["where"] for finding in verdict["findings"] if finding["severity"] != "advice"}


def test_declared_operation(folder):
    entry, readme, consumers = packed("ToySigmoid", folder)
    assert entry["preprocessing"] == [{"id": "sigmoid"}]
    assert "applies `sigmoid`" in readme
    assert "**Fiji (deepImageJ)** cannot run this model." in readme
    assert consumers["core"]["verdict"] == "opens"
    for program in ("fiji", "qupath"):
        assert "inputs.0.preprocessing.0" in places(consumers[program])


def test_operation_in_the_graph(folder):
    entry, readme, consumers = packed("ToySigmoidInGraph", folder)
    assert "preprocessing" not in entry
    assert "The network itself applies `sigmoid`, because not every program does." in readme
    assert {consumers[program]["verdict"] for program in ("core", "fiji", "qupath")} == {"opens"}
