"""A small configuration with data, for trainings that take seconds."""

import pytest

from kerazoo.examples.synthetic import write_nuclei
from kerazoo.models.configure import make_config


@pytest.fixture(scope="session")
def nuclei(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nuclei")
    write_nuclei(folder, images=6, seed=1, size=64)
    return folder


@pytest.fixture(scope="session")
def make(nuclei):
    """A function from changes of the training section (and whole other sections) to a configuration."""

    def config(sections=None, **training):
        content = {
            "model": {"name": "unet2d", "arguments": {"filters": 4, "depth": 2, "dropout": 0.2}},
            "data": {"images": str(nuclei / "images"), "masks": str(nuclei / "masks")},
            "training": {"epochs": 3, "steps_per_epoch": 4, "patch_size": 32, "batch_size": 2, "precision": "float32"},
        }
        content |= sections or {}
        content["training"] = content["training"] | training
        return make_config(content)

    return config


@pytest.fixture
def without_validation(monkeypatch):
    monkeypatch.setattr("kerazoo.commands.finish", lambda run: None)
