"""Distance fields and their flows: facts of a disc, rods and a bent filament, and what holds of any label image."""

import cv2
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from bmzpack.errors import UserError
from kerazoo.models.omnipose.targets import distance_fields, field_targets


def disc(size, radius):
    y, x = np.ogrid[:size, :size]
    return ((y - size // 2) ** 2 + (x - size // 2) ** 2 <= radius**2).astype(np.int32)


def filament():
    """A half circle, 9 pixels wide."""
    labels = np.zeros((90, 90), np.uint8)
    cv2.ellipse(labels, (45, 60), (32, 32), 0, 180, 360, 1, 9)
    return labels.astype(np.int32)


def test_the_field_of_a_disc_is_the_distance_to_its_rim():
    labels = disc(81, 30)
    distance, flow, _ = distance_fields(labels)
    y, x = np.indices(labels.shape) - 40
    radius = np.hypot(y, x)
    ring = (radius > 5) & (radius < 28)
    error = distance - (30.5 - radius)
    assert np.abs(error[ring]).max() < 0.65
    # As far from the centre, as large in every direction: hardly a polygon.
    assert all(error[np.abs(radius - r) < 0.5].std() < 0.17 for r in range(8, 27))
    toward_centre = -np.stack([y, x], axis=-1) / np.maximum(radius, 1)[..., None]
    assert (flow * toward_centre).sum(axis=-1)[ring].min() > 0.86
    assert distance.argmax() == 40 * 81 + 40


def test_between_parallel_sides_the_field_is_exact():
    """A bar across the whole image, whose edges are no boundary."""
    labels = np.zeros((31, 20), np.int32)
    labels[10:21] = 5
    distance, flow, boundary = distance_fields(labels)
    depth = np.minimum(np.arange(1, 12), np.arange(11, 0, -1))
    assert np.abs(distance[10:21] - depth[:, None]).max() < 5e-3
    sign = np.array([1, 1, 1, 1, 1, 0, -1, -1, -1, -1, -1])
    assert np.abs(flow[10:21, :, 0] - sign[:, None]).max() < 5e-3
    assert np.abs(flow[..., 1]).max() < 1e-6
    assert boundary.sum() == 40
    assert boundary[[10, 20]].all()


def test_the_flow_of_a_filament_points_to_its_middle_line():
    labels = filament()
    distance, flow, _ = distance_fields(labels)
    y, x = np.indices(labels.shape)
    out = np.hypot(y - 60, x - 45) - 32
    outward = np.stack([y - 60, x - 45], axis=-1) / np.maximum(np.hypot(y - 60, x - 45), 1)[..., None]
    radial = (flow * outward).sum(axis=-1)
    arc = (labels > 0) & (y < 55)
    assert (radial[arc & (out > 1.5)] < -0.5).all()
    assert (radial[arc & (out < -1.5)] > 0.5).all()
    assert distance[arc & (np.abs(out) < 0.5)].min() > 3.5


def test_touching_objects_have_fields_of_their_own():
    labels = np.zeros((40, 60), np.int32)
    labels[10:21, 5:55], labels[21:30, 5:55] = 3, 8
    together, alone = distance_fields(labels), distance_fields(np.where(labels == 3, 3, 0))
    assert np.abs(together[0] - alone[0])[labels == 3].max() < 0.02
    assert (together[2] == alone[2])[labels == 3].all()
    assert together[2][20, 30]
    assert together[2][21, 30]
    assert together[1][20, 30, 0] < -0.9
    assert together[1][21, 30, 0] > 0.9


def test_the_target_is_scaled_for_the_network():
    labels = disc(41, 12)
    distance, flow, boundary = distance_fields(labels)
    target = field_targets(labels)
    assert target.shape == (41, 41, 5)
    assert target.dtype == np.float32
    inside = labels > 0
    assert np.array_equal(target[..., :2], 5 * flow)
    assert np.array_equal(target[inside, 2], distance[inside])
    assert (target[~inside, 2] == -5).all()
    assert np.array_equal(target[..., 3], boundary)
    assert (target[..., 4] == np.where(inside, 1, 0.5)).all()


@pytest.mark.parametrize("labels", [np.zeros((3, 4, 2), np.int32), np.zeros((5, 5), np.float32)])
def test_what_is_no_label_image_is_refused(labels):
    with pytest.raises(UserError, match="label image of whole numbers"):
        field_targets(labels)


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (1, 9), (9, 1), (8, 8)])
@pytest.mark.parametrize("value", [0, 7])
def test_empty_and_full_images(shape, value):
    distance, flow, boundary = distance_fields(np.full(shape, value, np.uint16))
    assert np.isfinite(distance).all()
    assert np.isfinite(flow).all()
    assert not boundary.any()
    assert not flow[np.full(shape, value == 0)].any()


@settings(max_examples=60, deadline=None)
@given(arrays(np.int32, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.integers(0, 3)))
def test_any_label_image(labels):
    distance, flow, boundary = distance_fields(labels)
    inside = labels > 0
    assert not distance[~inside].any()
    assert not flow[~inside].any()
    assert not boundary[~inside].any()
    assert (distance >= 0).all()
    assert (np.linalg.norm(flow, axis=-1) < 1.5).all()
    assert (distance[boundary] < 2.5).all()

    turned = distance_fields(np.rot90(labels))
    assert np.abs(np.rot90(distance) - turned[0]).max() < 1e-4
    renamed = distance_fields(labels * 1000)
    assert np.array_equal(renamed[0], distance)
    assert np.array_equal(renamed[1], flow)
