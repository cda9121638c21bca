"""StarDist: the published parameter counts, outputs on the grid, encoders, and what is refused."""

import keras
import numpy as np
import pytest

from bmzpack.errors import UserError
from kerazoo.models.stardist.network import stardist


@pytest.mark.parametrize(
    ("parameters", "options"),
    [
        (1_425_185, {}),
        (1_406_689, {"grid": (1, 1)}),
        (1_425_761, {"input_shape": (None, None, 3)}),
        (1_443_681, {"grid": (4, 4)}),
        (1_462_693, {"classes": 3}),
    ],
)
def test_parameter_counts_are_the_published_ones(parameters, options):
    assert stardist(**options).count_params() == parameters


@pytest.mark.parametrize("grid", [(1, 1), (2, 2), (4, 4), (2, 4)])
def test_the_output_lies_on_the_grid(grid):
    model = stardist(grid=grid, rays=8, filters=4, features=8)
    for size in (64, 96):
        shape = model(np.zeros((1, size, size, 1), np.float32)).shape
        assert tuple(shape) == (1, size // grid[0], size // grid[1], 9)
    assert model.inputs[0].name == "raw"
    assert model.output_names == ["stars"]


def test_probabilities_are_between_0_and_1_and_classes_sum_to_1():
    model = stardist(rays=8, filters=4, features=8, classes=2)
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 1)).astype(np.float32)
    stars = keras.ops.convert_to_numpy(model(image))
    assert stars.dtype == np.float32
    assert stars.shape[-1] == 1 + 8 + 3
    assert (stars[..., 0] > 0).all()
    assert (stars[..., 0] < 1).all()
    assert (stars[..., 1:9] < 0).any(), "distances are not bounded"
    np.testing.assert_allclose(stars[..., 9:].sum(axis=-1), 1, rtol=1e-5)


@pytest.mark.parametrize("grid", [(1, 1), (2, 2), (4, 4)])
def test_an_imagenet_encoder_instead_of_the_contracting_path(grid):
    model = stardist((64, 64, 3), grid=grid, rays=8, filters=8, features=8, backbone="mobilenet_v2", alpha=0.35)
    assert model.output_shape == (None, 64 // grid[0], 64 // grid[1], 9)
    names = {layer.name for layer in model.layers}
    assert {"backbone_scaling", "probability", "distances", "stars"} <= names
    assert not any("." in name for name in names)


def test_save_and_load(tmp_path):
    model = stardist(rays=8, filters=4, features=8)
    model.save(tmp_path / "model.keras")
    image = np.random.default_rng(0).normal(size=(1, 32, 48, 1)).astype(np.float32)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(image), model(image))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rays": 2}, "rays is 2"),
        ({"grid": (3, 3)}, "grid is"),
        ({"grid": (2, 2, 2)}, "grid is"),
        ({"classes": 0}, "classes is 0"),
        ({"depth": 0}, "depth is 0"),
        ({"filters": 0}, "filters is 0"),
        ({"features": -1}, "features is -1"),
        ({"alpha": 0.5}, "alpha"),
        ({"backbone": "mobilenet_v2", "grid": (2, 4)}, "with a backbone"),
        ({"backbone": "mobilenet_v2", "depth": 3}, "depth"),
        ({"backbone": "mobilenet"}, "no backbone"),
    ],
)
def test_what_is_refused(options, says):
    with pytest.raises(UserError, match=says):
        stardist(**options)
