"""The command bmzpack: instant help, one sentence and exit code 2 for what a user can mend."""

import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml
from keras import layers

from bmzpack.cli import main
from bmzpack.describe import description

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["bmzpack", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr()

    return run


@pytest.fixture
def files(tmp_path):
    """A model and its description in a folder."""
    raw = keras.Input((None, None, 1), name="raw")
    model = keras.Model(raw, layers.Conv2D(2, 3, padding="same", activation="softmax", name="classes")(raw))
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "image.npy", np.random.default_rng(1).integers(0, 255, (64, 64), np.uint8))
    content = {"name": "A small model", "documentation": "notes.md", "inputs": [{"test_image": "image.npy"}]}
    (tmp_path / "notes.md").write_text("More about it.")
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def test_help_is_instant():
    environment = os.environ | {"PYTHONPATH": str(ROOT / "packaging")}

    def seconds():
        """Processor time, as other tests run beside this one."""
        start = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        subprocess.run([sys.executable, "-m", "bmzpack", "--help"], check=True, capture_output=True, env=environment)
        return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - start

    assert min(seconds() for _ in range(5)) < 0.5


def test_names_are_imported_when_used():
    program = "import bmzpack, bmzpack.packing.pack; assert callable(bmzpack.pack); assert callable(bmzpack.test)"
    subprocess.run(
        [sys.executable, "-c", program], check=True, env=os.environ | {"PYTHONPATH": str(ROOT / "packaging")}
    )


def test_examples_of_descriptions(tmp_path):
    examples = textwrap.dedent(description.__doc__.split("::")[1]), textwrap.dedent(description.__doc__.split("::")[2])
    (tmp_path / "about.md").write_text("Much about it.")
    for number, example in enumerate(examples):
        text = "\n".join(line for line in example.splitlines() if not line.startswith("One with"))
        (tmp_path / f"{number}.yaml").write_text(text)
        read = description.read_description(tmp_path / f"{number}.yaml")
        assert read.inputs[0].test_image.parent == tmp_path
    assert read.documentation == "Much about it."
    assert read.outputs[0].postprocessing[0].id == "softmax"


def test_pack(files, command):
    arguments = ["pack", files / "model.keras", files / "model.yaml", "-o", files / "a.zip", "--formats", "keras_v3"]
    code, shown = command(*arguments)
    assert code == 0, shown.err
    assert "bmzpack test" in shown.out
    assert "licence" in shown.out
    steps = ["measuring axes, sizes and halo", "writing keras_v3", "running keras_v3", "loading the description"]
    assert [line for line in shown.err.splitlines() if line.startswith(tuple(steps))] == shown.err.splitlines()
    assert len(shown.err.splitlines()) == len(steps)
    code, shown = command(*arguments)
    assert code == 2
    assert "--overwrite" in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nam": "x"}, "`name`"),
        ({"training": {"epochs": 3}}, "`training_epochs`"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [{}]}, "test_image"),
        ({"documentation": "other.md"}, "other.md"),
    ],
)
def test_descriptions(change, words, files, command):
    content = yaml.safe_load((files / "model.yaml").read_text()) | change
    (files / "model.yaml").write_text(yaml.safe_dump(content))
    before = sorted(files.iterdir())
    code, shown = command("pack", files / "model.keras", files / "model.yaml", "-o", files / "a.zip")
    assert code == 2
    assert words in shown.err
    assert str(files / "model.yaml") in shown.err
    assert shown.err.count("\n") == 1
    assert sorted(files.iterdir()) == before


def test_files_that_are_not_there_or_no_model(files, command):
    (files / "other.keras").write_text("nothing")
    for model, text in (("no.keras", "model.yaml"), ("model.keras", "no.yaml"), ("other.keras", "model.yaml")):
        code, shown = command("pack", files / model, files / text, "-o", files / "a.zip")
        assert code == 2
        assert (model if model != "model.keras" else text) in shown.err
    code, shown = command("test", files / "no.zip")
    assert code == 2
    assert "no.zip" in shown.err
    code, shown = command("test", files / "model.keras")
    assert code == 2
    assert "model.keras is no bundle" in shown.err


def test_report_is_not_replaced(files, command):
    (files / "report.json").write_text("precious")
    code, shown = command("test", files / "model.keras", "--json", files / "report.json")
    assert code == 2
    assert "--overwrite" in shown.err
    assert (files / "report.json").read_text() == "precious"
