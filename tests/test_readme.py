"""The README's commands, run in its order on synthetic images, as a new user would."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

import bmzpack

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[str]:
    lines = [line.split("  #")[0].strip() for block in BLOCKS for line in block.splitlines()]
    return [line for line in lines if line.startswith(f"{program} ")]


def run(folder: Path, line: str) -> str:
    """Run one command line of the README with this interpreter's programs; wildcards as a shell would."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [word for line in commands("make") for word in shlex.split(line)[1:2]]
    assert {"demo", "install", "test"} <= set(targets)
    assert all(f"\n{target}:" in makefile for target in targets)


@pytest.fixture(scope="module")
def user_folder(tmp_path_factory):
    from kerazoo.examples.synthetic import write_nuclei

    folder = tmp_path_factory.mktemp("user")
    write_nuclei(folder, images=8, seed=1, size=128)
    write_nuclei(folder / "test", images=3, seed=2, size=128)
    write_nuclei(folder / "unseen", images=2, seed=3, size=160)
    (folder / "unseen" / "images").rename(folder / "new")
    return folder


def test_from_images_to_a_bundle(user_folder):
    lines = [line for line in commands("kerazoo") if "tissue" not in line and "compare" not in line]
    lines += [line for line in commands("bmzpack") if "nuclei.zip" in line]
    names = [shlex.split(line)[1] for line in lines]
    assert names == ["predict", "init", "train", "evaluate", "export", "report", "predict", "check", "test"]
    for name, line in zip(names, lines, strict=True):
        if name == "check" and importlib.util.find_spec("torch") is None:
            continue  # it fails for ilastik, which needs TorchScript
        run(user_folder, line)
        if name == "init":  # shorter than a user's training
            path = user_folder / "nuclei.yaml"
            config = yaml.safe_load(path.read_text(encoding="utf-8"))
            config["training"] |= {"epochs": 2, "steps_per_epoch": 4, "patch_size": 64, "batch_size": 4}
            path.write_text(yaml.safe_dump(config), encoding="utf-8")
    assert (user_folder / "run" / "report.html").stat().st_size > 10_000
    import tifffile

    for path in sorted((user_folder / "new").iterdir()):
        (labels,) = list((user_folder / "predicted").glob(f"{path.stem}*"))
        assert tifffile.imread(labels).shape == tifffile.imread(path).shape


@pytest.mark.slow
def test_from_class_folders_to_a_bundle(tmp_path):
    from kerazoo.examples.tissue import write_tissue, write_tissue_patches

    write_tissue_patches(tmp_path / "tissue", patches=6, seed=1, size=64)
    write_tissue_patches(tmp_path / "tissue_test", patches=2, seed=2, size=64)
    write_tissue(tmp_path, images=1, seed=3, size=128)
    (tmp_path / "images").rename(tmp_path / "slides")
    lines = [line for line in commands("kerazoo") if "tissue" in line]
    assert [shlex.split(line)[1] for line in lines] == ["init", "train", "evaluate", "predict", "export"]
    for line in lines:
        run(tmp_path, line)
        if " init " in line:
            path = tmp_path / "tissue.yaml"
            config = yaml.safe_load(path.read_text(encoding="utf-8"))
            config["training"] |= {"epochs": 1, "steps_per_epoch": 2, "batch_size": 6}
            config["model"]["arguments"] = {"alpha": 0.35}
            path.write_text(yaml.safe_dump(config), encoding="utf-8")
    assert len((tmp_path / "tissue_predicted" / "predictions.csv").read_text(encoding="utf-8").splitlines()) == 2
    assert (tmp_path / "tissue_predicted" / "tissue_000.tif").is_file()
    assert bmzpack.check(tmp_path / "tissue.zip").consumers["fiji"].verdict == "opens"


@pytest.fixture(scope="module")
def packed_folder(user_folder):
    """With a Keras model of its own, packed as the README packs one."""
    import keras

    inputs = keras.Input((None, None, 2), name="raw")
    outputs = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="probability")(inputs)
    keras.Model(inputs, outputs).save(user_folder / "model.keras")
    np.save(user_folder / "image.npy", np.random.default_rng(0).normal(size=(1, 64, 64, 2)).astype("float32"))
    description = {
        "name": "One convolution",
        "description": "A convolution of two channels, to show how any Keras model is packed.",
        "authors": [{"name": "Ada Lovelace"}],
        "licence": "CC-BY-4.0",
        "inputs": [{"id": "raw", "axes": "byxc", "test_image": "image.npy"}],
        "outputs": [{"id": "probability", "axes": "byxc"}],
    }
    (user_folder / "description.yaml").write_text(yaml.safe_dump(description), encoding="utf-8")
    (line,) = [line for line in commands("bmzpack pack") if "bundle.zip" in line]
    run(user_folder, line)
    return user_folder


@pytest.mark.slow
def test_any_keras_model(packed_folder):
    lines = [line for line in commands("bmzpack") if "bundle.zip" in line or "other.zip" in line]
    assert {shlex.split(line)[1] for line in lines} == {"pack", "test", "check", "repair", "upload"}
    for line in lines:
        if "--run" in line or "pack" in line.split():
            continue  # below and above
        if "check" in line and importlib.util.find_spec("torch") is None:
            continue
        if "repair" in line:
            without_nickname(packed_folder / "bundle.zip", packed_folder / "other.zip")
        run(packed_folder, line)
    assert (packed_folder / "check.json").exists() or importlib.util.find_spec("torch") is None
    assert bmzpack.check(packed_folder / "fixed.zip").consumers["fiji"].verdict == "opens"


@pytest.mark.engines
def test_check_in_every_engine(packed_folder):
    (line,) = [line for line in commands("bmzpack check") if "--run" in line]
    shown = run(packed_folder, line)
    assert "2.10.1" in shown
    assert "1.13.1" in shown


def without_nickname(bundle: Path, output: Path) -> None:
    """A bundle that Fiji does not open."""
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(output, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "rdf.yaml":
                rdf = yaml.safe_load(content)
                del rdf["config"]["bioimageio"]["nickname"]
                content = yaml.safe_dump(rdf).encode()
            new.writestr(name, content)
    assert bmzpack.check(output).consumers["fiji"].verdict == "fails"
