"""All objects by points: where these lie, and which masks stay."""

from types import SimpleNamespace

import numpy as np
from skimage.draw import disk

from kerazoo.models.sam.points import Region, innermost_pixels, objects_of_points, without_repetition
from kerazoo.models.sam.targets import map_targets


def mask_of(inside, score):
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    y, x = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return Region(y, x, inside[y, x], score)


def discs():
    labels = np.zeros((60, 90), np.int32)
    for label, (y, x, radius) in enumerate([(20, 20, 12), (30, 60, 15), (52, 20, 6)], start=1):
        labels[disk((y, x), radius, shape=labels.shape)] = label
    return labels


def test_points_lie_in_the_middle():
    points = innermost_pixels(discs())
    assert points.dtype == np.float32
    assert np.abs(points - [[20, 20], [60, 30], [20, 52]]).max() <= 1
    assert innermost_pixels(np.zeros((5, 5), np.int32)).shape == (0, 2)


def test_a_second_mask_of_an_object_is_left_out():
    labels = discs()
    first, smaller = labels == 1, np.zeros(labels.shape, bool)
    smaller[disk((20, 20), 9)] = True
    overlapping = np.zeros(labels.shape, bool)
    overlapping[disk((30, 34), 9)] = True  # shares less than half of its pixels
    masks = [mask_of(smaller, 0.7), mask_of(first, 0.9), mask_of(overlapping, 0.5), mask_of(labels == 2, 0.95)]
    found = without_repetition(masks, labels.shape)
    assert set(np.unique(found)) == {0, 1, 2, 4}
    assert np.array_equal(found == 1, labels == 2)
    assert np.array_equal(found == 2, first)
    assert np.array_equal(found == 4, overlapping & ~first & (labels != 2))


def network_of(answer):
    """A network that gives `answer(label)`, a mask and a score, for a point in an object of `discs`."""
    labels = discs()

    def masks(embedding, points, kinds, several):
        assert several
        assert (kinds == 1).all()
        worse = mask_of(labels > 0, -1.0)
        return [[worse, mask_of(*answer(labels[y, x])), worse] for x, y in points[:, 0].astype(int)]

    return SimpleNamespace(masks=masks)


def test_objects_are_asked_for_by_points():
    labels = discs()
    maps = map_targets(labels)
    asked = []

    def square(label):
        asked.append(label)
        y, x = np.nonzero(labels == label)
        inside = np.zeros(labels.shape, bool)
        inside[y.min() : y.max() + 1, x.min() : x.max() + 1] = True
        return inside, 0.9 if label == 1 else 0.3

    found = objects_of_points(network_of(square), None, maps)
    assert sorted(asked) == [1, 2, 3]
    assert found.max() == 3
    assert np.array_equal(found == 1, square(1)[0])  # the sure one, as it was answered
    assert np.array_equal(found > 1, labels > 1)  # the others, as they were found
    assert objects_of_points(network_of(square), None, maps, minimum_size=200).max() == 2
    assert not objects_of_points(network_of(square), None, np.zeros((*labels.shape, 3), np.float32)).any()


def test_foreground_without_seed_stays():
    labels = discs()
    maps = map_targets(labels)
    maps[labels == 3, 1] = 1
    found = objects_of_points(network_of(lambda label: (labels == label, 0.9)), None, maps)
    assert np.array_equal(found > 0, labels > 0)
    assert found.max() == 3
