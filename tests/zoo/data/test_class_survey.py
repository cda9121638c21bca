"""Whether the size of an image gives its class away."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerazoo.data.class_survey import guessed_by_size


def sizes(*groups):
    """Sizes and classes of images: (class, height, width, how many) each."""
    rows = [(category, (y, x)) for category, y, x, count in groups for _ in range(count)]
    return np.array([size for _, size in rows]), np.array([category for category, _ in rows])


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([(0, 64, 64, 5), (1, 48, 48, 5)], 1.0),
        ([(0, 64, 64, 9), (0, 48, 48, 1), (1, 48, 48, 10)], 19 / 20),
        ([(0, 64, 64, 6), (1, 64, 64, 4)], 6 / 10),
        ([(n // 5, 40 + 3 * n + 40 * (n // 5), 50, 1) for n in range(10)], 1.0),
        ([(n % 2, 40 + n, 50, 1) for n in range(10)], 0.0),
    ],
    ids=["disjoint", "one exception", "one size", "no size twice", "alternating"],
)
def test_what_the_size_tells(groups, expected):
    assert guessed_by_size(*sizes(*groups)) == pytest.approx(expected)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.integers(1, 3)), min_size=2, max_size=30))
def test_what_the_size_tells_is_counted_one_by_one(rows):
    shapes, categories = np.array([row[1:] for row in rows]), np.array([row[0] for row in rows])
    hits = 0.0
    for left_out, shape in enumerate(shapes):
        others = np.delete(np.arange(len(rows)), left_out)
        apart = ((shapes[others] - shape) ** 2).sum(axis=1)
        counts = np.bincount(categories[others[apart == apart.min()]], minlength=3)
        best = np.flatnonzero(counts == counts.max())
        hits += (categories[left_out] in best) / len(best)
    assert guessed_by_size(shapes, categories) == pytest.approx(hits / len(rows))
