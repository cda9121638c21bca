"""From probabilities to results: all kinds of targets, and real nuclei through their own borders."""

import cv2
import numpy as np
import pytest

from arrays import decode
from kerazoo.config import DataConfig, DecodingConfig
from kerazoo.data.normalise import Normalisation
from kerazoo.evaluation.scores import count_instances, total
from kerazoo.files.masks import read_mask
from kerazoo.files.read import read_image
from kerazoo.models.classical.method import classical
from kerazoo.models.pixels.targets import border_target
from kerazoo.models.recipe import Recipe, TileGeometry

CLASSES = {
    "border": ["background", "interior", "border"],
    "foreground": ["background", "foreground"],
    "classes": ["a", "b", "c", "d"],
}


def recipe(targets, **decoding):
    return Recipe(
        model="unet2d",
        task="instances" if targets == "border" else "semantic",
        channels=1,
        channel_names=["raw"],
        classes=CLASSES[targets],
        targets=targets,
        normalisation=Normalisation(method="none"),
        decoding=DecodingConfig(**decoding),
        geometry=TileGeometry(step=8, halo=8, minimum=16),
    )


def simulated(labels, blur, noise, seed=0):
    """Probabilities as an imperfect network might give them."""
    target = border_target(labels, 2)
    evidence = np.stack([cv2.GaussianBlur((target == c).astype(np.float32), (0, 0), blur) for c in range(3)], 2)
    evidence = 6 * evidence + np.random.default_rng(seed).normal(0, noise, evidence.shape)
    exponential = np.exp(evidence)
    return (exponential / exponential.sum(2, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def nuclei(data_folder):
    folder = data_folder("nuclei_dsb2018") / "val"
    names = sorted(path.name for path in (folder / "images").glob("*.png"))
    return [(read_image(folder / "images" / name), read_mask(folder / "masks" / name, DataConfig())) for name in names]


def test_classes_are_the_most_probable():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), (9, 11)).astype(np.float32)
    result = decode(probabilities, recipe("classes"))
    assert result.dtype == np.int32
    assert (result == probabilities.argmax(2)).all()


def test_foreground_is_above_the_threshold():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(2), (9, 11)).astype(np.float32)
    result = decode(probabilities, recipe("foreground", threshold=0.7))
    assert result.dtype == np.int32
    assert (result == (probabilities[..., 1] > 0.7)).all()


def test_objects_follow_both_thresholds_and_the_minimum_size():
    probabilities = np.zeros((40, 60, 3), np.float32)
    probabilities[5:25, 5:25, 1] = 0.6
    probabilities[5:25, 25:45, 2] = 0.6
    probabilities[30:34, 50:54, 1] = 0.9
    probabilities[..., 0] = 1 - probabilities[..., 1:].sum(2)
    both = decode(probabilities, recipe("border"))
    assert both.dtype == np.int32
    assert both.max() == 2
    assert ((both > 0) == (probabilities[..., 0] < 0.5)).all(), "the rim belongs to the object"
    assert decode(probabilities, recipe("border", threshold=0.7)).max() == 1
    assert decode(probabilities, recipe("border", minimum_size=17)).max() == 1


def test_real_nuclei_come_back_from_their_own_target(nuclei):
    counts = []
    for _, labels in nuclei:
        probabilities = np.eye(3, dtype=np.float32)[border_target(labels, 2)]
        counts.append(count_instances(labels, decode(probabilities, recipe("border"))))
    scores = total(counts).scores()
    assert scores["dice"] > 0.999
    assert scores["ap_50"] > 0.95
    assert scores["ap_50_95"] > 0.93


def test_real_nuclei_come_back_from_imperfect_probabilities(nuclei):
    counts = [
        count_instances(labels, decode(simulated(labels, 1.5, 0.7), recipe("border", minimum_size=15)))
        for _, labels in nuclei
    ]
    scores = total(counts).scores()
    assert scores["dice"] > 0.93
    assert scores["ap_50"] > 0.85


def test_baseline_on_real_nuclei(nuclei):
    """The figure that trained networks have to beat; about 0.64 pooled, 0.75 as the mean over images."""
    per_image = [count_instances(labels, classical(image)) for image, labels in nuclei]
    scores = total(per_image).scores()
    assert 0.60 < scores["ap_50"] < 0.70
    assert 0.72 < np.mean([image.scores()["ap_50"] for image in per_image]) < 0.80


def test_baseline_takes_any_image():
    image = np.zeros((40, 50, 3), np.uint16)
    image[10:20, 10:20] = 4000
    labels = classical(image)
    assert labels.dtype == np.int32
    assert labels.shape == (40, 50)
    assert labels.max() == 1
    assert classical(np.zeros((8, 8), np.float32)).max() == 0
