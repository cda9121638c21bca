"""The synthetic nuclei: repeatable, annotated without gaps, and as hard as they should be."""

import cv2
import numpy as np
import pytest
import tifffile

from kerazoo.examples.synthetic import nuclei, write_nuclei
from kerazoo.files.folders import find_pairs
from kerazoo.files.read import open_stack


def test_seeded():
    for first, second in zip(nuclei(5), nuclei(5), strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(nuclei(5)[0], nuclei(6)[0])


@pytest.mark.parametrize("size", [128, 256, 384])
def test_image_and_labels(size):
    image, labels = nuclei(size, size)
    assert image.dtype == labels.dtype == np.uint16
    assert image.shape == labels.shape == (size, size)
    numbers = np.unique(labels)
    np.testing.assert_array_equal(numbers, np.arange(len(numbers)))
    for number in numbers[1:]:
        count, _, statistics, _ = cv2.connectedComponentsWithStats((labels == number).astype(np.uint8), connectivity=4)
        assert count == 2
        assert statistics[1, cv2.CC_STAT_AREA] >= 30
    assert image[labels != 0].mean() > image[labels == 0].mean() + 150


def test_nuclei_touch_and_noise_grows_with_light():
    images, labels = zip(*(nuclei(seed) for seed in range(6)), strict=True)
    touching = sum(((a[:, 1:] != a[:, :-1]) & (a[:, 1:] != 0) & (a[:, :-1] != 0)).any() for a in labels)
    assert touching >= 5
    noise = [(image[:, 1:].astype(float) - image[:, :-1]) for image in images]
    bright = np.concatenate([n[(a[:, 1:] == a[:, :-1]) & (a[:, 1:] != 0)] for n, a in zip(noise, labels, strict=True)])
    dark = np.concatenate([n[(a[:, 1:] == 0) & (a[:, :-1] == 0)] for n, a in zip(noise, labels, strict=True)])
    assert bright.std() > 1.5 * dark.std()


def test_written_set(tmp_path):
    write_nuclei(tmp_path, images=3, seed=4, size=96)
    write_nuclei(tmp_path / "other", images=3, seed=5, size=96)
    pairs = find_pairs(tmp_path / "images", tmp_path / "masks")
    assert len(pairs) == 3
    assert open_stack(pairs[0].image).pixel_size == pytest.approx((0.65, 0.65), rel=1e-4)
    pictures = [tifffile.imread(path) for path in sorted(tmp_path.rglob("images/*.tif"))]
    assert len({picture.tobytes() for picture in pictures}) == 6
