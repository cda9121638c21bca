"""Networks of valid convolutions: packed with a rim of zeros, which the halo cuts off in every program."""

import keras
import numpy as np
import pytest
import yaml
from bioimageio.core import Sample, Tensor, create_prediction_pipeline
from bioimageio.spec import load_description
from keras import layers
from PIL import Image
from scipy.ndimage import gaussian_filter

import bmzpack
from bmzpack import check
from bmzpack.bundle.archive import unpacked
from bmzpack.describe.description import Input, Output
from bmzpack.measure.axes import Tensor as Described
from bmzpack.measure.axes import rim_of
from bmzpack.measure.geometry import measure
from bmzpack.packing.network import with_rim


def blobs(shape, seed=1):
    smooth = gaussian_filter(np.random.default_rng(seed).random(shape), 6)
    return np.float32(smooth / smooth.std())


def convolved(raw, *sizes, kind=layers.Conv2D, padding="valid", channels=2):
    for size in sizes:
        raw = kind(channels, size, padding=padding)(raw)
    return raw


STANDARDISED = {"test_image": blobs((300, 300)), "preprocessing": ["zero_mean_unit_variance"]}


@pytest.fixture(scope="module")
def model():
    """The U-Net of 2015 in small."""
    keras.utils.set_random_seed(1)
    raw = x = keras.Input((None, None, 1), name="raw")
    skips = []
    for _ in range(2):
        skips.append(convolved(x, 3, channels=6))
        x = layers.MaxPooling2D()(layers.ReLU()(skips[-1]))
    x = layers.ReLU()(convolved(x, 3, channels=6))
    for skip, crop in zip(reversed(skips), (2, 8), strict=True):
        x = layers.Conv2DTranspose(6, 2, strides=2)(x)
        x = convolved(layers.Concatenate()([layers.Cropping2D(crop)(skip), x]), 3, channels=6)
    return keras.Model(raw, layers.Conv2D(3, 1, activation="sigmoid", name="classes")(x))


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("valid") / "valid.zip"
    description = {"name": "Valid U-Net", "licence": "CC-BY-4.0", "inputs": [STANDARDISED]}
    bmzpack.pack(model, description, path, formats=["keras_v3", "onnx"])
    with unpacked(path) as folder:
        yield folder


def content(folder):
    return yaml.safe_load((folder / "rdf.yaml").read_text(encoding="utf-8"))


def test_output_of_the_size_of_the_input(folder):
    """The network takes 22 + 4 n pixels and loses 10 on each side; 256 of 278 are left, a multiple of 4."""
    rdf = content(folder)
    for name, given, found in zip("yx", rdf["inputs"][0]["axes"][1:3], rdf["outputs"][0]["axes"][1:3], strict=True):
        assert given["size"] == 278
        assert found["size"] == {"tensor_id": "raw", "axis_id": name}
        assert found["halo"] == 11
    output = np.load(folder / "test_classes.npy")
    assert output.shape == (1, 278, 278, 3)
    zero = (output == 0).all(-1)[0]
    assert not zero[10:-10, 10:-10].any()
    assert zero.sum() == 278**2 - 258**2
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "Its outermost 10 pixels are zeros" in text


def test_no_program_minds_but_for_its_weights(folder):
    found = check(folder).consumers
    rules = {name: {finding.rule for finding in verdict.findings} for name, verdict in found.items()}
    # the zoo asks for authors, and ilastik for TorchScript
    assert rules == {"fiji": set(), "ilastik": {"N1"}, "qupath": set(), "core": {"R10"}}


def test_the_cover_shows_what_is_inside(folder):
    with Image.open(folder / "cover.png") as cover:
        pixels = np.asarray(cover)[:, 256:].astype(int)
    assert pixels[0].std() > 0
    assert (pixels.max(-1) > 0).all()


def test_blocks_without_seams(model, folder):
    """bioimageio.core mirrors the image at its borders and cuts it into blocks: the result is the network's own."""
    image = blobs((300, 400), seed=2).astype(np.float32)[np.newaxis, ..., np.newaxis]
    loaded = load_description(folder / "rdf.yaml", perform_io_checks=False)
    with create_prediction_pipeline(loaded, weights_format="onnx") as pipeline:
        members = {"raw": Tensor.from_numpy(image, dims=["batch", "y", "x", "channel"])}
        result = pipeline.predict_sample_with_blocking(Sample(members=members, stat={}, id="a"))
    found = np.asarray(next(iter(result.members.values())).data)
    standardised = (image - image.mean()) / (image.std() + 1e-6)
    # 11 pixels of halo, of which the network itself takes 10
    around = np.pad(standardised, ((0, 0), (11, 11), (11, 11), (0, 0)), mode="symmetric")
    np.testing.assert_allclose(found, np.asarray(model(around))[:, 1:-1, 1:-1], atol=1e-5)


def rim(model, axes="byxc"):
    inputs = [
        Described.of(tensor.name, Input.model_validate({"test_image": "a.npy", "axes": axes}), tensor)
        for tensor in model.inputs
    ]
    outputs = [Described.of(tensor.name, Output(), tensor) for tensor in model.outputs]
    return rim_of(model, inputs, outputs, measure(model))


def test_what_gets_a_rim():
    raw = keras.Input((None, None, 1), name="raw")
    assert rim(keras.Model(raw, convolved(raw, 3, 5))) == 3
    assert rim(keras.Model(raw, convolved(raw, 3, padding="same"))) == 0
    # two outputs of one size, and of two sizes
    assert rim(keras.Model(raw, [convolved(raw, 3), convolved(raw, 3)])) == 1
    assert rim(keras.Model(raw, [convolved(raw, 3), convolved(raw, 5)])) == 0
    # of half the size
    assert rim(keras.Model(raw, convolved(layers.MaxPooling2D()(raw), 3))) == 0
    # no halo would cut it off
    everywhere = layers.GlobalAveragePooling2D(keepdims=True)(raw)
    assert rim(keras.Model(raw, convolved(layers.Add()([raw, everywhere]), 3))) == 0
    small = keras.Input((40, 56, 1), name="raw")
    assert rim(keras.Model(small, convolved(small, 3, 3))) == 2
    deep = keras.Input((None, None, None, 1), name="raw")
    volume = keras.Model(deep, convolved(deep, 3, kind=layers.Conv3D))
    assert rim(volume, "bzyxc") == 1
    assert with_rim(volume, 1)(np.zeros((1, 8, 9, 10, 1))).shape == (1, 8, 9, 10, 2)
