"""The official sizes by their parameters, without the numbers themselves; what only the small one has."""

import math

import keras
import numpy as np
import pytest

from kerazoo.models.sam.mask_decoder import pack_details, unpack_details
from kerazoo.models.sam.network import sam_vit
from kerazoo.models.sam.prompts import BACKGROUND, FIRST_CORNER, FOREGROUND, LAST_CORNER, PADDING, draw_prompts
from kerazoo.models.shared.without_numbers import without_numbers


@pytest.mark.parametrize(
    ("size", "parameters"),
    [
        ("vit_b", 93_735_472),
        ("vit_l", 312_342_832),
        ("vit_h", 641_090_608),
    ],
)
def test_parameters_are_the_published_ones(size, parameters):
    """The frequencies of the positions, which are never trained, are no parameters in the official package."""
    with without_numbers():
        network = sam_vit(size, instances=0)
    assert sum(math.prod(weight.shape) for weight in network.trainable_weights) == parameters
    assert sum(math.prod(weight.shape) for weight in network.non_trainable_weights) == 256


def test_details_lie_under_their_tokens():
    """What is packed comes back, for images of any size."""
    image = keras.Input((None, None, 3))
    pack = keras.Model(image, pack_details(image))
    values = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    assert pack(values).shape == (2, 8, 8, 48)
    np.testing.assert_array_equal(unpack_details(pack(values), 8, 3), values)


def test_prompts_are_drawn_where_they_are():
    """A box of pixels 40 to 79 along x and 60 to 99 along y, and a point, in an image of 256 pixels."""
    points = np.array([[[40, 60], [79, 99]], [[10, 20], [200, 100]], [[0, 0], [0, 0]]], np.float32)
    labels = np.array([[FIRST_CORNER, LAST_CORNER], [FOREGROUND, BACKGROUND], [PADDING, PADDING]])
    drawn = np.asarray(draw_prompts(keras.ops.convert_to_tensor(points), labels, 128, 256))
    rows, columns = np.nonzero(drawn[0, ..., 0] > 0)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (30, 49, 20, 39)
    assert drawn[0, 39, 29, 1] > 0.7
    assert drawn[0, 31, 21, 1] < 0  # a corner lies outside of the ellipse
    assert np.unravel_index(drawn[1, ..., 2].argmax(), (128, 128)) == (10, 5)
    assert np.unravel_index(drawn[1, ..., 3].argmax(), (128, 128)) == (50, 100)
    assert not drawn[2].any()
    assert not drawn[0, ..., 2:].any()
    none = draw_prompts(keras.ops.zeros((1, 0, 2)), keras.ops.zeros((1, 0), "int32"), 16, 32)
    assert not np.asarray(none).any()
