"""Augmented images are those that training sees."""

import numpy as np

from kerazoo.config import AugmentationConfig
from kerazoo.course.augmentation import augment
from kerazoo.data.normalise import Normalisation
from kerazoo.examples.synthetic import nuclei


def test_versions_differ_and_repeat():
    image = nuclei(1, 96)[0][..., None]
    versions = augment(image, number=4)
    assert versions.shape == (4, 96, 96, 1)
    assert versions.dtype == np.float32
    np.testing.assert_array_equal(versions, augment(image, number=4))
    assert all(not np.array_equal(versions[0], other) for other in versions[1:])
    assert not np.array_equal(versions, augment(image, number=4, seed=2))


def test_without_changes_the_image_stays():
    image = nuclei(1, 64)[0][..., None]
    nothing = AugmentationConfig(flip=False, quarter_turns=False, rotation=0, scale=0, intensity=0, gamma=0)
    expected = Normalisation(method="standardisation").apply(image)
    np.testing.assert_allclose(augment(image, nothing, number=2), np.stack([expected] * 2), atol=1e-5)


def test_flips_and_turns_keep_the_values():
    image = np.random.default_rng(1).integers(0, 255, (48, 48, 3), np.uint8)
    turned = AugmentationConfig(rotation=0, scale=0, intensity=0, gamma=0)
    expected = np.sort(Normalisation(method="standardisation").apply(image).ravel())
    for version in augment(image, turned, number=3):
        np.testing.assert_allclose(np.sort(version.ravel()), expected, atol=1e-5)
