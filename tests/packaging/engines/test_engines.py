"""The engines of the consumers run the written files; the old ones are those inside Fiji."""

import sys

import keras
import numpy as np
import pytest
from keras import layers

from bmzpack.engines import TensorNames, old
from bmzpack.errors import UserError
from bmzpack.weights import write_all
from running import run

NAMES = TensorNames(["raw"], ["probability"])


def unet(padding: str) -> keras.Model:
    inputs = keras.Input((None, None, 1), name="raw")

    def block(x, width):
        x = layers.Conv2D(width, 3, padding=padding, use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization()(x))

    skip = block(inputs, 8)
    x = block(layers.MaxPooling2D(2)(skip), 16)
    x = layers.UpSampling2D(2)(x) if padding == "same" else layers.Conv2DTranspose(8, 2, strides=2)(x)
    if padding == "valid":
        skip = layers.Cropping2D(2)(skip)
    x = block(layers.Concatenate()([skip, x]), 8)
    model = keras.Model(inputs, layers.Conv2D(2, 1, activation="softmax", name="probability")(x))
    generator = np.random.default_rng(0)
    for weight in model.weights:
        spread = (0.5, 1.5) if "variance" in weight.path else (-0.5, 0.5)
        weight.assign(generator.uniform(*spread, weight.shape))
    return model


@pytest.mark.engines
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_files_run_inside_fiji(tmp_path, padding):
    try:
        for engine in old.REQUIREMENTS:
            old.python(*engine)
    except UserError as error:
        pytest.skip(str(error))
    unet(padding).save(tmp_path / "model.keras")
    generator = np.random.default_rng(0)
    inputs = [{"raw": generator.normal(size=(1, *s, 1)).astype(np.float32)} for s in ((64, 64), (48, 80), (96, 32))]
    formats = ["keras_v3", "tensorflow_saved_model_bundle", "onnx"]
    original, saved_model, onnx = write_all(tmp_path / "model.keras", tmp_path, NAMES, inputs, formats)
    for engine, entry in (("tensorflow-2.10.1", saved_model), ("onnxruntime-1.13.1", onnx)):
        result = run(engine, entry.path, inputs, NAMES)
        for got, expected in zip(result.outputs, original.outputs, strict=True):
            np.testing.assert_allclose(got["probability"], expected["probability"], atol=1e-5)


def test_broken_file_is_explained(tmp_path):
    path = tmp_path / "weights.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"onnxruntime cannot run weights\.onnx: "):
        run("onnxruntime", path, [{"raw": np.zeros((1, 4, 4, 1), np.float32)}], NAMES)


def test_python310_is_one_that_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("BMZPACK_PYTHON310", sys.executable)
    assert (old.python310() is not None) == (sys.version_info[:2] == (3, 10))
    monkeypatch.delenv("BMZPACK_PYTHON310")
    monkeypatch.setenv("KERAZOO_PYTHON310", sys.executable)  # its former name
    assert (old.python310() is not None) == (sys.version_info[:2] == (3, 10))
    shim = tmp_path / "python3.10"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("BMZPACK_PYTHON310", str(shim))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert old.python310() is None
    with pytest.raises(UserError, match="BMZPACK_PYTHON310"):
        old.python("onnxruntime", "1.13.1")
    assert not (tmp_path / "cache").exists()


def test_environment_that_cannot_be_installed_leaves_nothing(monkeypatch, tmp_path):
    broken = tmp_path / "python3.10"
    broken.write_text('#!/bin/sh\nif [ "$1" = -c ]; then echo True; else echo no space left >&2; exit 1; fi\n')
    broken.chmod(0o755)
    monkeypatch.setenv("BMZPACK_PYTHON310", str(broken))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="no space left"):
        old.python("onnxruntime", "1.13.1")
    assert not list((tmp_path / "cache" / "bmzpack" / "engines").iterdir())
