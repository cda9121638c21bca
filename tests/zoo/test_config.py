"""Configurations: paths, changes from the command line, and what is wrong with them."""

import json

import pytest
import yaml

from bmzpack.errors import UserError
from kerazoo.config import Config
from kerazoo.configuration.schema import SCHEMA
from kerazoo.models.configure import read_config


def write(folder, **sections):
    folder.mkdir(exist_ok=True)
    content = {"model": {"name": "unet2d"}, "data": {"images": "images"}} | sections
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_paths_of_the_file_and_of_the_command_line(tmp_path, monkeypatch):
    path = write(tmp_path / "settings", model={"name": "unet2d", "weights": "weights.npz"})
    monkeypatch.chdir(tmp_path)
    config = read_config("settings/run.yaml", ["data.masks=masks"])
    assert config.data.images == tmp_path / "settings" / "images"
    assert config.data.masks == tmp_path / "masks"
    assert config.model.weights == str(tmp_path / "settings" / "weights.npz")
    assert read_config(path, ["model.weights=other.npz"]).model.weights == str(tmp_path / "other.npz")
    assert read_config(path, ["model.weights=imagenet"]).model.weights == "imagenet"
    assert read_config(path, ["model.weights=null"]).model.weights is None


def test_nested_change(tmp_path):
    config = read_config(write(tmp_path), ["training.loss.class_weights=[1, 2.5]", "model.arguments.filters=8"])
    assert config.training.loss.class_weights == [1, 2.5]
    assert config.model.arguments == {"filters": 8}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.epoch=3", "nearest known one is `epochs`"),
        ("training=3", "training"),
        ("training.epochs.more=3", "training.epochs"),
        ("=3", "section.key=value"),
    ],
)
def test_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        read_config(write(tmp_path), [change])


def test_schema_for_editors_is_current():
    """Written anew by: make schema."""
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == Config.model_json_schema()
