"""Images are brought to the size at which the network knows objects."""

from pathlib import Path

import numpy as np
import pytest

from bmzpack.errors import UserError
from kerazoo.data.rescale import diameter, rescaled, rescaled_to, resized, typical_diameter
from kerazoo.files.pairs import Sample
from kerazoo.models.recipe import Scale


def disc(radius, size=200):
    y, x = np.mgrid[:size, :size] - size // 2
    return (y**2 + x**2 <= radius**2).astype(np.int32) * 100_000


def test_diameters():
    assert diameter(disc(20)) == pytest.approx(40, rel=0.02)
    assert diameter(np.zeros((5, 5), int)) is None
    assert diameter(disc(20), ignored=100_000) is None
    samples = [Sample(str(radius), np.zeros((200, 200, 1)), disc(radius)) for radius in (10, 20, 50)]
    assert typical_diameter(samples, None) == pytest.approx(40, rel=0.02)
    with pytest.raises(UserError, match="no diameter"):
        typical_diameter([Sample("empty", np.zeros((5, 5, 1)), np.zeros((5, 5), int))], None)


def test_a_sample_gets_the_diameter_of_the_network():
    image = np.random.default_rng(0).integers(0, 4000, (200, 200, 2)).astype(np.uint16)
    sample = rescaled_to(Sample("a", image, disc(40)), Scale(network=30, images=50), None)
    assert sample.image.shape == (75, 75, 2)
    assert sample.image.dtype == np.uint16
    assert sample.image.mean() == pytest.approx(image.mean(), rel=0.01)
    assert set(np.unique(sample.mask)) == {0, 100_000}
    assert diameter(sample.mask) == pytest.approx(30, abs=0.5)


def test_an_image_without_objects_is_rescaled_as_the_others():
    sample = Sample("empty", np.zeros((100, 60, 1), np.int64), np.zeros((100, 60), np.int32))
    rescaled_sample = rescaled_to(sample, Scale(network=30, images=15), None)
    assert rescaled_sample.image.shape == (200, 120, 1)
    assert rescaled_sample.mask.shape == (200, 120)


def test_the_labels_stay_whatever_their_numbers():
    mask = np.zeros((40, 40), np.int32)
    mask[:20], mask[20:30], mask[30:] = 2_000_000_001, 2_000_000_002, 2_147_483_647
    sample = Sample("a", np.zeros((40, 40, 1), np.uint8), mask)
    found = rescaled_to(sample, Scale(network=60, images=30), 2_147_483_647).mask
    assert set(np.unique(found)) == {2_000_000_001, 2_000_000_002, 2_147_483_647}


def test_a_piece_at_the_edge_does_not_enlarge_its_image_beyond_measure():
    mask = np.zeros((64, 64), np.int32)
    mask[:3, 0] = 1
    sample = rescaled_to(Sample("a", np.zeros((64, 64, 1), np.uint8), mask), Scale(network=30, images=40), None)
    assert sample.factor == 3
    assert sample.image.shape == (192, 192, 1)


def test_no_absurd_scales():
    sample = Sample("a", np.zeros((64, 64, 1), np.uint8), np.zeros((64, 64), np.int32), Path("images/a.tif"))
    with pytest.raises(UserError, match=r"images/a\.tif would be rescaled by a factor of 30"):
        rescaled_to(sample, Scale(network=30, images=1), None)
    with pytest.raises(UserError, match="factor of 20"):
        rescaled(np.zeros((10, 10, 1)), 20)


def test_the_same_size_is_the_same_image():
    image = np.zeros((10, 12, 1), np.int64)
    assert resized(image, (12, 10)) is image
