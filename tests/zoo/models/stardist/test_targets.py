"""Star targets: distances and probabilities that can be worked out by hand."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from bmzpack.errors import UserError
from kerazoo.models.stardist.targets import star_targets


def test_distances_in_a_rectangle():
    labels = np.zeros((30, 40), np.int32)
    labels[10:21, 15:32] = 7
    stars = star_targets(labels, rays=4)
    assert stars.shape == (30, 40, 5)
    assert stars.dtype == np.float32
    # Along +x, +y, -x, -y, from the centre of a pixel to the edge of the object.
    np.testing.assert_allclose(stars[12, 20, 1:], [11.5, 8.5, 5.5, 2.5], atol=1e-5)
    assert (stars[labels == 0] == 0).all()


def test_the_probability_is_the_distance_to_the_edge_over_its_maximum():
    labels = np.zeros((40, 40), np.int32)
    labels[5:16, 5:36] = 1
    labels[16:30, 5:20] = 2
    stars = star_targets(labels, 8)
    for label in (1, 2):
        distance = distance_transform_edt(labels == label)
        np.testing.assert_allclose(stars[labels == label, 0], (distance / distance.max())[labels == label], rtol=1e-6)


def test_the_edge_of_the_image_bounds_distances_but_not_the_probability():
    labels = np.zeros((20, 20), np.int32)
    labels[:10] = 1
    stars = star_targets(labels, 4)
    np.testing.assert_allclose(stars[:10, 5, 0], np.arange(10, 0, -1) / 10, rtol=1e-6)
    np.testing.assert_allclose(stars[3, 5, 1:], [14.5, 6.5, 5.5, 3.5], atol=1e-5)


@pytest.mark.parametrize("grid", [1, 2, 4, (2, 4)])
def test_the_grid_keeps_some_pixels_and_their_distances(grid):
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 4, (9, 7)), np.ones((7, 9), np.int64))
    y, x = grid if isinstance(grid, tuple) else (grid, grid)
    np.testing.assert_array_equal(star_targets(labels, 8, grid)[..., 1:], star_targets(labels, 8)[::y, ::x, 1:])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64, np.uint32])
def test_any_integer_and_any_numbers(dtype):
    labels = np.kron(np.arange(6).reshape(2, 3), np.ones((8, 8))).astype(dtype)
    stars = star_targets(labels)
    great = labels.astype(np.int64) * 3_000_000_001
    np.testing.assert_array_equal(stars, star_targets(great))


def test_negative_labels_are_ignored_and_bound_the_others():
    labels = np.ones((16, 16), np.int32)
    labels[:, 8:] = -1
    stars = star_targets(labels, 4)
    assert (stars[:, 8:, 0] == -1).all()
    assert (stars[:, 8:, 1:] == 0).all()
    np.testing.assert_allclose(stars[5, 3, 1], 4.5, atol=1e-5)


def test_an_object_that_fills_the_image_and_an_empty_image():
    full = star_targets(np.ones((9, 9), np.uint8), 4)
    np.testing.assert_allclose(full[4, :, 0], [0.2, 0.4, 0.6, 0.8, 1, 0.8, 0.6, 0.4, 0.2], rtol=1e-6)
    assert (star_targets(np.zeros((9, 9), np.uint8), 4) == 0).all()


def test_too_few_rays():
    with pytest.raises(UserError, match="3 rays"):
        star_targets(np.zeros((4, 4), np.int32), rays=2)
