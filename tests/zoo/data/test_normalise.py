"""Every normalisation gives what bioimageio.core's own processing gives for the operation of the bundle."""

import numpy as np
import pytest

from bmzpack.errors import UserError
from kerazoo.config import NormalisationConfig
from kerazoo.data.normalise import Moments, Normalisation, fit_normalisation
from kerazoo.files.pairs import Sample

RANDOM = np.random.default_rng(3)


def make_image(dtype, channels=3, shape=(61, 47)):
    values = RANDOM.gamma(2.0, 20.0, (*shape, channels)) + 100 * np.arange(channels)
    return np.clip(values, 0, 255).astype(dtype) if dtype == "uint8" else (values * 31).astype(dtype)


def sample(image):
    return Sample("a", image, np.ones(image.shape[:2], np.int32))


def by_core(image, operation):
    """Apply a preprocessing operation of the specification as bioimageio.core does to an image (y, x, channel)."""
    from bioimageio.core import Sample, Tensor
    from bioimageio.core.proc_ops import get_proc
    from bioimageio.core.stat_calculators import compute_measures
    from bioimageio.spec.model import v0_5

    member = v0_5.TensorId("raw")
    tensor = Tensor(image[None].astype("float32"), dims=("batch", "y", "x", "channel"))
    processing = get_proc(operation, v0_5.InputTensorDescr.model_construct(id=member))
    made = Sample(members={member: tensor}, stat={}, id="a")
    made.stat.update(compute_measures(processing.required_measures, [made]))
    processing(made)
    return np.asarray(made.members[member].data)[0]


def operation_of(normalisation):
    from bioimageio.spec.model import v0_5

    axes = ("y", "x") if normalisation.per_channel else ("channel", "y", "x")
    if normalisation.method == "percentile":
        return v0_5.ScaleRangeDescr(
            kwargs=v0_5.ScaleRangeKwargs(
                axes=axes, min_percentile=normalisation.low, max_percentile=normalisation.high, eps=1e-6
            )
        )
    if normalisation.method in ("scaling", "centering"):
        gain = 1 / normalisation.maximum
        if not normalisation.mean:
            return v0_5.ScaleLinearDescr(kwargs=v0_5.ScaleLinearKwargs(gain=gain, offset=0.0))
        offset = [-mean for mean in normalisation.mean]
        return v0_5.ScaleLinearDescr(
            kwargs=v0_5.ScaleLinearAlongAxisKwargs(axis="channel", gain=[gain] * len(offset), offset=offset)
        )
    if normalisation.scope == "image":
        return v0_5.ZeroMeanUnitVarianceDescr(kwargs=v0_5.ZeroMeanUnitVarianceKwargs(axes=axes, eps=1e-6))
    return v0_5.FixedZeroMeanUnitVarianceDescr(
        kwargs=v0_5.FixedZeroMeanUnitVarianceAlongAxisKwargs(
            axis="channel", mean=normalisation.mean, std=normalisation.deviation
        )
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(
    "config",
    [
        {"method": "scaling", "maximum": 255.0},
        {"method": "centering", "maximum": 255.0},
        {"method": "standardisation"},
        {"method": "standardisation", "scope": "dataset"},
        {"method": "percentile"},
        {"method": "percentile", "low": 0.0, "high": 100.0},
        {"method": "percentile", "per_channel": True},
    ],
    ids=lambda config: "-".join(map(str, config.values())),
)
def test_as_in_the_bundle(config, dtype):
    images = [make_image(dtype), make_image(dtype, shape=(64, 30))]
    normalisation = fit_normalisation(NormalisationConfig(**config), map(sample, images))
    for image in images:
        expected = by_core(image, operation_of(normalisation))
        np.testing.assert_allclose(normalisation.apply(image), expected, rtol=2e-5, atol=2e-5)


def test_dataset_statistics_are_those_of_all_pixels():
    images = [make_image("uint16", 2), make_image("uint16", 2, (30, 200)) // 3]
    fitted = fit_normalisation(NormalisationConfig(method="standardisation", scope="dataset"), map(sample, images))
    pixels = np.concatenate([image.reshape(-1, 2) for image in images]).astype(float)
    np.testing.assert_allclose(fitted.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(fitted.deviation, pixels.std(axis=0), rtol=1e-12)


def test_moments_do_not_cancel():
    image = 1e6 + RANDOM.normal(0, 1e-2, (1500, 900, 1))  # several blocks of rows
    moments = Moments()
    moments.add(image)
    np.testing.assert_allclose(moments.deviation, image.std(axis=(0, 1)), rtol=1e-6)
    np.testing.assert_allclose(moments.deviation_of_all, image.std(), rtol=1e-6)


def test_maximum_is_that_of_the_type():
    for dtype, maximum in {"uint8": 255, "uint16": 65535}.items():
        assert fit_normalisation(NormalisationConfig(method="scaling"), [sample(make_image(dtype))]).maximum == maximum
    with pytest.raises(UserError, match=r"float32.*normalisation\.maximum"):
        fit_normalisation(NormalisationConfig(method="scaling"), [sample(make_image("float32"))])
    with pytest.raises(UserError, match="uint16, uint8"):
        fit_normalisation(NormalisationConfig(method="scaling"), [sample(make_image(d)) for d in ("uint8", "uint16")])


def test_low_above_high():
    with pytest.raises(UserError, match=r"normalisation\.low"):
        fit_normalisation(NormalisationConfig(method="percentile", low=99.9), [])


@pytest.mark.parametrize("method", ["none", "scaling", "standardisation", "percentile"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float64"])
def test_types(method, dtype):
    normalised = Normalisation(method=method).apply(make_image(dtype))
    assert normalised.dtype == np.float32
    assert np.isfinite(normalised).all()


def test_stored_and_read_back():
    fitted = fit_normalisation(NormalisationConfig(method="centering"), [sample(make_image("uint8"))])
    image = make_image("uint8")
    again = Normalisation.model_validate_json(fitted.model_dump_json())
    np.testing.assert_array_equal(again.apply(image), fitted.apply(image))
