"""Models that end in what Keras cannot export for images of any size."""

import keras
import numpy as np
import pytest
from keras import layers

import bmzpack
from bmzpack.bundle.archive import unpacked
from bmzpack.packing.upsampling import upsampled


@pytest.mark.parametrize("factors", [(2, 2), (3, 3), (4, 4), (5, 2), (1, 8)])
@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (9, 5)])
def test_averages_of_nearest_upsampling_are_bilinear(factors, shape):
    image = np.random.default_rng(0).normal(size=(2, *shape, 3)).astype(np.float32)
    expected = layers.UpSampling2D(factors, interpolation="bilinear")(image)
    np.testing.assert_allclose(upsampled(image, factors, "channels_last"), expected, atol=1e-5)


def test_a_model_is_packed_in_every_format_and_gives_what_it_gave(tmp_path, caplog):
    inner = keras.Sequential([keras.Input((None, None, 4)), layers.UpSampling2D(interpolation="bilinear", name="up")])
    raw = keras.Input((None, None, 1), name="raw")
    x = layers.MaxPooling2D()(layers.Conv2D(4, 3, padding="same", activation="relu")(raw))
    probability = layers.Conv2D(1, 1, activation="sigmoid", name="probability")(inner(x))
    model = keras.Model(raw, probability)
    image = np.random.default_rng(0).normal(size=(1, 32, 48, 1)).astype(np.float32)
    content = {"name": "Upsampling", "inputs": [{"id": "raw", "test_image": image, "axes": "byxc"}]}
    formats = ["keras_v3", "tensorflow_saved_model_bundle", "onnx"]
    packed = bmzpack.pack(model, content, tmp_path / "a.zip", formats=formats)
    assert list(packed.agreement) == formats
    assert "Bilinear upsampling (up) is packed as nearest upsampling and averages" in caplog.text
    with unpacked(tmp_path / "a.zip") as folder:
        outputs = np.load(folder / "test_probability.npy")
        np.testing.assert_allclose(outputs, model(np.load(folder / "test_raw.npy")), atol=1e-6)
