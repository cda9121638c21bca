"""Objects from flows: every step against a plain implementation, and labels through flows and back."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from kerazoo.models.cellpose.decoding import (
    cluster,
    fill_enclosed,
    find_flow_objects,
    flow_errors,
    integrate,
    remove_inconsistent,
)
from kerazoo.models.cellpose.targets import flow_targets
from kerazoo.models.shared.matching import overlaps


def output_of(labels):
    """What a network without errors says."""
    target = flow_targets(labels)
    return np.concatenate([5 * target[..., :2], 12 * target[..., 2:] - 6], axis=-1)


def discs(size, *circles):
    labels = np.zeros((size, size), np.int32)
    rows, columns = np.ogrid[:size, :size]
    for label, (y, x, radius) in enumerate(circles, start=1):
        labels[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = label
    return labels


def plain_integrate(flows, inside, iterations):
    """Step by step in float64, without any shortcut."""
    field = np.where(inside[..., None], flows[..., :2], 0).astype(np.float64) / 5
    last = np.array(inside.shape) - 1
    place = np.argwhere(inside).astype(np.float64)
    for _ in range(iterations):
        low = place.astype(int)
        high, part = np.minimum(low + 1, last), place - low
        move = 0
        for row, down in ((low[:, 0], 1 - part[:, 0]), (high[:, 0], part[:, 0])):
            for column, along in ((low[:, 1], 1 - part[:, 1]), (high[:, 1], part[:, 1])):
                move += field[row, column] * (down * along)[:, None]
        place = np.clip(place + move, 0, last)
    return place


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.int8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(2)), elements=st.integers(-7, 7)),
    st.integers(0, 4),
    st.integers(0, 2**32 - 1),
)
def test_few_steps_as_in_the_plain_implementation(flows, iterations, seed):
    inside = np.random.default_rng(seed).random(flows.shape[:2]) < 0.7
    ends = integrate(flows.astype(np.float32), inside, iterations)
    assert ends.dtype == np.float32
    np.testing.assert_allclose(ends, plain_integrate(flows, inside, iterations).reshape(-1, 2), atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.int8, st.tuples(st.integers(2, 9), st.integers(2, 9), st.just(2)), elements=st.integers(-20, 20)),
    st.integers(0, 150),
)
def test_steps_that_are_left_out_change_nothing(flows, iterations):
    """Two integrations of which the second starts where the first one ends, on whole pixels, are one."""
    flows = (flows * 5).astype(np.float32)  # whole steps: every pixel ends on a pixel
    inside = np.ones(flows.shape[:2], bool)
    ends = integrate(flows, inside, iterations).astype(int).reshape(*inside.shape, 2)
    more = integrate(flows, inside, 23).astype(int).reshape(ends.shape)
    together = integrate(flows, inside, iterations + 23).astype(int).reshape(ends.shape)
    np.testing.assert_array_equal(more[ends[..., 0], ends[..., 1]], together)


def test_no_step_leaves_pixels_where_they_are():
    inside = np.random.default_rng(1).random((20, 30)) < 0.5
    np.testing.assert_array_equal(integrate(np.ones((20, 30, 3), np.float32), inside, 0), np.argwhere(inside))


def test_pixels_stop_at_the_edge_of_the_image():
    flows = np.full((20, 30, 3), 50, np.float32)
    ends = integrate(flows, np.ones((20, 30), bool), 200)
    assert (ends == (19, 29)).all()
    assert (integrate(-flows, np.ones((20, 30), bool), 200) == 0).all()


def test_clusters_are_grown_from_places_with_more_than_ten_pixels():
    inside = np.zeros((40, 60), bool)
    inside[:3, :20] = True
    ends = np.zeros((60, 2), np.float32)
    ends[:11] = 10.4, 10.9
    ends[11:14] = 12, 12  # three pixels, but there is a gap
    ends[14:17] = 11, 11  # three pixels beside the seed
    ends[17:19] = 9, 9  # two pixels beside the seed are not enough
    ends[19:29] = 30, 30  # ten pixels are no seed
    ends[29:60] = 20, 40
    labels = cluster(ends, inside)[:3, :20].ravel()
    assert (labels[:17] == 1).all(), "over (11, 11) also to (12, 12)"
    assert (labels[17:29] == 0).all()
    assert (labels[29:] == 2).all()


def test_where_seeds_meet_the_one_with_more_pixels_wins():
    ends = np.repeat([[10, 10], [10, 11], [10, 12], [10, 13]], [20, 5, 5, 30], axis=0).astype(np.float32)
    inside = np.zeros((30, 30), bool)
    inside[:2, :] = True
    labels = cluster(ends, inside)[:2].ravel()
    assert (labels == np.repeat(labels[-1], 60)).all(), "the larger one reaches the smaller one's seed"


def test_what_covers_most_of_the_image_is_no_object():
    labels = np.zeros((40, 40), np.int32)
    labels[1:39, 1:27] = 1
    assert find_flow_objects(output_of(labels)).max() == 0
    labels[:, 17:] = 0
    assert find_flow_objects(output_of(labels)).max() == 1


def test_labels_through_flows_and_back():
    labels = discs(120, (20, 20, 12), (20, 45, 12), (60, 60, 20), (95, 30, 9), (100, 100, 5), (5, 110, 8))
    found = find_flow_objects(output_of(labels))
    assert found.dtype == np.int32
    pairs = overlaps(labels, found)
    assert len(pairs.truth_labels) == len(pairs.prediction_labels) == 6
    assert sorted(pairs.iou)[-6:] == [1.0] * 6


def test_threshold_and_minimum_size():
    labels = discs(80, (20, 20, 9), (60, 60, 2))
    output = output_of(labels)
    assert find_flow_objects(output, minimum_size=13).max() == 2
    assert (find_flow_objects(output, minimum_size=14) == np.where(labels == 1, 1, 0)).all()
    output[labels == 1, 2] = 1.5
    assert find_flow_objects(output, threshold=2.0, minimum_size=0).sum() == (labels == 2).sum()


def test_small_objects_go_also_where_others_went_for_their_flows():
    """The official package takes others for small here."""
    labels = discs(120, (15, 15, 10), (15, 60, 10), (60, 15, 2), (60, 60, 10), (100, 100, 10))
    output = output_of(labels)
    output[labels == 2, :2] *= -0.0
    found = find_flow_objects(output, minimum_size=15)
    assert {*np.unique(labels[found > 0])} == {1, 4, 5}
    assert found.max() == 3


def test_flow_error_is_the_mean_squared_error_of_vectors():
    labels = discs(60, (20, 20, 10), (45, 45, 8))
    output = output_of(labels)
    np.testing.assert_allclose(flow_errors(labels, output), [0, 0, 0], atol=1e-12)
    output[labels == 2, :2] *= -1
    heated = np.linalg.norm(output[labels == 2, :2], axis=-1) / 5
    np.testing.assert_allclose(flow_errors(labels, output), [0, 0, 4 * np.mean(heated**2)], rtol=1e-5, atol=1e-12)
    assert {*np.unique(remove_inconsistent(labels, output, 3.0))} == {0, 1}
    assert {*np.unique(remove_inconsistent(labels, output, 4.5))} == {0, 1, 2}


def test_what_is_enclosed_is_filled():
    labels = np.zeros((40, 40), np.int32)
    labels[5:25, 5:25], labels[8:12, 8:12], labels[14:20, 14:20], labels[15:17, 15:17] = 3, 0, 0, 4
    labels[30:36, :12], labels[32:34, :2] = 5, 0
    filled = fill_enclosed(labels)
    assert (filled[5:25, 5:25] == 3).all(), "holes and other objects"
    assert (filled[32:34, :2] == 0).all(), "a bay that is open to the edge of the image"
    assert (filled[labels > 0][labels[labels > 0] != 4] == labels[(labels > 0) & (labels != 4)]).all()
    diagonal = np.array([[0, 1, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0]], np.int32)
    assert (fill_enclosed(diagonal)[1] == 1).all(), "what is open over corners only is enclosed"


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.integers(0, 2)))
def test_filled_objects_have_no_holes(labels):
    import scipy.ndimage

    filled = fill_enclosed(labels.astype(np.int32))
    last = labels.max()
    if last:
        expected = scipy.ndimage.binary_fill_holes(filled == last)
        np.testing.assert_array_equal(filled == last, expected)
    assert ((filled > 0) >= (labels > 0)).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (64, 64)])
@pytest.mark.parametrize("value", [-1.0, 1.0, np.nan, np.inf])
def test_constant_outputs(shape, value):
    found = find_flow_objects(np.full((*shape, 3), value, np.float32))
    assert found.shape == shape
    assert found.dtype == np.int32


def test_one_result_for_any_number_of_threads():
    import numba

    random = np.random.default_rng(2)
    output = output_of(discs(200, (40, 40, 30), (120, 60, 30), (150, 150, 40)))
    output[..., :2] += 2 * random.normal(size=(200, 200, 2))
    expected = find_flow_objects(output)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        np.testing.assert_array_equal(find_flow_objects(output), expected)
    finally:
        numba.set_num_threads(threads)
