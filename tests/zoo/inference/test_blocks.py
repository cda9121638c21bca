"""Objects found block by block are those found at once."""

import cv2
import numpy as np
import pytest

from kerazoo.config import DecodingConfig
from kerazoo.inference.blocks import objects_in_blocks
from kerazoo.models.pixels.decoding import find_objects


def in_blocks(regions, decoding, *sizes):
    return objects_in_blocks(
        regions.shape, lambda rows, columns: find_objects(regions[rows, columns], decoding), *sizes
    )


@pytest.fixture(scope="module")
def regions():
    """Separate discs with a rim, one large object across all blocks, and a block without objects."""
    random = np.random.default_rng(0)
    regions = np.zeros((500, 620), np.uint8)
    for y, x in ((y, x) for y in range(15, 500, 30) for x in range(15, 620, 30)):
        centre = (x + int(random.integers(-4, 5)), y + int(random.integers(-4, 5)))
        radius = int(random.integers(4, 11))
        cv2.circle(regions, centre, radius, 2, -1)
        cv2.circle(regions, centre, radius - 2, 1, -1)
    regions[:, 220:330] = 0
    cv2.ellipse(regions, (275, 250), (40, 220), 0, 0, 360, 2, -1)
    cv2.ellipse(regions, (275, 250), (38, 218), 0, 0, 360, 1, -1)
    regions[:120, :120] = 0
    return regions


@pytest.mark.parametrize("block", [100, 170, 499])
def test_objects_equal_those_found_at_once(regions, block):
    decoding = DecodingConfig(minimum_size=10)
    expected = find_objects(regions, decoding)
    found = in_blocks(regions, decoding, block, 40)
    assert found.dtype == np.int32
    # The same partition: every label of one corresponds to one of the other.
    pairs = np.unique(np.stack([expected.ravel(), found.ravel()]), axis=1)
    assert len(pairs[0]) == expected.max() + 1
    assert sorted(pairs[1]) == list(range(expected.max() + 1))


def test_small_images_are_not_cut(regions):
    decoding = DecodingConfig()
    np.testing.assert_array_equal(in_blocks(regions, decoding), find_objects(regions, decoding))


def test_nothing_found():
    assert not in_blocks(np.zeros((300, 300), np.uint8), DecodingConfig(), 100, 20).any()


def test_result_does_not_depend_on_threads(regions):
    """OpenCV's distances differ by rounding between thread counts, and with one thread from call to call."""
    before, results = cv2.getNumThreads(), []
    for threads in (1, 1, 1, 2, 2):
        cv2.setNumThreads(threads)
        results.append(find_objects(regions, DecodingConfig()))
    cv2.setNumThreads(before)
    for result in results:
        np.testing.assert_array_equal(result, results[0])
