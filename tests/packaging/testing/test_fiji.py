"""Tiles as JDLL cuts them, and what becomes of them."""

import itertools

import numpy as np
import pytest

from bmzpack.consumers.jdll.descriptor import Axis, Tensor
from bmzpack.consumers.jdll.tiles import Trial
from bmzpack.testing.fiji import _grid, _joined, _tile


def tensor(halo):
    return Tensor("raw", "inputs.0", [Axis("y", "y", step=8, halo=halo), Axis("x", "x", step=8, halo=halo)])


def test_a_tile_that_is_larger_than_the_image_begins_before_it():
    ((place,), _) = _grid(tensor(0), (20, 16), [np.array([32]), np.array([16])])
    assert place == (-12, 0, 32, -12)
    image = np.arange(20.0)[:, None] * np.ones(16)
    tile = _tile(image, (place, (0, 0, 16, 0)), [np.array([32]), np.array([16])])
    assert tile[:, 0].tolist() == [*range(11, -1, -1), *range(20)]


@pytest.mark.parametrize("halo", [0, 3, 8])
@pytest.mark.parametrize("shape", [(5, 7), (20, 16), (33, 64), (100, 41)])
@pytest.mark.parametrize("side", [24, 40])
def test_parts_give_the_image(halo, shape, side):
    source, sizes = tensor(halo), [np.array([side])] * 2
    trial = Trial(1)
    trial.tiles["raw"], trial.images["raw"] = sizes, [np.array([length]) for length in shape]
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    corners = list(itertools.product(*_grid(source, shape, sizes)))
    parts = [_tile(image, corner, sizes) for corner in corners]
    assert all(part.shape == (side, side) for part in parts)
    assert np.array_equal(_joined(source, trial, parts), image)
