"""Objects from flows and distances: those whose targets they are come back, and what is no object goes."""

import cv2
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from kerazoo.models.omnipose.decoding import cluster, find_field_objects, flow_errors, integrate
from kerazoo.models.omnipose.targets import FLOW_SCALE, field_targets
from kerazoo.models.shared.matching import overlaps


def output_of(labels):
    """What a perfect network says."""
    target = field_targets(labels)
    target[..., 3] = 10 * target[..., 3] - 5
    return target[..., :4]


def same(truth, prediction):
    pairs = overlaps(truth, prediction)
    return len(pairs.truth_labels) == len(pairs.prediction_labels) == (pairs.iou == 1).sum()


def drawn(*shapes, size=120):
    labels = np.zeros((size, size), np.int32)
    for number, (draw, *arguments) in enumerate(shapes, start=1):
        mask = np.zeros((size, size), np.uint8)
        draw(mask, *arguments)
        labels[mask > 0] = number
    return labels


def test_discs_rods_and_filaments_come_back():
    labels = drawn(
        (cv2.circle, (25, 25), 14, 1, -1),
        (cv2.line, (60, 15), (105, 40), 1, 9),
        (cv2.ellipse, (55, 95), (45, 45), 0, 190, 350, 1, 7),
    )
    assert same(labels, find_field_objects(output_of(labels)))


def test_a_long_thin_filament_stays_whole():
    """240 pixels long and 5 wide, in waves."""
    x = np.linspace(10, 250, 400)
    points = np.stack([x, 60 + 30 * np.sin(x / 20)], axis=-1).round().astype(np.int32)
    mask = np.zeros((120, 260), np.uint8)
    cv2.polylines(mask, [points], False, 1, 5)
    found = find_field_objects(output_of(mask.astype(np.int32)))
    assert found.max() == 1
    assert ((found > 0) == (mask > 0)).all()


@pytest.mark.parametrize("width", [6, 8, 12, 16])
def test_rods_side_by_side_come_apart(width):
    labels = np.zeros((100, 100), np.int32)
    for rod in range(4):
        labels[10 + rod * width : 10 + (rod + 1) * width, 10:85] = rod + 1
    assert same(labels, find_field_objects(output_of(labels)))


def test_the_flows_length_does_not_matter_but_to_the_error():
    labels = drawn((cv2.circle, (40, 40), 20, 1, -1), (cv2.circle, (85, 85), 20, 1, -1))
    output = output_of(labels)
    output[..., :2] *= np.where(labels == 2, 3, 1)[..., None]
    assert same(labels, find_field_objects(output, flow_error=0))
    assert same(np.where(labels == 1, 1, 0), find_field_objects(output))


def test_flow_errors_are_those_of_the_flows():
    labels = drawn((cv2.circle, (40, 40), 20, 1, -1), (cv2.circle, (85, 85), 20, 1, -1))
    flow = output_of(labels)[..., :2].copy()
    flow[labels == 2] += FLOW_SCALE * np.array([0.3, 0.4], np.float32)
    assert np.abs(flow_errors(labels, flow) - [0, 0, 0.25]).max() < 1e-5
    merged = flow_errors((labels > 0).astype(np.int32), flow * (labels == 1)[..., None])
    assert merged[1] > 0.4


def test_weak_foreground_counts_only_beside_strong_one():
    labels = drawn((cv2.circle, (40, 40), 20, 1, -1), (cv2.circle, (85, 85), 20, 1, -1))
    output = output_of(labels)
    output[..., 2] = np.where(labels == 1, np.where(output[..., 2] < 5, -0.5, output[..., 2]), output[..., 2])
    output[labels == 2, 2] = -0.5
    assert same(np.where(labels == 1, 1, 0), find_field_objects(output))
    assert same(labels, find_field_objects(output, threshold=-1))
    assert find_field_objects(output, threshold=50).max() == 0


def test_small_objects_go_and_small_holes_are_filled():
    labels = drawn((cv2.circle, (40, 40), 24, 1, -1), (cv2.rectangle, (80, 80), (83, 82), 1, -1))
    output = output_of(labels)
    output[30:33, 30:33, 2] = -5
    output[45:52, 45:52, 2] = -5
    found = find_field_objects(output, flow_error=0, minimum_size=13)
    expected = np.where(labels == 1, 1, 0)
    expected[45:52, 45:52] = 0
    assert np.array_equal(found, expected)
    assert find_field_objects(output, flow_error=0, minimum_size=12).max() == 2


def test_points_gather_within_six_pixels_along_the_flow():
    labels = drawn((cv2.rectangle, (10, 20), (110, 100), 1, -1))
    output = output_of(labels)
    start = np.argwhere(labels > 0)
    ends = integrate(output[..., :2], labels > 0)
    assert np.linalg.norm(ends - start, axis=1).max() < 6
    assert np.array_equal(integrate(output[..., :2], labels > 0, iterations=0), start)
    assert not len(integrate(output[..., :2], np.zeros_like(labels, bool)))


@pytest.mark.parametrize(
    ("gap", "sub_pixel", "expected"), [(1.41, True, 1), (1.42, True, 2), (1.4, False, 1), (1.5, False, 2)]
)
def test_how_near_points_of_one_object_are(gap, sub_pixel, expected):
    ends = np.full((60, 2), 20, np.float32)
    ends[30:, 1] += gap
    assert cluster(ends, (40, 40), sub_pixel).max() == expected


def test_five_points_are_a_crowd():
    ends = np.full((39, 2), 20, np.float32)
    ends[30:34], ends[34:] = 5, 30
    assert list(np.unique(cluster(ends, (40, 40), True), return_counts=True)[1]) == [4, 30, 5]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.floats(1, 40))
def test_clusters_are_those_of_the_definition(seed, count, spread):
    """Against a direct computation with all pairs: core points joined by core points, and what is near them."""
    ends = np.random.default_rng(seed).uniform(0, spread, (count, 2)).astype(np.float32)
    labels = cluster(ends, (41, 41), True)
    near = (np.square(ends[:, None] - ends[None]).sum(axis=-1)) <= 2
    core = near.sum(axis=1) >= 5
    assert np.array_equal(labels > 0, (near & core).any(axis=1))
    joined = near & core & core[:, None]
    assert (labels[:, None] == labels[None])[joined].all()
    for label in np.unique(labels[core]):
        members = np.flatnonzero(core & (labels == label))
        reached = np.zeros(count, bool)
        reached[members[0]] = True
        for _ in range(count):
            reached = reached | joined[reached].any(axis=0)
        assert reached[members].all()
    for point in np.flatnonzero(~core & (labels > 0)):
        assert labels[point] in labels[core & near[point]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (64, 64)])
@pytest.mark.parametrize("fill", [-5.0, 3.0, np.nan, np.inf])
def test_outputs_without_sense(shape, fill):
    output = np.full((*shape, 4), fill, np.float32)
    labels = find_field_objects(output, minimum_size=1)
    assert labels.shape == shape
    assert labels.dtype == np.int32


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_any_output(seed, height, width):
    output = (5 * np.random.default_rng(seed).standard_normal((height, width, 4))).astype(np.float32)
    labels = find_field_objects(output, flow_error=0, minimum_size=4)
    assert (find_field_objects(output, flow_error=0, minimum_size=4) == labels).all(), "deterministic"
    assert (np.bincount(labels.ravel())[1:] >= 4).all()
    assert set(np.unique(labels)) - {0} == set(range(1, labels.max() + 1))
