"""Every model of the registry: parameters, names, shapes at two sizes, saving, one training step."""

import keras
import numpy as np
import pytest

from bmzpack.errors import UserError
from bmzpack.geometry import measure
from kerazoo.models.backbones import BACKBONES
from kerazoo.models.registry import IMAGENET_BACKBONES, create_model, get_model, list_models
from kerazoo.training.losses import ClassLoss

NAMES = [entry.name for entry in list_models()]
SMALL = {"unet2d": {"filters": 4}, "unet2d_2015": {}}
"""Arguments that keep the tests short; the 2015 network has no choice."""


@pytest.fixture(scope="module", params=NAMES)
def model(request):
    return create_model(request.param)


def test_parameters_are_those_of_the_registry(model, request):
    name = request.node.callspec.params["model"]
    assert model.count_params() == get_model(name).parameters


def test_names(model):
    assert [tensor.name for tensor in model.inputs] == ["raw"]
    assert [tensor._keras_history.operation.name for tensor in model.outputs] == ["probability"]
    assert not [layer.name for layer in model.layers if "." in layer.name]


def test_layer_names_are_stable():
    """Weights files depend on them."""
    block = ("convolution1", "norm1", "relu1", "convolution2", "norm2", "relu2")
    assert [layer.name for layer in create_model("unet2d", filters=2, depth=1).layers] == [
        "raw",
        *(f"encoder1_{part}" for part in block),
        "encoder1_pool",
        *(f"bottleneck_{part}" for part in block),
        "decoder1_up",
        "decoder1_concatenate",
        *(f"decoder1_{part}" for part in block),
        "probability",
    ]


def test_stock_layers_only(model):
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)
    assert not [layer for layer in model.layers if isinstance(layer, keras.layers.Lambda | keras.layers.UpSampling2D)]


@pytest.mark.parametrize("name", NAMES)
def test_sizes_saving_and_a_step(name, tmp_path):
    model = create_model(name, classes=3, **SMALL[name])
    geometry = measure(model)
    for size in (geometry.minimum, geometry.minimum + geometry.step):
        output = model.compute_output_shape((2, size, size + geometry.step, 1))
        assert output == (2, size - 2 * geometry.margin, size + geometry.step - 2 * geometry.margin, 3)

    x = np.random.default_rng(1).normal(size=(1, geometry.minimum, geometry.minimum, 1)).astype("float32")
    before = model.predict_on_batch(x)
    np.testing.assert_allclose(before.sum(axis=-1), 1, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(loaded.predict_on_batch(x), before)

    y = np.zeros((*before.shape[:3], 1), "uint8")
    model.compile(keras.optimizers.SGD(1e-3), ClassLoss(), jit_compile=False)
    model.train_on_batch(x, y)
    after = model.predict_on_batch(x)
    assert np.isfinite(after).all()
    assert not np.array_equal(before, after)


def test_backbones_are_those_of_the_registry():
    assert tuple(BACKBONES) == IMAGENET_BACKBONES


def test_unknown_model_and_argument():
    with pytest.raises(UserError, match="did you mean 'unet2d'"):
        create_model("unet2")
    with pytest.raises(UserError, match="filter"):
        create_model("unet2d", filter=3)
