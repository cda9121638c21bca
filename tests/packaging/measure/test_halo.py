"""The declared halo covers the receptive field, and an image extended by it is still one that the network takes."""

from hypothesis import given
from hypothesis import strategies as st

from bmzpack.measure.axes import _output_halo
from bmzpack.measure.geometry import Geometry


@given(
    st.sampled_from([(1, 1), (2, 1), (16, 1), (32, 1), (3, 1), (16, 0.5), (16, 0.25), (8, 0.125), (4, 2)]),
    st.integers(0, 400),
    st.sampled_from([0, 4, 92]),
)
def test_halo_covers_the_field_and_keeps_sizes_valid(step_and_ratio, reach, margin):
    step, ratio = step_and_ratio
    geometry = Geometry(step=step, halo=reach + margin, margin=margin, minimum=step)
    halo = _output_halo(geometry, ratio)
    assert halo / ratio >= reach
    assert halo / ratio < reach + step
    assert 2 * halo / ratio % step == 0
