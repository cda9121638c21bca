"""A new weights format is one file and one line: this one goes through pack, rdf.yaml, README.md and `bmzpack test`."""

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
from typer.testing import CliRunner
import toy_format
toy_format.register()
from bmzpack.cli import app
for words in (
    ["pack", "model.keras", "model.yaml", "-o", "bundle.zip", "--formats", "keras_v3,tensorflow_js"],
    ["test", "bundle.zip", "--json", "report.json"],
):
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    print(result.output)
"""


@pytest.mark.slow
def test_new_format(tmp_path):
    raw = keras.Input((None, None, 2), name="raw")
    keras.Model(raw, layers.Conv2D(3, 1, name="probability")(raw)).save(tmp_path / "model.keras")
    np.save(tmp_path / "image.npy", np.random.default_rng(0).normal(size=(80, 70, 2)).astype(np.float32))
    (tmp_path / "model.yaml").write_text("name: A convolution\ninputs: [{test_image: image.npy}]\n")

    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", ""), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tensorflow_js" in done.stdout
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        rdf, readme = yaml.safe_load(archive.read("rdf.yaml")), archive.read("README.md").decode()
    entry = rdf["weights"]["tensorflow_js"]
    assert (entry["source"], entry["parent"], entry["tensorflow_version"]) == ("weights.npz.zip", "keras_v3", "2.20.0")
    assert "| tensorflow_js | " in readme

    report = json.loads((tmp_path / "report.json").read_text())["formats"]["tensorflow_js"]
    assert (report["core"], report["engine"]) == ("unsupported", "passed")
    assert report["max_abs_error"] < 1e-5
