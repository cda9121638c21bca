"""Flows of Cellpose: every object by itself, against a plain implementation."""

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import example, given, settings
from hypothesis.extra.numpy import arrays

from kerazoo.models.cellpose.targets import flow_targets

SMALL = arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.integers(0, 3))


def plain_flows(labels):
    """Slow and plain: heat from the centre of every object, and the direction in which it rises."""
    flows = np.zeros((*labels.shape, 2))
    for label in np.unique(labels[labels > 0]):
        inside = np.pad(labels == label, 1)
        places = np.argwhere(inside)
        within = places - places.min(axis=0)  # of two pixels that are equally near, rounding decides
        centre = places[np.argmin(((within - within.mean(axis=0)) ** 2).sum(axis=1))]
        heat = np.zeros(inside.shape)
        for _ in range(2 * int((np.ptp(places, axis=0) + 3).sum())):
            heat[tuple(centre)] += 1
            heat = np.where(inside, scipy.ndimage.convolve(heat, np.full((3, 3), 1 / 9), mode="constant"), 0)
        slope = np.stack([np.roll(heat, -1, axis) - np.roll(heat, 1, axis) for axis in (0, 1)], axis=-1)
        slope[np.abs(slope).max(-1) < 1e-14] = 0  # a summit has no direction, only a last bit
        length = np.linalg.norm(slope, axis=-1, keepdims=True)
        unit = np.divide(slope, length, out=np.zeros_like(slope), where=length > 0)
        flows[labels == label] = unit[inside]
    return flows


def disc(size, y, x, radius):
    rows, columns = np.ogrid[:size, :size]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


TWO_CENTRES = np.zeros((15, 5), np.uint8)
TWO_CENTRES[(3, 9, 11, 12, 14), (2, 2, 0, 0, 0)] = 1


@settings(max_examples=60, deadline=None)
@given(SMALL)
@example(TWO_CENTRES)
def test_any_labels_as_in_the_plain_implementation(labels):
    target, expected = flow_targets(labels), plain_flows(labels)
    assert target.dtype == np.float32
    assert ((target[..., 2] == 1) == (labels > 0)).all()
    assert not target[labels == 0].any()
    known = expected.any(axis=-1)
    np.testing.assert_allclose(target[known, :2], expected[known], atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(SMALL)
def test_flows_are_of_length_one_or_zero(labels):
    length = np.linalg.norm(flow_targets(labels)[..., :2], axis=-1)
    assert np.minimum(np.abs(length), np.abs(length - 1)).max() < 1e-6


@settings(max_examples=30, deadline=None)
@given(SMALL, st.randoms(use_true_random=False))
def test_names_and_neighbours_of_an_object_do_not_matter(labels, random):
    expected = flow_targets(labels)
    names = random.sample([7, 60_000, 12, 3_000_000_000, 40], 3)
    np.testing.assert_array_equal(flow_targets(np.array([0, *names])[labels]), expected)
    for label in (1, 2, 3):
        alone = flow_targets(np.where(labels == label, labels, 0))
        np.testing.assert_array_equal(alone[labels == label], expected[labels == label])


def test_flows_lead_to_the_centre_of_a_disc():
    labels = disc(61, 32, 28, 20).astype(np.int32)
    flows = flow_targets(labels)[..., :2]
    y, x = np.nonzero(labels & ~disc(61, 32, 28, 3))
    towards = np.stack([32 - y, 28 - x], axis=-1) / np.hypot(32 - y, 28 - x)[:, None]
    # The wall of a disc of pixels has steps, which bend the flows beside it.
    assert (flows[y, x] * towards).sum(axis=-1).min() > 0.8
    assert np.median((flows[y, x] * towards).sum(axis=-1)) > 0.995


def test_a_part_that_does_not_touch_the_centre_has_no_flow():
    labels = np.zeros((20, 40), np.int32)
    labels[4:16, 4:16], labels[8:10, 30:32] = 1, 1
    target = flow_targets(labels)
    assert not target[8:10, 30:32, :2].any()
    assert (target[8:10, 30:32, 2] == 1).all()


@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (1, 9), (30, 1)])
@pytest.mark.parametrize("value", [0, 1])
def test_empty_and_full_images(shape, value):
    target = flow_targets(np.full(shape, value, np.int32))
    assert target.shape == (*shape, 3)
    assert (target[..., 2] == value).all()
    assert np.isfinite(target).all()
