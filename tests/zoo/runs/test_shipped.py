"""The trained networks that come with the package: each finds the objects of the sample that comes with it."""

from pathlib import Path

import numpy as np
import pytest

import kerazoo
from bmzpack.settings import read_yaml
from kerazoo.evaluation.scores import count_instances
from kerazoo.files.masks import read_mask
from kerazoo.files.read import read_image
from kerazoo.models.trained import FOLDER, trained_networks
from kerazoo.runs.trained import open_run

NAMES = trained_networks()
RECIPES = Path(__file__).parents[3] / "model_cards" / "recipes"
MEBIBYTE = 2**20


def test_they_are_small_enough_for_the_wheel():
    sizes = [sum(file.stat().st_size for file in (FOLDER / name).iterdir()) for name in NAMES]
    assert NAMES
    assert max(sizes) < 15 * MEBIBYTE
    assert sum(sizes) < 40 * MEBIBYTE


@pytest.mark.parametrize("name", NAMES)
def test_it_finds_what_is_on_its_sample(name):
    run = open_run(name)
    (pair,) = run.held_out()
    found = kerazoo.load(name).predict(read_image(pair.image, channels=run.recipe.channels)[..., 0])
    if run.recipe.task == "classification":
        assert run.recipe.classes[found.item()] == pair.category
        return
    truth = read_mask(pair.mask, run.config.data)
    assert found.shape == truth.shape
    assert count_instances(truth, np.asarray(found)).scores()["ap_50"] > 0.7


@pytest.mark.parametrize("name", NAMES)
def test_it_says_where_its_images_come_from(name):
    origin = open_run(name).record.origin
    assert origin is not None
    assert origin.licence in ("CC0-1.0", "MIT", "CC-BY-SA-3.0")
    assert "http" in origin.source or "LeCun" in origin.source


@pytest.mark.parametrize("name", NAMES)
def test_its_recipe_makes_it(name):
    """Model, images and training of the recipe are those of the run."""
    recipe, run = read_yaml(RECIPES / f"{name}.yaml", "recipe"), open_run(name)
    content = run.config.model_dump(mode="json")
    for section, values in recipe["configuration"].items():
        for key, value in values.items():
            assert content[section][key] == value, (section, key)
    assert run.record.origin is not None
    assert recipe["origin"].items() <= run.record.origin.as_json().items()
    assert [each.id for each in run.held_out()] == [recipe["sample"]]
