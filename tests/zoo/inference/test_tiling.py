"""Tiles cover every image exactly, and what they give together is the untiled result."""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmzpack.errors import UserError
from kerazoo.inference.tiling import FADE, Axis, Tiling
from kerazoo.models.recipe import TileGeometry


@st.composite
def geometries(draw, fading=False):
    step = draw(st.sampled_from([1, 2, 4, 8, 16, 32]))
    margin = 0 if fading else draw(st.sampled_from([0, 0, 2, 7, 92]))
    halo = None if fading else draw(st.integers(0, 100))
    # A network of valid convolutions accepts sizes such as 188 + 16 k, which are no multiples of the step.
    minimum = step * draw(st.integers(1, 3)) + 2 * margin
    grid = draw(st.sampled_from([grid for grid in (1, 2, 4) if step % grid == 0 and margin == 0] or [1]))
    return TileGeometry(step=step, halo=halo, margin=margin, minimum=minimum, grid=grid)


@given(geometries(), st.integers(1, 3000), st.data())
def test_cores_cover_every_pixel_once(geometry, length, data):
    axis = Axis(length, geometry)
    size = data.draw(st.sampled_from(sorted(axis.choices.values())))
    spans = axis.spans(size)
    assert [span.start for span in spans] == [0, *(span.stop for span in spans[:-1])]
    assert spans[-1].stop == length
    assert all(span.start < span.stop for span in spans)
    assert all(span.start % geometry.grid == 0 for span in spans)


@given(geometries(), st.integers(1, 3000), st.data())
def test_tiles_lie_on_the_grid_and_keep_the_halo(geometry, length, data):
    axis = Axis(length, geometry)
    count, size = data.draw(st.sampled_from(sorted(axis.choices.items())))
    spans = axis.spans(size)
    rim = max(0, geometry.halo - geometry.margin)
    assert len(spans) == count
    assert axis.extended - 2 * geometry.margin >= length
    assert spans[0].origin == 0
    assert spans[-1].origin + size == axis.extended
    for span in spans:
        assert span.size == size
        assert span.origin % geometry.step == 0
        assert (size - geometry.minimum) % geometry.step == 0
        assert size >= geometry.minimum
        last = span.origin + size - 2 * geometry.margin
        assert span.origin == 0 or span.start - span.origin >= rim
        assert span.origin + size == axis.extended or last - span.stop >= rim


@given(geometries(fading=True), st.integers(1, 3000), st.data())
def test_fading_weights_add_up_to_one(geometry, length, data):
    axis = Axis(length, geometry)
    total = np.zeros(length)
    for span in axis.spans(data.draw(st.sampled_from(sorted(axis.choices.values())))):
        assert span.origin <= span.start
        assert span.stop <= span.origin + span.size
        total[span.start : span.stop] += span.weights
        assert span.start % geometry.grid == 0
        assert span.fade_in in (0, 2 * FADE) or span.stop == length
    np.testing.assert_allclose(total, 1, atol=1e-6)


@given(st.integers(1, 40), st.integers(0, 60), st.integers(1, 60))
def test_reflection_is_that_of_numpy(length, before, after):
    geometry = TileGeometry(step=1, halo=0, margin=before, minimum=2 * before + length + after)
    axis = Axis(length, geometry)
    (span,) = axis.spans(axis.extended)
    line = np.arange(length)
    np.testing.assert_array_equal(
        line[axis.pixels(span)], np.pad(line, (before, span.size - before - length), mode="reflect")
    )


def convolve(image, kernel, padding):
    """Correlation of (y, x) with a kernel, zero-padded (`same`) or not (`valid`)."""
    image = np.pad(image, len(kernel) // 2) if padding == "same" else image
    windows = np.lib.stride_tricks.sliding_window_view(image, kernel.shape)
    return np.einsum("yxij,ij->yx", windows, kernel)


def network(tile, kernels, padding, levels, grid=1):
    """A small encoder and decoder: convolution, 2x2 maximum, ..., repetition; every grid-th pixel, float64."""
    values = tile[..., 0]
    for level in range(levels):
        values = np.tanh(convolve(values, kernels[level], padding))
        height, width = values.shape
        values = values.reshape(height // 2, 2, width // 2, 2).max(axis=(1, 3))
    for level in range(levels):
        values = np.tanh(convolve(values.repeat(2, 0).repeat(2, 1), kernels[levels + level], padding))
    return values[::grid, ::grid, None]


def geometry_of(padding, levels):
    """Worked out by hand from the sizes of the 3x3 kernels above."""
    step = 2**levels
    reach = sum(2**level for level in range(levels)) * 2
    if padding == "same":
        # Pooling and repetition shift the field by up to one low-resolution pixel.
        return TileGeometry(step=step, halo=reach + step, margin=0, minimum=step)
    margin = {1: 2, 2: 6}[levels]
    minimum = {1: 6, 2: 14}[levels]
    return TileGeometry(step=step, halo=margin + step, margin=margin, minimum=minimum)


def predict(tiling, run, image):
    rows, bands = zip(*tiling.apply(run, image), strict=True)
    assert [part.start for part in rows] == [0, *(part.stop for part in rows[:-1])]
    assert [part.stop - part.start for part in rows] == [len(band) for band in bands]
    return np.concatenate(bands)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.sampled_from(["same", "valid"]),
    st.sampled_from([1, 2]),
    st.integers(0, 2**32 - 1),
    st.data(),
)
def test_tiled_equals_untiled(height, width, padding, levels, seed, data):
    random = np.random.default_rng(seed)
    image = random.normal(size=(height, width, 1))
    kernels = random.normal(size=(2 * levels, 3, 3))
    grid = data.draw(st.sampled_from([1, 2])) if padding == "same" else 1
    geometry = geometry_of(padding, levels).model_copy(update={"grid": grid})
    extended = [Axis(length, geometry).extended for length in (height, width)]
    pad = [
        (geometry.margin, size - length - geometry.margin)
        for size, length in zip(extended, (height, width), strict=True)
    ]
    run = functools.partial(network, kernels=kernels, padding=padding, levels=levels, grid=grid)
    expected = run(np.pad(image, [*pad, (0, 0)], mode="reflect"))[: -(-height // grid), : -(-width // grid)]
    area = data.draw(st.integers(1, 90 * 90))
    tiling = Tiling((height, width), geometry, area)
    np.testing.assert_allclose(predict(tiling, run, image), expected, atol=1e-12)


def test_network_that_sees_the_whole_image_fades():
    """Every tile becomes its mean, so that neighbours disagree; the result has no jump where they meet."""
    geometry = TileGeometry(step=16, halo=None, minimum=16)
    ramp = np.linspace(0, 0.5, 1000, dtype=np.float32)
    image = (ramp[:, None] + ramp)[..., None]
    tiling = Tiling(image.shape[:2], geometry, area=600 * 600)
    assert len(tiling.columns) > 1
    assert len(tiling.rows) > 1
    output = predict(tiling, lambda tile: tile * 0 + tile.mean(), image)[..., 0]
    steps = np.maximum(np.abs(np.diff(output, axis=0)).max(), np.abs(np.diff(output, axis=1)).max())
    assert steps.max() < 1.1 / (2 * FADE)
    assert output.min() >= image.min()
    assert output.max() <= image.max()


def test_tiles_respect_the_area_and_waste_little():
    geometry = TileGeometry(step=16, halo=96, minimum=16)
    for side, area in itertools.product([2048, 5000, 8192], [2**20, 2**21, 2**22]):
        tiling = Tiling((side, side), geometry, area)
        assert tiling.tile_shape[0] * tiling.tile_shape[1] <= area
        computed = len(tiling.rows) * len(tiling.columns) * tiling.tile_shape[0] * tiling.tile_shape[1]
        assert computed < 1.6 * side**2


def test_too_small_a_tile_is_refused():
    geometry = TileGeometry(step=16, halo=96, minimum=16)
    with pytest.raises(UserError, match=r"use --tile 208 or more"):
        Tiling((1000, 1000), geometry, side=128)
    assert Tiling((1000, 1000), geometry, side=208).tile_shape == (208, 208)
    assert Tiling((100, 100), geometry, side=128).tile_shape == (112, 112)
