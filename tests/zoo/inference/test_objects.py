"""Images that are rescaled for a network are checked, and cut into blocks, at the size that the network sees."""

import keras
import numpy as np
import pytest
from keras import layers

from bmzpack.errors import UserError
from kerazoo.config import DecodingConfig
from kerazoo.data.normalise import Normalisation
from kerazoo.data.rescale import Scale
from kerazoo.inference.network import Network
from kerazoo.inference.predictor import Predictor
from kerazoo.models.recipe import Recipe, TileGeometry


def predictor(images, tile=None):
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, layers.Conv2D(3, 3, padding="same")(inputs))
    recipe = Recipe(
        model="cellpose2d",
        task="instances",
        channels=1,
        channel_names=["channel0"],
        classes=["flow_y", "flow_x", "cell"],
        targets="flows",
        scale=Scale(network=30.0, images=images),
        normalisation=Normalisation(method="none"),
        decoding=DecodingConfig(),
        geometry=TileGeometry(step=8, halo=40, minimum=8),
    )
    return Predictor(Network(model), recipe, tile=tile)


def test_tiles_are_checked_at_the_size_that_the_network_sees():
    enlarging = predictor(images=10.0, tile=80)
    enlarging.check((26, 26, 1))
    with pytest.raises(UserError, match="tile of 80 pixels is too small"):
        enlarging.check((100, 100, 1))
    predictor(images=60.0, tile=80).check((150, 150, 1))


def test_images_are_not_enlarged_beyond_measure():
    with pytest.raises(UserError, match="factor of 30"):
        predictor(images=1.0).check((20, 20, 1))


def test_blocks_are_smaller_where_images_are_enlarged():
    found = predictor(images=10.0)
    shapes = []

    def bands(image, offset, scale):
        shapes.append(image.shape[:2])
        yield slice(None), np.full((*image.shape[:2], 3), -9, np.float32)

    found.bands = bands
    assert not found.result(np.zeros((1400, 900, 1), np.uint8)).any()
    assert max(height * width for height, width in shapes) <= (2048 + 2 * 256 + 6) ** 2
