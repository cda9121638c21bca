"""U-Net: the published network, and its variants."""

import keras
import numpy as np
import pytest

from bmzpack.errors import UserError
from bmzpack.measure.geometry import Geometry, measure
from kerazoo.models.pixels.network import unet, unet_2015
from kerazoo.training.precision import policy


@pytest.fixture(scope="module")
def published():
    return unet_2015()


def test_the_published_network(published):
    assert published.count_params() == 31_030_658
    convolutions = [x for x in published.layers if isinstance(x, keras.layers.Conv2D | keras.layers.Conv2DTranspose)]
    assert len(convolutions) == 23
    assert unet_2015(input_shape=(None, None, 3)).count_params() == 31_031_810


@pytest.mark.parametrize(("size", "expected"), [(572, 388), (188, 4), (380, 196), (764, 580)])
def test_sizes_of_the_published_network(published, size, expected):
    assert published.compute_output_shape((1, size, size, 1)) == (1, expected, expected, 2)


def test_geometry_of_the_published_network(published):
    assert measure(published) == Geometry(step=16, halo=92, margin=92, minimum=188)


def test_the_same_padded_network_has_the_published_parameters():
    assert unet(classes=1, batch_norm=False).count_params() == 31_030_593
    assert unet(classes=1, batch_norm=False).get_layer("probability").activation is keras.activations.sigmoid


def test_valid_convolutions_crop_the_skips_in_the_middle():
    model = unet(padding="valid", filters=2, depth=2, classes=3, batch_norm=False)
    features = keras.Model(
        model.input, [model.get_layer(name).output for name in ("encoder1_relu2", "decoder1_concatenate")]
    )
    skip, joined = features.predict_on_batch(np.random.default_rng(1).normal(size=(1, 60, 60, 1)))
    crop = (skip.shape[1] - joined.shape[1]) // 2
    np.testing.assert_array_equal(joined[..., :2], skip[:, crop:-crop, crop:-crop])


def test_one_class_is_a_sigmoid_and_several_sum_to_one():
    x = np.random.default_rng(1).normal(size=(1, 32, 32, 2)).astype("float32")
    one = unet((None, None, 2), classes=1, filters=2, depth=2).predict_on_batch(x)
    four = unet((None, None, 2), classes=4, filters=2, depth=2).predict_on_batch(x)
    assert one.shape == (1, 32, 32, 1)
    assert one.min() > 0
    assert one.max() < 1
    np.testing.assert_allclose(four.sum(-1), 1, atol=1e-5)


def test_output_is_float32_in_mixed_precision():
    with policy("mixed_bfloat16"):
        model = unet(filters=2, depth=1)
    assert model.get_layer("encoder1_convolution1").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


def test_dropout_is_at_the_end_of_the_contracting_path():
    names = [layer.name for layer in unet(filters=2, depth=3, dropout=0.5).layers if "dropout" in layer.name]
    assert names == ["encoder3_dropout", "bottleneck_dropout"]
    assert not [layer for layer in unet(filters=2).layers if "dropout" in layer.name]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"padding": "full"}, "same or valid"),
        ({"depth": 7}, "depth"),
        ({"depth": 6, "backbone": "resnet50_v2"}, "depth"),
        ({"filters": -1}, "filters"),
        ({"filters": "many"}, "filters"),
        ({"classes": 0}, "classes"),
        ({"dropout": 1.0}, "dropout"),
        ({"alpha": 0.5}, "alpha"),
        ({"backbone": "mobilenet"}, "mobilenet_v2"),
        ({"backbone": "resnet50_v2", "alpha": 0.5}, "alpha"),
        ({"backbone": "resnet50_v2", "padding": "valid"}, "backbone"),
        ({"weights": "imagenet"}, "backbone"),
        ({"weights": "nothing.npz"}, "nothing.npz"),
    ],
)
def test_wrong_arguments(arguments, expected):
    with pytest.raises(UserError, match=expected):
        unet(**arguments)
