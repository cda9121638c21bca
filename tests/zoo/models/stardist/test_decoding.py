"""Polygons: the area that two share, who survives, what is drawn, and which thresholds are chosen."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings

from bmzpack.errors import UserError
from kerazoo.models.stardist.decoding import Candidates, find_candidates, find_stars, render, suppress
from kerazoo.models.stardist.polygons import intersection_area, make_scratch
from kerazoo.models.stardist.targets import star_targets
from kerazoo.models.stardist.thresholds import optimise_thresholds

SCRATCH = make_scratch(64)


def area(first, second):
    (ay, ax), (by, bx) = (np.array(polygon, np.int64).T for polygon in (first, second))
    return intersection_area(ax, ay, bx, by, SCRATCH)


def square(y, x, size):
    return [(y, x), (y, x + size), (y + size, x + size), (y + size, x)]


def discs(*circles, rays=32):
    """Candidates of (y, x, radius, probability)."""
    values = np.array(circles, np.float64).reshape(-1, 4)
    distances = np.repeat(values[:, 2:3], rays, axis=1).astype(np.float32)
    return Candidates(values[:, 3].astype(np.float32), distances, values[:, :2].astype(np.int32))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (square(0, 0, 10), square(0, 0, 10), 100),
        (square(0, 0, 10), square(5, 5, 10), 25),
        (square(0, 0, 10), square(10, 0, 10), 0),
        (square(0, 0, 10), square(20, 0, 10), 0),
        (square(0, 0, 10), square(2, 3, 4), 16),
        (square(-5, -5, 10), square(-2, 0, 3), 9),
        (square(0, 0, 10), square(0, 0, 10)[::-1], 100),
        ([(0, 0), (0, 10), (10, 0)], [(10, 10), (0, 10), (10, 0)], 0),
        ([(0, 5), (5, 10), (10, 5), (5, 0)], square(0, 0, 10), 50),
        ([(0, 0), (0, 0), (0, 0)], square(0, 0, 10), 0),
        ([(0, 0), (0, 5), (0, 10)], square(0, 0, 10), 0),
    ],
)
def test_area_that_polygons_share(first, second, expected):
    assert area(first, second) == expected
    assert area(second, first) == expected


POLYGONS = st.tuples(
    st.tuples(st.integers(10, 40), st.integers(10, 40)),
    st.lists(st.integers(1, 15), min_size=3, max_size=32),
).map(
    lambda drawn: [
        (
            int(drawn[0][0] + radius * np.sin(2 * np.pi * ray / len(drawn[1]))),
            int(drawn[0][1] + radius * np.cos(2 * np.pi * ray / len(drawn[1]))),
        )
        for ray, radius in enumerate(drawn[1])
    ]
)


def shoelace(polygon):
    y, x = np.array(polygon).T
    return abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2


@settings(max_examples=200, deadline=None)
@given(POLYGONS, POLYGONS, st.integers(-30, 30))
def test_shared_area_is_bounded_and_moves_along(first, second, shift):
    shared = area(first, second)
    # Crossings are rounded to whole numbers, which adds at most their edges' lengths times the rounding.
    margin = 0.75 * sum(np.hypot(*np.diff([*p, p[0]], axis=0).T).sum() for p in (first, second)) + 1
    assert 0 <= shared <= min(shoelace(first), shoelace(second)) + margin
    assert shared * 2 == int(shared * 2)
    moved = [[(y + 64, x + 64 + 2 * shift) for y, x in polygon] for polygon in (first, second)]
    assert area(*moved) == pytest.approx(shared, abs=margin)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(4, 15), min_size=5, max_size=32), st.integers(-30, 30))
def test_a_polygon_shares_its_whole_area_with_itself(radii, shift):
    angle = 2 * np.pi * np.arange(len(radii)) / len(radii)
    vertices = np.trunc(np.array(radii)[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)).astype(np.int64)
    # Seen from within, every edge runs the same way round: nothing is folded.
    after = np.roll(vertices, -1, axis=0)
    assume((vertices[:, 1] * after[:, 0] - vertices[:, 0] * after[:, 1] > 0).all())
    polygon = (vertices + 40 + shift).tolist()
    assert area(polygon, polygon) == area(polygon, polygon[::-1]) == shoelace(polygon)


def test_the_more_probable_of_two_survives():
    candidates = discs((20, 20, 8, 0.6), (20, 22, 8, 0.9), (60, 60, 8, 0.5))
    assert suppress(candidates, 0.4).tolist() == [1, 2]
    assert suppress(candidates, 0.99).tolist() == [1, 0, 2]


def test_who_is_suppressed_suppresses_nobody():
    """In a chain the second falls to the first, so that the third stands."""
    candidates = discs((20, 20, 10, 0.9), (20, 28, 10, 0.8), (20, 36, 10, 0.7))
    assert suppress(candidates, 0.4).tolist() == [0, 2]


def test_a_small_one_within_a_large_one_is_suppressed():
    assert suppress(discs((30, 30, 20, 0.9), (34, 30, 3, 0.8)), 0.5).tolist() == [0]
    assert suppress(discs((30, 30, 20, 0.8), (34, 30, 3, 0.9)), 0.5).tolist() == [1]


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one(count):
    candidates = discs((20, 20, 5, 0.9)).take(np.arange(count))
    assert suppress(candidates, 0.4).tolist() == list(range(count))
    assert render(candidates, (40, 40)).max() == count


def naive(candidates, overlap):
    """One candidate after the other, all pairs."""
    rays = candidates.distances.shape[1]
    angle = (np.arange(rays, dtype=np.float32) * np.float32(2 * np.pi / rays)).astype(np.float64)
    directions = np.stack([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)
    polygons = [
        (point.astype(np.float32) + distance[:, None] * directions).astype(np.int64)
        for point, distance in zip(candidates.points, candidates.distances, strict=True)
    ]
    survivors = []
    for index in np.argsort(-candidates.probability, kind="stable"):
        shares = [
            area(polygons[other], polygons[index]) / (min(shoelace(polygons[other]), shoelace(polygons[index])) + 1e-10)
            for other in survivors
        ]
        if not any(np.float32(share) > np.float32(overlap) for share in shares):
            survivors.append(index)
    return survivors


@pytest.mark.parametrize("seed", range(6))
def test_rounds_give_what_one_after_the_other_gives(seed):
    rng = np.random.default_rng(seed)
    count, size = 150, (40, 40, 40, 200, 30, 4000)[seed]
    radius = rng.uniform(2, 12, (count, 1))
    if seed == 5:
        radius[0] = 1500
    distances = (radius * rng.uniform(0.7, 1.3, (count, 16))).astype(np.float32)
    candidates = Candidates(rng.random(count).astype(np.float32), distances, rng.integers(-20, size, (count, 2)))
    for overlap in (0.1, 0.4, 0.8):
        assert suppress(candidates, overlap).tolist() == naive(candidates, overlap)


def test_candidates_of_equal_probability_have_an_order():
    candidates = discs((20, 20, 8, 0.5), (20, 22, 8, 0.5), (20, 24, 8, 0.5))
    assert suppress(candidates, 0.4).tolist() == [0]


def test_candidates_come_from_the_grid_and_not_from_the_border():
    output = np.zeros((20, 30, 9), np.float32)
    for y, x in ((1, 10), (2, 2), (10, 28), (10, 27), (17, 15), (18, 15)):
        output[y, x, 0] = 0.7
    output[5, 5] = 0.4
    output[10, 27, 1:] = -3
    candidates = find_candidates(output, (2, 4), 0.5, origin=(100, 1000))
    assert candidates.points.tolist() == [[104, 1008], [120, 1108], [134, 1060]]
    assert (candidates.distances == np.float32(1e-3)).all()
    inner = find_candidates(output, (2, 4), 0.5, border=((0, 0), (0, 0)))
    assert len(inner) == 6


def test_distances_that_are_no_numbers_do_no_harm():
    output = np.zeros((20, 20, 9), np.float32)
    output[5:15:3, 5:15:3, 0] = 0.9
    output[..., 1:] = np.array([np.inf, -np.inf, np.nan, 1e30, 3, 3, 3, 3], np.float32)
    assert find_stars(output, (2, 2), 0.5, 0.4).shape == (40, 40)
    output[..., 1:] = np.nan
    assert find_stars(output, (2, 2), 0.5, 0.4).max() == 16


def test_the_more_probable_polygon_is_on_top_and_labels_follow_the_order():
    labels = render(discs((20, 20, 8, 0.5), (20, 30, 8, 0.9), (20, 40, 8, 0.7)), (40, 60))
    assert labels.dtype == np.int32
    assert (labels[20, 13], labels[20, 25], labels[20, 36], labels[20, 45]) == (1, 2, 2, 3)
    assert (labels[:10] == 0).all()


def test_pixels_on_the_edge_belong_to_the_polygon():
    candidates = Candidates(np.float32([1]), np.full((1, 4), 5, np.float32), np.int32([[10, 10]]))
    y, x = np.mgrid[:21, :21]
    inside = abs(y - 10) + abs(x - 10) <= 5
    labels = render(candidates, (21, 21))
    # cos and sin of right angles are not exactly 0, so that pixels on the slanted edges may fall on either side.
    certain = abs(abs(y - 10) + abs(x - 10) - 5) > 0
    assert ((labels == 1) == inside)[certain].all()
    assert labels[10, 15] == labels[10, 14] == 1


def test_objects_come_back_from_their_targets():
    y, x = np.mgrid[:128, :160]
    truth = np.zeros((128, 160), np.int32)
    for label, (cy, cx, radius) in enumerate([(30, 30, 15), (30, 61, 15), (90, 50, 22), (80, 120, 18)], start=1):
        truth[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = label
    found = find_stars(star_targets(truth, 32, 2), (2, 2), 0.5, 0.4)
    assert found.max() == 4
    for label in range(1, 5):
        other = np.bincount(found[truth == label]).argmax()
        both = ((truth == label) & (found == other)).sum()
        assert both / ((truth == label) | (found == other)).sum() > 0.9


def test_thresholds_that_part_objects_from_false_ones():
    """True objects have probabilities from 0.6 on, false ones up to 0.45: anything between is as good."""
    y, x = np.mgrid[:96, :96]
    truth = np.zeros((96, 96), np.int32)
    false = np.zeros((96, 96), np.int32)
    for label, (cy, cx) in enumerate([(20, 20), (20, 70), (70, 20)], start=1):
        truth[(y - cy) ** 2 + (x - cx) ** 2 <= 100] = label
    false[(y - 70) ** 2 + (x - 70) ** 2 <= 100] = 1
    output = star_targets(truth, 16, 1)
    output[..., 0] *= 0.8
    output[false > 0] = star_targets(false, 16, 1)[false > 0] * np.float32([0.45] + [1] * 16)
    threshold, overlap = optimise_thresholds([output, output], [truth, truth], (1, 1))
    assert threshold == pytest.approx(0.62, abs=0.011), "the middle of 0.45 and 0.79"
    assert overlap == 0.3
    assert find_stars(output, (1, 1), threshold, overlap).max() == 3
    # what is predicted where nothing is annotated is not false
    hidden = (y > 55) & (x > 55)
    threshold, _ = optimise_thresholds([output], [truth], (1, 1), [hidden])
    assert threshold == pytest.approx(0.45, abs=0.011), "the middle of 0.1 and 0.79"
    with pytest.raises(UserError, match="no validation image"):
        optimise_thresholds([output], [np.zeros_like(truth)], (1, 1))
