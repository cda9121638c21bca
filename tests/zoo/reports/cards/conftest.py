"""Real runs of two seeds, made once."""

import shutil

import pytest

from kerazoo.commands import train
from kerazoo.evaluation.evaluate import evaluate
from kerazoo.examples.synthetic import write_nuclei
from kerazoo.models.configure import make_config
from kerazoo.runs.run import Run


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Two runs of one setting, and the scores of each on further images."""
    folder = tmp_path_factory.mktemp("records")
    write_nuclei(folder, images=5, seed=1, size=48)
    write_nuclei(folder / "test", images=2, seed=2, size=48)
    for seed in (1, 2):
        content = {
            "model": {"name": "unet2d", "arguments": {"filters": 4, "depth": 1}},
            "data": {"images": str(folder / "images"), "masks": str(folder / "masks")},
            "training": {"epochs": 1, "steps_per_epoch": 2, "patch_size": 32, "batch_size": 2, "seed": seed},
        }
        run = train(make_config(content), folder / f"run{seed}", progress=False)
        test = folder / "test"
        evaluate(run, test / "images", test / "masks", json=folder / f"test{seed}.json")
    return folder


@pytest.fixture
def runs(trained, tmp_path):
    """Copies of the two runs."""
    return [Run(shutil.copytree(trained / name, tmp_path / name)) for name in ("run1", "run2")]
