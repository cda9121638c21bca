"""The official sizes: their parameters, without the numbers themselves."""

import math

import keras
import pytest

from kerazoo.models.sam.network import sam_vit


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
    with keras.StatelessScope(initialize_variables=False):
        network = sam_vit(size, instances=0)
    assert sum(math.prod(weight.shape) for weight in network.trainable_weights) == parameters
    assert sum(math.prod(weight.shape) for weight in network.non_trainable_weights) == 256
