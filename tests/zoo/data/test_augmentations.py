"""Every key of the configuration's augmentation changes patches, alone; without any of them patches are the image."""

import numpy as np
import pytest

from kerazoo.config import AugmentationConfig
from kerazoo.data.normalise import Normalisation
from kerazoo.files.pairs import Sample
from kerazoo.models.configure import family_of, make_config

LARGE = {"flip": True, "quarter_turns": True, "rotation": 180.0, "scale": 0.5, "shift": 8.0, "elastic": 4.0}
LARGE |= {"intensity": 0.5, "gamma": 0.5, "blur": 3.0, "poisson": 1.0, "gaussian": 1.0}
OFF = {key: False if isinstance(value, bool) else 0.0 for key, value in LARGE.items()}


def patches_of(changes: dict) -> np.ndarray:
    """The first batch of images of two classes that are as large as the patches."""
    random = np.random.default_rng(1)
    samples = [
        Sample(str(category), random.integers(0, 255, (32, 32, 1), np.uint8), np.full((32, 32), category, np.int32))
        for category in (0, 1)
    ]
    config = make_config(
        {
            "model": {"name": "patch_cnn"},
            "data": {"annotation": "classes", "classes": ["dark", "bright"]},
            "augmentation": OFF | changes,
            "training": {"patch_size": 32, "batch_size": 4, "steps_per_epoch": 1},
        }
    )
    family = family_of(config)
    feed = family.feed(samples, samples, config, Normalisation(method="none"), 0, ["probability"])
    inputs, _ = next(iter(feed.training(config, 0)))
    return inputs["raw"].numpy()


def test_all_keys_are_tried():
    assert set(LARGE) == set(AugmentationConfig.model_fields)


@pytest.mark.parametrize("key", LARGE)
def test_each_change_alone(key):
    assert not np.array_equal(patches_of({key: LARGE[key]}), patches_of({}))


def test_no_change_leaves_the_pixels():
    random = np.random.default_rng(1)
    first = random.integers(0, 255, (32, 32, 1), np.uint8)
    assert any(np.array_equal(patch, first) for patch in patches_of({}))
