"""Run folders as training leaves them, with a stand-in for the predictor that takes probabilities from grey values."""

import contextlib
import functools
import json
import shutil

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image
from skimage.filters import threshold_otsu

from kerazoo.commands import finish
from kerazoo.data.normalise import Normalisation
from kerazoo.evaluation import evaluate, images
from kerazoo.examples.synthetic import write_nuclei
from kerazoo.inference.load import load_predictor
from kerazoo.models.configure import family_of, make_config
from kerazoo.models.recipe import Recipe, TileGeometry
from kerazoo.models.registry import decode, family_of_kind
from kerazoo.runs.run import Run

HISTORY = """epoch,loss,val_loss,dice,val_dice,learning_rate
1,1.9,1.8,0.4,0.45,0.001
2,1.2,1.3,0.6,0.62,0.0005
3,0.9,1.1,0.7,0.71,0.0001
"""


class GreyValues:
    """Probabilities of background and object from Otsu's threshold; the border is what erosion takes away."""

    def __init__(self, recipe):
        self.recipe = recipe
        self.family = family_of_kind(recipe.targets)

    @classmethod
    def load(cls, source, **options):
        return cls(source.recipe) if isinstance(source, Run) else load_predictor(source)

    def outputs(self, image):
        return {"probability": self.probabilities(image)}

    def probabilities(self, image):
        plane = cv2.GaussianBlur(image.astype(np.float32).mean(axis=2), (0, 0), 1)
        evidence = 8 * (plane - threshold_otsu(plane)) / plane.std()
        foreground = 1 / (1 + np.exp(-np.clip(evidence, -30, 30)))
        if self.recipe.targets == "foreground":
            return np.stack([1 - foreground, foreground], 2).astype(np.float32)
        if self.recipe.targets == "classes":
            return np.stack([1 - foreground, foreground, np.full_like(plane, 0.2)], 2).astype(np.float32)
        interior = np.minimum(cv2.erode(foreground, np.ones((5, 5), np.uint8)), foreground)
        return np.stack([1 - foreground, interior, foreground - interior], 2).astype(np.float32)

    def result(self, image):
        return decode(self.outputs(image), self.recipe)


@pytest.fixture(scope="session")
def nuclei_folder(tmp_path_factory):
    """Eight synthetic images with label images, and their class masks: 0, 1, a rare 2, and 255 for ignored."""
    folder = tmp_path_factory.mktemp("nuclei")
    write_nuclei(folder, images=8, seed=5, size=128)
    (folder / "classes").mkdir()
    for path in (folder / "masks").iterdir():
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        classes = (labels > 0).astype(np.uint8)
        classes[labels == 1] = 2
        classes[:4] = 255
        Image.fromarray(classes).save(folder / "classes" / f"{path.stem}.png")
    return folder


@contextlib.contextmanager
def without_network():
    """GreyValues in place of the predictors of runs."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (evaluate, images):
            patch.setattr(module, "load_predictor", GreyValues.load)
        patch.setattr(images, "load_network", GreyValues.load)
        yield


@pytest.fixture(autouse=True)
def stand_in():
    """The real predictor is back after each test: other folders need it."""
    with without_network():
        yield


@pytest.fixture
def make_run(tmp_path, nuclei_folder):
    """A function from the kind of targets to a run folder."""
    return functools.partial(new_run, tmp_path / "a run <b>", nuclei_folder)


@pytest.fixture(scope="session")
def validated_once(tmp_path_factory, nuclei_folder):
    """A run of border targets, validated and drawn."""
    run = new_run(tmp_path_factory.mktemp("once") / "a run <b>", nuclei_folder)
    with without_network():
        finish(run)
    return run


@pytest.fixture
def validated(tmp_path, validated_once):
    """A copy of the validated run."""
    return Run(shutil.copytree(validated_once.path, tmp_path / "a run <b>"))


def new_run(path, nuclei_folder, targets="border", masks=None, **data):
    """A run folder before its validation."""
    run = Run(path)
    run.path.mkdir()
    annotation = "classes" if targets == "classes" else "labels"
    if targets == "classes":
        data = {"classes": ["glass", "<nucleus>", "first"], "ignore": 255} | data
    masks = masks or ("classes" if targets == "classes" else "masks")
    suffix = ".png" if masks == "classes" else ".tif"
    folders = {"images": str(nuclei_folder / "images"), "masks": str(nuclei_folder / masks)}
    config = make_config(
        {
            "model": {"name": "unet2d"},
            "data": folders | {"annotation": annotation} | data,
            "targets": {"kind": targets},
        }
    )
    recipe = Recipe(
        model="unet2d",
        task=family_of(config).task(targets),
        channels=1,
        channel_names=["dna"],
        classes=family_of(config).channel_names(config),
        targets=targets,
        ignore=config.data.ignore,
        normalisation=Normalisation(method="none"),
        decoding=config.decoding,
        geometry=TileGeometry(step=8, halo=8, minimum=16),
    )
    pairs = [
        {
            "id": path.stem,
            "image": str(path),
            "mask": str(nuclei_folder / masks / f"{path.stem}{suffix}"),
            "group": None,
        }
        for path in sorted((nuclei_folder / "images").iterdir())
    ]
    (run.path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    (run.path / "split.json").write_text(json.dumps({"train": pairs[:1], "validation": pairs[1:]}))
    (run.path / "recipe.json").write_text(recipe.model_dump_json())
    (run.path / "environment.json").write_text(json.dumps({"versions": {"keras": "3.15"}, "devices": ["CPU"]}))
    (run.path / "record.json").write_text(json.dumps({"parameters": 1234567, "best_epoch": 3}))
    (run.path / "history.csv").write_text(HISTORY)
    (run.path / "best.keras").touch()
    return run
