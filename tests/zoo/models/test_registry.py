"""Every model of the registry: parameters, names, shapes at two sizes, saving, one training step."""

import math

import keras
import numpy as np
import pytest

from bmzpack.errors import UserError
from bmzpack.measure.geometry import measure
from kerazoo.models.backbones import BACKBONES
from kerazoo.models.configure import family_of, make_config
from kerazoo.models.registry import IMAGENET_BACKBONES, baseline, create_model, family_of_model, get_model, list_models
from kerazoo.models.shared.class_loss import ClassLoss
from kerazoo.models.shared.without_numbers import without_numbers
from small_networks import SMALL

NAMES = [entry.name for entry in list_models() if entry.builder is not None]
PIXELS = [entry.name for entry in list_models() if entry.task == "semantic"]
OBJECTS = [entry.name for entry in list_models() if entry.task == "instances"]
PATCHES = [entry.name for entry in list_models() if entry.task == "classification"]
PATCH = {"lenet1989": (28, 28, 1)}
"""Shapes of the patches of networks that have no choice."""


@pytest.fixture(scope="module", params=NAMES)
def model(request):
    if "_vit_" not in request.param:
        return create_model(request.param)
    with without_numbers():
        return create_model(request.param)


def test_parameters_are_those_of_the_registry(model, request):
    name = request.node.callspec.params["model"]
    assert model.count_params() == get_model(name).parameters


def test_names(model, request):
    entry = get_model(request.node.callspec.params["model"])
    model = family_of_model(entry.name).image_network(model)
    assert [tensor.name for tensor in model.inputs] == ["raw"]
    assert [tensor._keras_history.operation.name for tensor in model.outputs] == [entry.output]
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
    operations = [layer for layer in model.operations if layer is not model]
    assert all(type(layer).__module__.startswith("keras.") for layer in operations)
    assert not [layer for layer in model.layers if isinstance(layer, keras.layers.Lambda)]
    # a bilinear one of dynamic sizes cannot be exported
    upsampling = [layer for layer in model.layers if isinstance(layer, keras.layers.UpSampling2D)]
    upsampling = [layer for layer in upsampling if None in layer.output.shape[1:]]
    assert {layer.interpolation for layer in upsampling} <= {"nearest"}


@pytest.mark.parametrize("name", PIXELS)
def test_sizes_saving_and_a_step(name, tmp_path):
    model = create_model(name, classes=3, **SMALL.get(name, {}))
    geometry = measure(model)
    for size in (geometry.minimum, geometry.minimum + geometry.step):
        output = model.compute_output_shape((2, size, size + geometry.step, 1))
        assert output == (2, size - 2 * geometry.margin, size + geometry.step - 2 * geometry.margin, 3)

    x = np.random.default_rng(1).normal(size=(1, geometry.minimum, geometry.minimum, 1)).astype("float32")
    assert_trains(model, x, ClassLoss(), tmp_path)


@pytest.mark.parametrize(
    ("name", "trained"), [("stardist2d", 1_425_185), ("cellpose2d", 6_600_843), ("omnipose2d", 6_600_876)]
)
def test_official_parameters(name, trained):
    """Those that are learned; torch does not count the statistics of batch normalisation."""
    assert sum(math.prod(weight.shape) for weight in create_model(name).trainable_weights) == trained


@pytest.mark.parametrize("name", OBJECTS)
def test_networks_for_objects_save_and_learn(name, tmp_path):
    config = make_config({"model": {"name": name}, "data": {"channels": 2}})
    family = family_of(config)
    target, network = family.target(config), create_model(name, input_shape=(None, None, 2), **SMALL.get(name, {}))
    model = family.image_network(network)
    channels = len(family.channel_names(config))
    if size := model.inputs[0].shape[1]:
        assert model.output_shape == (None, size, size, channels)
    else:
        geometry = measure(model)
        for size in (geometry.minimum, geometry.minimum + geometry.step):
            output = model.compute_output_shape((2, size, size + geometry.step, 2))
            assert output == (2, size // target.grid, (size + geometry.step) // target.grid, channels)
        size = 2 * geometry.minimum

    labels = np.zeros((size, size), np.int32)
    labels[2 : size - 4, 3 : size // 2] = 1
    y = target.of_patch(target.of_image(labels), ((1, 0), (0, 1)))[None]
    x = np.random.default_rng(1).normal(size=(1, size, size, 2)).astype("float32")
    loss = family.loss(config, np.zeros(0))
    assert_trains(model, x, loss[model.output_names[0]] if isinstance(loss, dict) else loss, tmp_path, y)


@pytest.mark.parametrize("name", PATCHES)
def test_classifiers_save_and_learn(name, tmp_path):
    shape = PATCH.get(name, (48, 48, 3))
    model = create_model(name, input_shape=shape, classes=3, **SMALL.get(name, {}))
    assert model.output_shape == (None, 3)
    scores = get_model(name).output == "score"
    loss = ClassLoss(cross_entropy=not scores, dice=0, squared_error=scores)
    assert_trains(model, np.random.default_rng(1).uniform(size=(4, *shape)).astype("float32"), loss, tmp_path)


@pytest.mark.parametrize("name", [name for name in PATCHES if name not in PATCH])
def test_classifiers_take_any_size(name):
    model = create_model(name, classes=3, **SMALL.get(name, {}))
    for size in (32, 50):
        assert model.compute_output_shape((2, size, size + 7, 3)) == (2, 3)


def assert_trains(model, x, loss, tmp_path, y=None):
    before = model.predict_on_batch(x)
    if getattr(loss, "cross_entropy", 0):
        np.testing.assert_allclose(before.sum(axis=-1), 1, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(loaded.predict_on_batch(x), before)

    y = np.zeros((*before.shape[:-1], 1), "uint8") if y is None else y
    model.compile(keras.optimizers.SGD(1e-3), loss, run_eagerly=True)  # one step is not worth a graph
    model.train_on_batch(x, y)
    after = model.predict_on_batch(x)
    assert np.isfinite(after).all()
    assert not np.array_equal(before, after)


def test_backbones_are_those_of_the_registry():
    assert tuple(BACKBONES) == IMAGENET_BACKBONES


def test_what_has_no_network_says_how_it_is_applied():
    with pytest.raises(UserError, match="kerazoo predict classical2d"):
        create_model("classical2d")


def test_unknown_model_and_argument():
    with pytest.raises(UserError, match="did you mean 'unet2d'"):
        create_model("unet2")
    with pytest.raises(UserError, match="filter"):
        create_model("unet2d", filter=3)


def test_one_entry_is_the_baseline():
    """Nothing has to be trained for it."""
    (entry,) = (model for model in list_models() if model.baseline)
    assert baseline() is entry
    assert entry.builder is None
