"""The lecture's numbers, and Keras' own convolution."""

import keras
import numpy as np

from kerazoo.course.convolution import FILTER, IMAGE, PADDING, convolve


def test_example_of_the_lecture():
    assert convolve(IMAGE, FILTER, PADDING).tolist() == [
        [5, 10, 15, 10, 5],
        [10, 25, 35, 25, 10],
        [15, 35, 50, 35, 15],
        [10, 25, 35, 25, 10],
        [5, 10, 15, 10, 5],
    ]


def test_it_is_the_convolution_of_keras():
    random = np.random.default_rng(1)
    image, kernel = random.normal(size=(9, 7)), random.normal(size=(3, 5))
    layer = keras.layers.Conv2D(1, (3, 5), use_bias=False)
    padded = np.pad(image, 1).astype("float32")[None, ..., None]
    layer.build(padded.shape)
    layer.set_weights([kernel[..., None, None]])
    expected = keras.ops.convert_to_numpy(layer(padded))[0, ..., 0]
    np.testing.assert_allclose(convolve(image, kernel, padding=1), expected, atol=1e-5)
