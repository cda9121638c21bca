"""Polygons found strip by strip are those found at once."""

import numpy as np
import pytest

from arrays import decode
from kerazoo.config import DecodingConfig
from kerazoo.data.normalise import Normalisation
from kerazoo.evaluation.scores import count_instances
from kerazoo.examples.synthetic import nuclei
from kerazoo.models.recipe import Recipe, TileGeometry
from kerazoo.models.stardist.strips import find_stars_in_strips
from kerazoo.models.stardist.targets import star_targets


def recipe_of(grid, **decoding):
    return Recipe(
        model="stardist2d",
        task="instances",
        channels=1,
        channel_names=["channel0"],
        classes=["probability", *(f"distance{ray}" for ray in range(32))],
        targets="stars",
        normalisation=Normalisation(method="none"),
        decoding=DecodingConfig(**decoding),
        geometry=TileGeometry(step=grid, halo=0, minimum=grid, grid=grid),
    )


@pytest.fixture(scope="module")
def labels():
    return np.vstack([nuclei(seed, 384)[1] + 500 * seed * (nuclei(seed, 384)[1] > 0) for seed in (1, 2)])[:761]


@pytest.mark.parametrize("grid", [1, 2, 4])
@pytest.mark.parametrize("rows", [48, 200])
def test_strips_equal_the_whole(labels, grid, rows):
    output = star_targets(labels, 32, grid)
    random = np.random.default_rng(0)
    output[..., 0] *= random.uniform(0.9, 1.0, output.shape[:2])
    recipe = recipe_of(grid)
    whole = decode(output, recipe, labels.shape)
    step = rows // grid
    bands = [
        (slice(top, min(top + step, len(output))), output[top : top + step]) for top in range(0, len(output), step)
    ]
    found = find_stars_in_strips(bands, labels.shape, recipe, context=96)
    pairs = np.unique(np.stack([whole.ravel(), found.ravel()]), axis=1)
    assert len(pairs[0]) == whole.max() + 1 == found.max() + 1
    assert sorted(pairs[1]) == list(range(whole.max() + 1))


def test_true_stars_give_the_objects_back(labels):
    found = decode(star_targets(labels, 32, 2), recipe_of(2), labels.shape)
    assert found.shape == labels.shape
    scores = count_instances(labels, found).scores()
    assert scores["ap_50"] > 0.95
    assert scores["mean_matched_iou"] > 0.88


def test_small_objects_are_removed_and_nothing_is_found_in_nothing(labels):
    output = star_targets(labels, 32, 2)
    areas = np.bincount(decode(output, recipe_of(2, minimum_size=150), labels.shape).ravel())[1:]
    assert areas.min() >= 150
    assert not decode(np.zeros((40, 50, 33), np.float32), recipe_of(2), (79, 99)).any()
