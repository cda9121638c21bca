"""ImageNet encoders and their weights."""

import csv

import keras
import numpy as np
import pytest
from PIL import Image

from bmzpack.errors import UserError
from kerazoo.models.backbones import BACKBONES, encoder_of
from kerazoo.models.pixels.network import unet
from kerazoo.models.weights import adapt_channels, backbone_width, load_head, load_weights, read_weights

SMALL = "mobilenetv2_0.35_224_imagenet_notop.npz"
FOLDED = "mobilenetv2_1.0_224_imagenet_tf2ptq_folded.npz"


@pytest.fixture(scope="module")
def weights(data_folder):
    return data_folder("weights_mobilenetv2")


def array(variable):
    return keras.ops.convert_to_numpy(variable)


def norms(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


@pytest.mark.parametrize("name", BACKBONES)
def test_taps_and_full_size(name):
    channels = 4
    model = unet((None, None, channels), classes=3, filters=4, backbone=name)
    taps = [model.get_layer(tap).output for tap in BACKBONES[name].taps]
    shapes = keras.Model(model.input, taps).compute_output_shape((1, 64, 96, channels))
    assert [shape[1:3] for shape in shapes] == [(64 // 2**n, 96 // 2**n) for n in range(1, 6)]
    assert model.compute_output_shape((1, 64, 96, channels)) == (1, 64, 96, 3)
    assert model.get_layer(BACKBONES[name].stem).kernel.shape[2] == channels
    assert not [layer for layer in model.layers if "." in layer.name or isinstance(layer, keras.layers.Lambda)]


def test_depth_cuts_the_encoder():
    shallow = unet(filters=4, depth=3, backbone="mobilenet_v2")
    names = [layer.name for layer in shallow.layers]
    assert "block_6_expand_relu" in names
    assert "block_13_expand_relu" not in names
    assert shallow.count_params() < unet(filters=4, backbone="mobilenet_v2").count_params()


def reference(name):
    """The encoder in keras.applications with its own input scaling, on RGB values 0 to 255, and its taps."""
    backbone = BACKBONES[name]
    own = {"include_preprocessing": True} if name == "efficientnet_v2_b0" else {}
    application = getattr(keras.applications, backbone.application)(
        include_top=False, weights=None, input_shape=(64, 64, 3), **own
    )
    preprocess = {
        "mobilenet_v2": keras.applications.mobilenet_v2.preprocess_input,
        "efficientnet_v2_b0": keras.applications.efficientnet_v2.preprocess_input,
        "resnet50_v2": keras.applications.resnet_v2.preprocess_input,
    }[name]
    taps = [application.get_layer(tap).output for tap in backbone.taps]
    return application, keras.Model(application.input, taps), preprocess


@pytest.mark.parametrize(
    "name", [name if name == "mobilenet_v2" else pytest.param(name, marks=pytest.mark.slow) for name in BACKBONES]
)
def test_imagenet_weights_and_scaling_are_those_of_keras_applications(name, monkeypatch):
    application, taps, preprocess = reference(name)
    random = np.random.default_rng(1)
    for layer in norms(application):
        layer.moving_mean.assign(random.normal(size=layer.moving_mean.shape) * 0.1)
        layer.gamma.assign(random.uniform(0.5, 1.5, size=layer.gamma.shape))
    own, asked = getattr(keras.applications, BACKBONES[name].application), []

    def download(**arguments):
        if arguments["weights"] != "imagenet":
            return own(**arguments)
        asked.append(arguments)
        return application

    monkeypatch.setattr(keras.applications, BACKBONES[name].application, download)
    model = unet((None, None, 3), filters=4, backbone=name, weights="imagenet")
    assert len(asked) == 1
    assert not any(layer.trainable for layer in norms(encoder_of(model, name)))
    assert all(layer.trainable for layer in norms(model) if layer.name.startswith("decoder"))

    image = random.integers(0, 256, (2, 64, 64, 3)).astype("float32")
    expected = taps.predict_on_batch(preprocess(image.copy()))
    found = encoder_of(model, name).predict_on_batch(image / 255)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(b, a, atol=1e-4 * max(1, np.abs(a).max()))


def test_no_connection(monkeypatch):
    def fail(**arguments):
        if arguments["weights"] == "imagenet":
            raise Exception("URL fetch failure on https://example.org: None -- unreachable")
        return own(**arguments)

    own = keras.applications.MobileNetV2
    monkeypatch.setattr(keras.applications, "MobileNetV2", fail)
    with pytest.raises(UserError, match=r"could not be downloaded.*local weights file"):
        unet(backbone="mobilenet_v2", weights="imagenet")


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_grey_in_every_channel_excites_the_stem_as_grey_in_rgb(channels):
    kernel = np.random.default_rng(1).normal(size=(3, 3, 3, 8))
    adapted = adapt_channels(kernel, channels)
    assert adapted.shape == (3, 3, channels, 8)
    np.testing.assert_allclose(adapted.sum(axis=2), kernel.sum(axis=2), atol=1e-12)


def test_top_3_of_ten_photographs(weights, data_folder):
    """Class by class and with their probabilities, of which two decimals are known."""
    folder = data_folder("natural_images_check")
    model = keras.applications.MobileNetV2(weights=None)
    load_weights(model, weights / FOLDED)
    labels = (weights / "imagenet_labels.txt").read_text(encoding="utf-8").splitlines()[1:]
    with (folder / "expected_top3_mobilenetv2_1.0_tf2ptq.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    for row in rows:
        probability = model.predict_on_batch(_photograph(folder / row["file"]))[0]
        best = np.argsort(probability)[:-4:-1]
        found = [f"{labels[place]} ({probability[place]:.2f})" for place in best]
        assert found == [row["top1"], row["top2"], row["top3"]], row["file"]


def _photograph(path):
    """Short side 256, centre 224 x 224, values -1 to 1."""
    image = Image.open(path).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    return np.asarray(image.crop((left, top, left + 224, top + 224)), "float32")[None] / 127.5 - 1


@pytest.mark.parametrize(("file", "alpha"), [(SMALL, 0.35), (FOLDED, 1.0)])
def test_files_of_mobilenet(weights, file, alpha):
    assert backbone_width("mobilenet_v2", None, weights / file, "U-Net") == alpha
    model = unet((None, None, 1), filters=4, backbone="mobilenet_v2", weights=weights / file)
    arrays = read_weights(weights / file)
    np.testing.assert_allclose(
        array(model.get_layer("Conv1").kernel), arrays["Conv1/kernel"].sum(axis=2, keepdims=True), atol=1e-6
    )
    np.testing.assert_array_equal(array(model.get_layer("block_16_project").kernel), arrays["block_16_project/kernel"])
    norm = model.get_layer("block_3_expand_BN")
    np.testing.assert_array_equal(array(norm.beta), arrays["block_3_expand_BN/beta"])
    if file == FOLDED:
        x = np.random.default_rng(1).normal(size=(2, 4, 4, norm.beta.shape[0])).astype("float32")
        np.testing.assert_allclose(norm(x, training=False), x + arrays["block_3_expand_BN/beta"], atol=1e-5)
    else:
        np.testing.assert_array_equal(array(norm.moving_variance), arrays["block_3_expand_BN/moving_variance"])


def test_statistics_stay_when_a_pretrained_encoder_is_trained(weights):
    model = unet((None, None, 3), filters=4, backbone="mobilenet_v2", weights=weights / SMALL)
    layer, kernel = model.get_layer("block_1_expand_BN"), model.get_layer("block_1_expand").kernel
    before = [array(variable) for variable in [*layer.variables, kernel]]
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    model.train_on_batch(np.ones((2, 32, 32, 3)), np.ones((2, 32, 32, 1), "uint8"))
    after = [array(variable) for variable in [*layer.variables, kernel]]
    for a, b in zip(before[:-1], after[:-1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(before[-1], after[-1])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_weights_of_another_run(suffix, tmp_path):
    arguments = {"filters": 4, "depth": 2, "classes": 3}
    model, path = unet(**arguments), tmp_path / f"model{suffix}"
    model.get_layer("probability").bias.assign([5.0, -5.0, 0.0])
    model.save(path)
    as_many, other = unet(**arguments, weights=path), unet(**arguments | {"classes": 5}, weights=path)
    for found in (as_many, other):
        name = "decoder1_convolution2"
        np.testing.assert_array_equal(array(found.get_layer(name).kernel), array(model.get_layer(name).kernel))
        assert not array(found.get_layer("probability").bias).any(), "its classes may be others"
    load_head(as_many, path)
    # weights and not outputs, which oneDNN sums in an order that depends on what else the processor does
    for given, loaded in zip(model.weights, as_many.weights, strict=True):
        np.testing.assert_array_equal(array(given), array(loaded))
    with pytest.raises(UserError, match="have no probability of unet"):
        load_head(other, path)


def test_files_that_do_not_fit(tmp_path, weights):
    (tmp_path / "text.npz").write_text("no weights")
    np.savez(tmp_path / "other.npz", **{"layer/kernel": np.zeros(3)})
    (tmp_path / "text.txt").write_text("no weights")
    unet(filters=2, depth=1).save_weights(tmp_path / "other.weights.h5")
    cases = {
        "text.npz": "cannot be read",
        "other.npz": "0 of the",
        "text.txt": "should end in",
        "other.weights.h5": "save it as .keras",
        "absent.npz": "no weights file",
    }
    for name, expected in cases.items():
        with pytest.raises(UserError, match=expected) as raised:
            unet(filters=4, depth=2, weights=tmp_path / name)
        assert name in str(raised.value)
    with pytest.raises(UserError, match="same network and width"):
        unet(backbone="mobilenet_v2", alpha=0.5, weights=weights / SMALL)
    with pytest.raises(UserError, match="resnet50_v2"):
        unet(backbone="resnet50_v2", weights=weights / SMALL)


def test_encoder_shares_its_layers():
    model = unet(filters=2, backbone="mobilenet_v2", depth=2)
    encoder = encoder_of(model, "mobilenet_v2")
    assert encoder.get_layer("Conv1") is model.get_layer("Conv1")
    assert "encoder1_convolution1" not in [layer.name for layer in encoder.layers]
