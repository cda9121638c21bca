"""Networks without space: a perceptron, and images that become a vector of classes."""

import zipfile

import keras
import numpy as np
import pytest
import yaml
from keras import layers
from PIL import Image

import bmzpack
from bmzpack.describe.cover import write_cover
from bmzpack.engines import TensorNames
from bmzpack.errors import UserError
from bmzpack.packing import pack as packing
from bmzpack.weights import FORMATS, keras_hdf5
from bmzpack.weights.model import Network


def perceptron():
    """y = 1 if w1 x1 + w2 x2 + b > 0 else 0, of AND."""
    raw = keras.Input((2,), name="raw")
    weights, bias = keras.initializers.Constant(0.5), keras.initializers.Constant(-0.75)
    total = layers.Dense(1, kernel_initializer=weights, bias_initializer=bias)(raw)
    fires = keras.ops.cast(keras.ops.greater(total, 0.0), "float32")
    return keras.Model(raw, layers.Identity(name="answer")(fires), name="perceptron")


def image_classifier():
    """From an image of one size to the probabilities of three classes."""
    keras.utils.set_random_seed(1)
    raw = keras.Input((32, 32, 3), name="raw")
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(raw)
    x = layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(x))
    return keras.Model(raw, layers.Dense(3, activation="softmax", name="probability")(x), name="image_classifier")


def mlp():
    """Two hidden layers."""
    keras.utils.set_random_seed(1)
    raw = x = keras.Input((3,), name="raw")
    for width in (8, 8):
        x = layers.Dense(width, activation="tanh")(x)
    return keras.Model(raw, layers.Dense(4, activation="softmax", name="probability")(x), name="mlp")


KINDS = {
    "perceptron": (perceptron, np.array([1.0, 1.0])),
    "mlp": (mlp, np.array([1.0, 0.2, -3.0])),
    "image": (image_classifier, np.random.default_rng(1).integers(0, 255, (48, 40, 3), np.uint8)),
}


def describe(sample, **output):
    return {"name": "Answers to samples", "inputs": [{"test_image": sample}], "outputs": [output]}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        make, sample = KINDS["perceptron"]
        output = tmp_path_factory.mktemp("packed") / "perceptron.zip"
        return bmzpack.pack(make(), describe(sample), output, formats=["keras_v3", "keras_hdf5", "onnx"])


@pytest.fixture(scope="module")
def folder(packed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(packed.path) as archive:
        archive.extractall(folder)
    return folder


def test_the_perceptron_is_what_it_says():
    samples = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    assert np.asarray(perceptron()(samples)).ravel().tolist() == [0, 0, 0, 1]


def test_axes_and_tags(folder):
    rdf = yaml.safe_load((folder / "rdf.yaml").read_text(encoding="utf-8"))
    for tensor in (*rdf["inputs"], *rdf["outputs"]):
        assert [axis["id"] for axis in tensor["axes"]] == ["batch", "channel"]
    assert not {"2d", "3d"} & set(rdf["tags"])


def test_answers_are_exact(packed, folder):
    assert np.load(folder / "test_raw.npy").tolist() == [[1, 1]]
    assert np.load(folder / "test_answer.npy").tolist() == [[1]]
    assert {name: entry["max_abs_error"] for name, entry in packed.agreement.items()} == dict.fromkeys(
        ["keras_v3", "keras_hdf5", "onnx"], 0
    )


def verdicts(path):
    report = bmzpack.check(path)
    found = {name: {finding.rule for finding in verdict.findings} for name, verdict in report.consumers.items()}
    return found, {name: verdict.verdict for name, verdict in report.consumers.items()}


NO_IMAGES = dict.fromkeys(("fiji", "ilastik", "qupath"), "fails") | {"core": "opens"}


def test_programs_for_images_do_not_open_it(packed):
    assert packed.programs == []
    found, verdict = verdicts(packed.path)
    assert verdict == NO_IMAGES
    # ilastik runs no weights of this bundle either
    assert found == {"fiji": {"R7", "T5"}, "ilastik": {"T5", "N1"}, "qupath": {"T5", "D4"}, "core": {"R10"}}


def test_documentation_speaks_of_a_sample(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "The test tensors are a sample and what Keras makes of it." in text
    assert 'inputs={"raw": "sample.npy"}' in text
    assert "image.tif" not in text


def entry(name, axes):
    return {"id": name, "axes": [{"id": axis, "channel_names": []} for axis in axes]}


@pytest.mark.parametrize("count", [1, 3, 16, 17, 1000])
def test_cover_of_values(count, tmp_path):
    values = np.linspace(-1, 1, count, dtype=np.float32)[np.newaxis]
    tensors = {"raw": values, "answer": np.abs(values)}
    write_cover(tmp_path / "a.png", [entry("raw", "bc")], [entry("answer", "bc")], tensors)
    with Image.open(tmp_path / "a.png") as cover:
        pixels = np.asarray(cover).astype(int)
    assert pixels.shape == (256, 512, 3)
    left, right = pixels[:, :256], pixels[:, 256:]
    assert min(left.std(), right.std()) > 15
    if count == 3:
        # -1, 0, 1: below the line, on it, above it; the bars of the answer have colours
        middle, bright = left[128], left[..., 0] > 150
        assert [part.any() for part in (bright[40:120, 32:96], bright[140:200, 32:96])] == [False, True]
        assert [part.any() for part in (bright[40:120, 160:224], bright[140:200, 160:224])] == [True, False]
        assert (middle > 150).all(axis=1).sum() > 200
        assert not np.ptp(left, axis=-1).any()
        assert np.ptp(right, axis=-1).max() > 100


def test_a_sample_without_answer_is_refused(tmp_path):
    with pytest.raises(UserError, match="another answer"):
        packing._write_test_tensor({"id": "answer"}, np.zeros((1, 1), np.float32), tmp_path)


def test_hdf5_holds_operations(tmp_path):
    """The old form of the file names no modules: the operation Reshape would be taken for the layer."""
    inner = perceptron()
    raw = keras.Input((4, 4, 2), name="raw")
    x = keras.ops.transpose(keras.ops.reshape(raw, (-1, 2, 8, 2)), (0, 2, 1, 3))
    x = keras.ops.reshape(inner(keras.ops.reshape(x, (-1, 2))), (-1, 8, 2, 1))
    model = keras.Model(raw, layers.Identity(name="answer")(x))
    keras_hdf5.write(Network(model, TensorNames(["raw"], ["answer"])), tmp_path / "a.h5")
    loaded = keras.models.load_model(tmp_path / "a.h5", compile=False)
    images = np.random.default_rng(1).random((3, 4, 4, 2)).astype(np.float32) * 2
    expected = np.asarray(model(images))
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(np.asarray(loaded(images)), expected)


def test_batches_are_tried():
    from bmzpack.describe.description import Input
    from bmzpack.measure.axes import Sizes, Tensor
    from bmzpack.packing.tensors import test_windows as cut_windows

    given = Input.model_validate({"test_image": "a.npy"})
    for shape, size in (((None, 3), 0), ((None, 8, 8, 1), 8)):
        inputs = [Tensor("raw", given, shape, "bc" if len(shape) == 2 else "byxc")]
        image = np.arange(np.prod(shape[1:]), dtype=np.float32).reshape(1, *shape[1:])
        one, two = cut_windows({"raw": image}, inputs, Sizes(size, 0))
        assert one["raw"].shape == (1, *shape[1:])
        assert two["raw"].shape == (2, *shape[1:])
        assert not np.array_equal(two["raw"][0], two["raw"][1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_format(kind, tmp_path):
    make, sample = KINDS[kind]
    output = {} if kind == "perceptron" else {"channel_names": ["a", "b", "c", "d"][: make().output_shape[-1]]}
    packed = bmzpack.pack(make(), describe(sample, **output), tmp_path / "a.zip")
    assert list(packed.agreement) == list(FORMATS)
    assert all(entry["max_abs_error"] < 1e-5 for entry in packed.agreement.values())
    found, verdict = verdicts(packed.path)
    assert verdict == NO_IMAGES
    assert found == {"fiji": {"T5"}, "ilastik": {"T5"}, "qupath": {"T5"}, "core": {"R10"}}
    report = bmzpack.test(packed.path)
    assert report.passed, report.as_dict()
    statuses = {name: (entry.core, entry.engine) for name, entry in report.formats.items()}
    assert statuses == dict.fromkeys(FORMATS, ("passed", "passed"))


def test_a_class_that_adds_to_training_only_is_left_out(tmp_path):
    class Teacher(keras.Model):
        def train_step(self, data):
            raise AssertionError("nobody trains here")

    inputs = keras.Input((2,), name="raw")
    model = Teacher(inputs, keras.layers.Dense(2, activation="softmax", name="probability")(inputs), name="taught")
    description = {"name": "Two numbers", "inputs": [{"test_image": np.array([1.0, -2.0], "float32")}]}
    packed = bmzpack.pack(model, description, tmp_path / "bundle.zip", formats=["keras_v3"])
    assert packed.agreement["keras_v3"]["max_abs_error"] == 0
