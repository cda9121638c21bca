"""Objects from masks: what is separated, what is kept together, what is filled and removed."""

import cv2
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from kerazoo.models.shared.matching import overlaps
from kerazoo.models.shared.watershed import fill_holes, remove_small, separate


def discs(shape, *circles):
    """A mask of discs (y, x, radius)."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    mask = np.zeros(shape, bool)
    for cy, cx, radius in circles:
        mask |= (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
    return mask


def separated(mask):
    return remove_small(separate(mask, mask), 0)


def test_touching_discs_are_separated_at_the_neck():
    mask = discs((60, 90), (30, 28, 18), (30, 60, 18))
    labels = separated(mask)
    assert labels.max() == 2
    assert (labels > 0).sum() == mask.sum()
    assert len(np.unique(labels[:, :43][mask[:, :43]])) == 1
    assert len(np.unique(labels[:, 46:][mask[:, 46:]])) == 1


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize(("width", "expected"), [(0.6, 2), (0.95, 1)])
def test_the_neck_decides_at_every_size(scale, width, expected):
    """Two bars of one width, joined by a bar of a fraction of it."""
    mask = np.zeros((40 * scale, 90 * scale), bool)
    mask[5 * scale : 35 * scale, 5 * scale : 40 * scale] = True
    mask[5 * scale : 35 * scale, 50 * scale : 85 * scale] = True
    half = round(15 * scale * width)
    mask[20 * scale - half : 20 * scale + half, 40 * scale : 50 * scale] = True
    assert separated(mask).max() == expected
    assert remove_small(separate(mask, mask, neck=0), 0).max() == 1


def test_ellipses_and_bars_stay_whole():
    mask = np.zeros((200, 200), np.uint8)
    cv2.ellipse(mask, (60, 60), (50, 14), 33, 0, 360, 1, -1)
    cv2.ellipse(mask, (140, 140), (40, 22), -20, 0, 360, 1, -1)
    mask[20:30, 100:190] = 1
    assert separated(mask > 0).max() == 3


def test_rims_go_to_the_nearest_interior_within_the_foreground():
    interior = np.zeros((20, 40), bool)
    interior[5:15, 4:12] = interior[5:15, 22:36] = True
    foreground = np.zeros_like(interior)
    foreground[3:17, 2:38] = True
    labels = remove_small(separate(interior, foreground), 0)
    assert labels.max() == 2
    assert ((labels > 0) == foreground).all()
    assert (labels[10, 2:16] == labels[10, 5]).all()
    assert (labels[10, 18:38] == labels[10, 30]).all()


def test_foreground_without_interior_is_an_object_of_its_own():
    interior, foreground = discs((40, 40), (10, 10, 5)), discs((40, 40), (10, 10, 7), (30, 30, 3))
    labels = remove_small(separate(interior, foreground), 0)
    assert labels.max() == 2
    assert labels[30, 30] != labels[10, 10] != 0
    assert ((labels > 0) == foreground).all()


def test_holes_are_filled_only_inside_one_object():
    labels = np.zeros((30, 60), np.int32)
    labels[5:25, 5:25] = 4
    labels[10:14, 10:14] = 0
    labels[5:25, 30:42], labels[5:25, 42:55] = 7, 9
    labels[10:14, 40:45] = 0
    labels[0:6, 50:56] = 9
    labels[0:3, 52:54] = 0
    filled = fill_holes(labels)
    assert (filled[10:14, 10:14] == 4).all()
    assert (filled[10:14, 40:45] == 0).all()
    assert (filled[0:3, 52:54] == 0).all()
    assert (filled[labels > 0] == labels[labels > 0]).all()


def test_small_objects_are_removed_and_labels_close_up():
    labels = np.zeros((10, 30), np.int32)
    labels[2:4, 2:4], labels[2:8, 8:14], labels[2:6, 20:24] = 3, 7, 12
    kept = remove_small(labels, 16)
    assert kept.dtype == np.int32
    assert (kept == np.where(labels == 7, 1, np.where(labels == 12, 2, 0))).all()
    assert remove_small(labels, 37).max() == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2), (64, 64)])
@pytest.mark.parametrize("value", [False, True])
def test_empty_and_full_masks(shape, value):
    mask = np.full(shape, value)
    assert (separated(fill_holes(separate(mask, mask)) > 0) == value).all()


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.integers(0, 2)))
def test_any_mask(regions):
    interior, foreground = regions == 1, regions > 0
    labels = separate(interior, foreground)
    assert ((labels > 0) == foreground).all()
    for label in np.unique(labels[labels > 0]):
        assert cv2.connectedComponents((labels == label).astype(np.uint8), connectivity=8)[0] == 2, "in one piece"
    assert (separate(interior, foreground) == labels).all(), "deterministic"
    filled = fill_holes(labels)
    assert (filled[labels > 0] == labels[labels > 0]).all()
    pairs = overlaps(labels, filled)
    assert len(pairs.iou) == len(pairs.truth_labels), "holes join no objects"
