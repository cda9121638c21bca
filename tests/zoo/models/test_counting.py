"""Networks are counted as their papers count them."""

import keras
import numpy as np
import pytest
from keras import layers

from bmzpack.errors import UserError
from kerazoo.models.counting import count
from kerazoo.models.neurons.mlp import mlp
from kerazoo.models.patches.lenet1989 import lenet1989
from kerazoo.models.pixels.network import unet, unet_2015
from kerazoo.models.registry import get_model


def test_network_of_1989():
    counted = count(lenet1989())
    assert counted.units == 4_635
    assert counted.connections == 98_442
    assert counted.parameters == 2_578
    stages = {}
    for layer in counted.layers:
        if layer.units:
            units, connections = stages.get(layer.name[:2], (0, 0))
            stages[layer.name[:2]] = (units + layer.units, connections + layer.connections)
    assert stages == {
        "ra": (784, 0),
        "h1": (2304, 59_904),
        "h2": (576, 2_880),
        "h3": (768, 32_768),
        "h4": (192, 960),
        "ou": (10, 1_930),
    }


def test_multilayer_perceptron():
    counted = count(mlp())
    assert counted.units == 2 + 8 + 8 + 2 + 1
    assert counted.connections == counted.parameters == get_model("mlp").parameters
    assert counted.multiply_adds == 2 * 8 + 8 * 8 + 8 * 2


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv2D(4, 3), 8 * 8 * 9 * 6 * 4),
        (layers.Conv2D(4, 3, padding="same"), 10 * 10 * 9 * 6 * 4),
        (layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False), 5 * 5 * 9 * 6 * 4),
        (layers.Conv2D(4, 3, groups=2, padding="same"), 10 * 10 * 9 * 3 * 4),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), 8 * 8 * 9 * 6 * 2),
        (layers.Conv2DTranspose(4, 2, strides=2), 10 * 10 * 4 * 6 * 4),
        (layers.Dense(4), 10 * 10 * 6 * 4),
    ],
)
def test_one_layer(layer, expected):
    inputs = keras.Input((10, 10, 6))
    model = keras.Model(inputs, layer(inputs))
    counted = count(model)
    outputs = int(np.prod(model.output_shape[1:]))
    assert counted.multiply_adds == expected
    assert counted.connections == expected + outputs * layer.use_bias
    assert counted.units == 600 + outputs + layer.use_bias
    assert counted.parameters == model.count_params()


def test_ways_lead_through_pooling():
    inputs = keras.Input((8, 8, 2))
    x = layers.Activation("relu")(layers.MaxPooling2D(2)(layers.AveragePooling2D(2)(inputs)))
    local = count(keras.Model(inputs, layers.Conv2D(3, 1)(x)))
    assert local.connections == 2 * 2 * 3 * (2 * 16 + 1)
    whole = count(keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(inputs))))
    assert whole.connections == 3 * (2 * 64 + 1)
    assert (local.multiply_adds, whole.multiply_adds) == (2 * 2 * 3 * 2, 3 * 2)


def test_unet_at_a_size():
    model = unet(filters=4, depth=2)
    small, large = count(model, (64, 64, 1)), count(model, (128, 64, 1))
    assert small.parameters == large.parameters == model.count_params()
    assert large.multiply_adds == 2 * small.multiply_adds
    assert small.layers[-1].shape == (64, 64, 2)
    with pytest.raises(UserError, match="input_shape"):
        count(model)
    published = count(unet_2015(), (572, 572, 1))
    assert published.layers[-1].shape == (388, 388, 2)
    assert sum(layer.multiply_adds > 0 for layer in published.layers) == 23


def test_unknown_weights_are_refused():
    inputs = keras.Input((4,))
    with pytest.raises(UserError, match=r"PReLU"):
        count(keras.Model(inputs, layers.PReLU()(inputs)))
