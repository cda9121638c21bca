"""A graph that ends in labels, for images of sizes that its network does not take."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from bmzpack.weights.frozen import freeze_with_labels

SIZES = {"minimum": 16, "step": 8}


@pytest.fixture(scope="module")
def network():
    """Takes multiples of 8, and sees what is around a pixel."""
    x = inputs = keras.Input((None, None, 1))
    for _ in range(3):
        x = layers.Conv2D(2, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(inputs, layers.Conv2DTranspose(1, 8, strides=8)(x))


@pytest.mark.parametrize("shape", [(16, 24), (17, 31), (40, 33), (5, 23), (1, 16)])
def test_images_are_mirrored_at_their_ends_for_the_network(network, shape):
    image = np.random.default_rng(1).normal(size=(1, *shape, 1)).astype(np.float32)
    frozen = freeze_with_labels(
        network, "raw", {"function": "tensorflow:identity", "arguments": {}, "sizes": SIZES, "as_mask": False}
    )
    with tf.compat.v1.Session(graph=frozen.graph) as session:
        (found,) = session.run(frozen.outputs, {frozen.inputs[0]: image})
    height, width = (max(16, -(-side // 8) * 8) for side in shape)
    padding = (0, height - shape[0]), (0, width - shape[1])
    extended = np.pad(image, ((0, 0), *padding, (0, 0)), mode="reflect" if min(shape) > 1 else "edge")
    expected = network(extended).numpy()[:, : shape[0], : shape[1]]
    assert found.shape == (1, *shape, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
