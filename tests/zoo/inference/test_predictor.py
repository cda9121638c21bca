"""A predictor gives what network, normalisation and decoding give by hand, however it cuts the image."""

import keras
import numpy as np
import pytest

from arrays import decode, only
from bmzpack.errors import UserError
from kerazoo.config import DecodingConfig
from kerazoo.data.normalise import Normalisation
from kerazoo.inference.load import load_predictor
from kerazoo.inference.network import Network
from kerazoo.inference.predictor import Predictor
from kerazoo.models.recipe import Recipe, TileGeometry
from kerazoo.runs.run import Run


def small_unet(channels=1, classes=3, padding="same"):
    """Two levels, with batch normalisation whose numbers are not the initial ones."""
    keras.utils.set_random_seed(3)

    def block(x, filters):
        x = keras.layers.Conv2D(filters, 3, padding=padding, use_bias=False)(x)
        return keras.layers.Activation("relu")(keras.layers.BatchNormalization()(x))

    raw = keras.Input((None, None, channels), name="raw")
    skip = block(raw, 8)
    x = block(keras.layers.MaxPooling2D()(skip), 16)
    x = keras.layers.Conv2DTranspose(8, 2, strides=2)(x)
    if padding == "same":
        x = keras.layers.Concatenate()([skip, x])
    x = keras.layers.Conv2D(classes, 3, padding=padding, activation="softmax", name="probability")(x)
    model = keras.Model(raw, x)
    random = np.random.default_rng(4)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape[0]
            low, high = random.normal(0, 0.3, (2, size)), random.uniform(0.5, 1.5, (2, size))
            layer.set_weights([high[0], low[0], low[1], high[1]])
    return model


def recipe_of(targets="border", channels=1, **geometry):
    classes = {"border": ["background", "interior", "border"], "foreground": ["background", "foreground"]}
    return Recipe(
        model="unet2d",
        task="instances" if targets == "border" else "semantic",
        channels=channels,
        channel_names=[f"channel{index}" for index in range(channels)],
        classes=classes.get(targets, ["background", "one", "two"]),
        targets=targets,
        normalisation=Normalisation(method="standardisation"),
        decoding=DecodingConfig(threshold=0.6, seed_threshold=0.3),
        geometry=TileGeometry(**{"step": 2, "halo": 8, "minimum": 2} | geometry),
    )


@pytest.fixture(scope="module")
def model():
    return small_unet()


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(5).integers(0, 60000, (301, 222, 1)).astype(np.uint16)


def by_hand(model, recipe, image):
    height, width = image.shape[:2]
    raw = recipe.normalisation.apply(image)
    raw = np.pad(raw, [(0, height % 2), (0, width % 2), (0, 0)], mode="reflect")
    return model.predict(raw[None], verbose=0)[0, :height, :width]


@pytest.mark.parametrize("tile", [None, 32, 96, 250])
def test_probabilities_equal_those_of_the_network(model, image, tile):
    recipe = recipe_of()
    found = only(Predictor(Network(model), recipe, tile=tile).outputs(image))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(model, recipe, image), atol=1e-5)


def test_valid_network_covers_the_whole_image(image):
    model = small_unet(padding="valid")
    height, width = image.shape[:2]
    recipe = recipe_of(margin=4, minimum=12, halo=6)
    raw = recipe.normalisation.apply(image)
    raw = np.pad(raw, [(4, 4 + height % 2), (4, 4 + width % 2), (0, 0)], mode="reflect")
    expected = model.predict(raw[None], verbose=0)[0, :height, :width]
    for tile in (None, 100):
        found = only(Predictor(Network(model), recipe, tile=tile).outputs(image))
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("targets", ["border", "classes"])
@pytest.mark.parametrize("tile", [None, 64])
def test_result_is_the_decoded_output(model, image, targets, tile):
    recipe = recipe_of(targets)
    predictor = Predictor(Network(model), recipe, tile=tile)
    kept = np.zeros((*image.shape[:2], 3), np.float32)
    result = predictor.result(image, kept)
    np.testing.assert_array_equal(kept, only(predictor.outputs(image)))
    np.testing.assert_array_equal(result, decode(kept, recipe))
    assert result.dtype == np.int32


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 5)])
def test_tiny_images(model, shape):
    image = np.random.default_rng(6).integers(0, 255, (*shape, 1)).astype(np.uint8)
    predictor = Predictor(Network(model), recipe_of(minimum=16))
    probabilities = only(predictor.outputs(image))
    assert probabilities.shape == (*shape, 3)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="other backends trace every size")
def test_sizes_are_not_traced_again(model, image, monkeypatch):
    predictor = Predictor(Network(model), recipe_of())
    only(predictor.outputs(image))
    monkeypatch.setattr(type(model), "call", None)
    assert only(predictor.outputs(image[:77, :190])).shape == (77, 190, 3)


def test_wrong_channels_and_tiles(model, image):
    with pytest.raises(UserError, match="has 3 channels, the network takes 1"):
        only(Predictor(Network(model), recipe_of()).outputs(image.repeat(3, axis=2)))
    with pytest.raises(UserError, match="use --tile 18 or more"):
        Predictor(Network(model), recipe_of(), tile=8).result(image)


def test_run_is_loaded(model, image, tmp_path):
    recipe = recipe_of()
    run = Run(tmp_path)
    (run.path / "config.yaml").write_text("model: {name: unet2d}\ndata: {}\n")
    with pytest.raises(UserError, match="no trained model yet"):
        load_predictor(run.path)
    model.save(run.model_path)
    run.write("recipe", recipe.model_dump())
    expected = only(Predictor(Network(model), recipe).outputs(image))
    for source in (run, run.path, str(run.path)):
        np.testing.assert_allclose(only(load_predictor(source).outputs(image)), expected, atol=1e-6)


def test_sources_that_are_none(tmp_path):
    with pytest.raises(UserError, match="nothing here"):
        load_predictor(tmp_path / "nothing here")
