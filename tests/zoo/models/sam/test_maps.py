"""Targets and decoding of all objects at once: what is drawn comes back."""

import numpy as np
import pytest
from skimage.draw import disk
from skimage.segmentation import relabel_sequential

from kerazoo.models.sam.decoding import objects_of_maps
from kerazoo.models.sam.targets import MapTarget, map_targets


def discs():
    """Eleven discs of several sizes that touch but do not overlap, and a crescent whose centre lies outside of it."""
    labels = np.zeros((160, 200), np.int32)
    places = [(20, 20, 12), (20, 44, 12), (44, 32, 14), (90, 30, 25), (140, 40, 9), (60, 100, 30), (60, 140, 10)]
    places += [(20, 180, 15), (120, 120, 20), (120, 152, 12), (3, 100, 3)]
    for label, (y, x, radius) in enumerate(places, start=1):
        inside = np.zeros(labels.shape, bool)
        inside[disk((y, x), radius, shape=labels.shape)] = True
        labels[inside & (labels == 0)] = label
    ring = np.zeros(labels.shape, bool)
    ring[disk((130, 180), 18, shape=labels.shape)] = True
    ring[disk((130, 186), 16, shape=labels.shape)] = False
    labels[ring & (labels == 0)] = 12
    return relabel_sequential(labels)[0]


def test_distances_are_those_of_a_disc():
    labels = np.zeros((41, 41), np.int32)
    labels[disk((20, 20), 15.5)] = 3
    target = map_targets(labels)
    assert (target[labels == 0] == (0, 1, 1)).all()
    assert (target[labels == 3, 0] == 1).all()
    np.testing.assert_allclose(target[20, 20], (1, 0, 0), atol=1e-6)
    np.testing.assert_allclose(target[20, 5:36, 1], np.abs(np.arange(-15, 16)) / 15.26, atol=0.02)
    np.testing.assert_allclose(target[20, 5:36, 2], np.abs(np.arange(-15, 16)) / 16, atol=0.02)


def test_a_centre_outside_of_the_object_is_not_used():
    labels = discs()
    target = map_targets(labels)
    for label in range(1, labels.max() + 1):
        place = np.unravel_index(np.argmin(np.where(labels == label, target[..., 1], 2)), labels.shape)
        assert labels[place] == label
        assert target[place][1] < 0.15


def test_objects_come_back():
    labels = discs()
    found = objects_of_maps(map_targets(labels))
    assert found.dtype == np.int32
    assert set(np.unique(found)) == set(range(labels.max() + 1))
    for label in range(1, labels.max() + 1):
        mask = labels == label
        other = found == np.bincount(found[mask]).argmax()
        assert (mask & other).sum() / (mask | other).sum() > 0.9


def test_a_foreground_without_seed_is_an_object_and_small_ones_go():
    maps = np.ones((30, 40, 3), np.float32)
    maps[..., 0] = 0
    maps[5:10, 5:10, 0] = maps[20:22, 20:22, 0] = 1
    assert objects_of_maps(maps).max() == 2
    found = objects_of_maps(maps, minimum_size=5)
    assert found.max() == 1
    assert (found > 0).sum() == 25


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (64, 3)])
def test_nothing_gives_nothing(shape):
    assert not map_targets(np.zeros(shape, np.int32))[..., 0].any()
    assert not objects_of_maps(np.zeros((*shape, 3), np.float32)).any()


def test_ignored_pixels():
    mask = np.zeros((20, 20), np.int64)
    mask[2:8, 2:8], mask[10:14, 10:14] = 7, 9
    target = MapTarget(9)
    patch = target.of_patch(target.of_image(mask), ((1, 0), (0, 1)))
    assert (patch[10:14, 10:14, 0] == -1).all()
    assert (patch[10:14, 10:14, 3] == 0).all()
    assert (patch[2:8, 2:8, 0] == 1).all()
    assert len(np.unique(patch[2:8, 2:8, 3])) == 1
