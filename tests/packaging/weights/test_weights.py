"""Every weights format is written by the rules of its consumers, computes what Keras computes, and is repeatable."""

import importlib.util
import json
import zipfile

import h5py
import keras
import numpy as np
import onnx
import pytest
from keras import layers
from keras.src.legacy.saving import legacy_h5_format
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from bmzpack import weights
from bmzpack.errors import UserError
from bmzpack.weights import TensorNames, tensor_names, write_all
from bmzpack.weights.model import load
from bmzpack.weights.source import check_source

SIZES = ((64, 64), (48, 80), (96, 32))
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


def network() -> keras.Model:
    """Two inputs and two outputs in no alphabetical order, and every layer that has made trouble somewhere."""
    raw = keras.Input((None, None, 2), name="raw")
    mask = keras.Input((None, None, 1), name="mask")
    x = layers.Concatenate(name="both")([layers.Rescaling(2.0, -1.0, name="scaling")(raw), mask])
    x = layers.Rescaling([1.0, 2.0, 0.5], name="per_channel")(x)
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="encoder1")(x)
    x = skip = layers.ReLU(name="encoder1_relu")(layers.BatchNormalization(name="encoder1_norm")(x))
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", name="encoder2")(x)
    x = layers.Conv2D(12, 1, activation="gelu", name="encoder2_pointwise")(x)
    x = layers.Conv2DTranspose(8, 2, strides=2, name="decoder1_up")(layers.MaxPooling2D(2, name="pool")(x))
    x = layers.UpSampling2D(2, name="decoder2_up")(x)
    x = layers.Concatenate(name="decoder2")([skip, x])
    x = layers.SeparableConv2D(8, 3, padding="same", activation="silu", name="decoder2_convolution")(x)
    distances = layers.Conv2D(1, 3, padding="same", name="distances")(x)
    probability = layers.Conv2D(3, 1, activation="softmax", name="probability")(x)
    model = keras.Model([raw, mask], [probability, distances], name="network")
    generator = np.random.default_rng(0)
    for weight in model.weights:  # biases too: zeros would hide their loss
        spread = (0.5, 1.5) if "variance" in weight.path else (-0.5, 0.5)
        weight.assign(generator.uniform(*spread, weight.shape))
    return model


def own_loss(truth, prediction):
    return keras.ops.mean(prediction)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The network, its inputs, and what was written of it."""
    folder = tmp_path_factory.mktemp("weights")
    model = network()
    model.compile("adam", loss=own_loss)  # must not get in the way
    path = folder / "model.keras"
    model.save(path)
    generator = np.random.default_rng(0)
    inputs = [
        {
            "raw": generator.uniform(size=(1, *size, 2)).astype(np.float32),
            "mask": generator.uniform(size=(1, *size, 1)).astype(np.float32),
        }
        for size in SIZES
    ]
    (folder / "first").mkdir()
    written = {entry.format: entry for entry in write_all(path, folder / "first", tensor_names(path), inputs)}
    return model, inputs, written


def test_names_in_order(packed):
    assert packed[2]["onnx"].path.parents[1].joinpath("model.keras").exists()
    assert tensor_names(packed[2]["onnx"].path.parents[1] / "model.keras") == TensorNames(
        ["raw", "mask"], ["probability", "distances"]
    )


def test_all_formats_agree_with_keras_at_three_sizes(packed):
    model, inputs, written = packed
    assert list(written) == weights.choose_formats(None)
    for entry in written.values():
        assert entry.max_abs_error < 1e-5
        assert 0 < entry.latency_s < 10
        assert entry.parent == (None if entry.format == "keras_v3" else "keras_v3")
        for given, outputs in zip(inputs, entry.outputs, strict=True):
            for name, expected in zip(["probability", "distances"], model([given["raw"], given["mask"]]), strict=True):
                expected = keras.ops.convert_to_numpy(expected)
                assert np.abs(outputs[name] - expected).max() < 1e-5 * np.ptp(expected)


@pytest.mark.parametrize(
    "formats", [["keras_v3", "onnx"], pytest.param(weights.choose_formats(None), marks=pytest.mark.slow)]
)
def test_writing_twice_gives_the_same_bytes(packed, formats, tmp_path):
    _, inputs, written = packed
    path = written["onnx"].path.parents[1] / "model.keras"
    for entry in write_all(path, tmp_path, tensor_names(path), inputs, formats):
        assert entry.path.read_bytes() == written[entry.format].path.read_bytes()


def test_versions_have_three_numbers(packed):
    for entry in packed[2].values():
        for name, version in entry.versions.items():
            assert isinstance(version, int) if name == "opset_version" else version.count(".") == 2
    assert packed[2]["onnx"].versions == {"opset_version": 15}


def test_no_path_of_this_machine(packed):
    for entry in packed[2].values():
        content = entry.path.read_bytes()
        assert b"site-packages" not in content
        assert str(entry.path.parents[1]).encode() not in content


def test_original_has_no_training_state(packed):
    with zipfile.ZipFile(packed[2]["keras_v3"].path) as archive:
        assert not json.loads(archive.read("config.json"))["compile_config"]
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_hdf5_loads_as_core_loads_it(packed):
    model, inputs, written = packed
    with h5py.File(written["keras_hdf5"].path) as file:
        loaded = legacy_h5_format.load_model_from_hdf5(file)
    given = [inputs[0]["raw"], inputs[0]["mask"]]
    np.testing.assert_allclose(*(keras.ops.convert_to_numpy(m(given)[1]) for m in (loaded, model)), atol=1e-6)


def test_saved_model_for_fiji(packed):
    model, _, written = packed
    with zipfile.ZipFile(written["tensorflow_saved_model_bundle"].path) as archive:
        assert archive.namelist() == ["saved_model.pb", "variables/"]
        content = archive.read("saved_model.pb")
    assert len(content) < 4 * model.count_params() + 100_000  # every weight once
    saved = SavedModel.FromString(content)
    (graph,) = saved.meta_graphs
    assert list(graph.meta_info_def.tags) == ["serve"]
    signature = graph.signature_def["serving_default"]
    assert set(signature.inputs) == {"raw", "mask"}
    assert set(signature.outputs) == {"probability", "distances"}
    operations = {node.op for node in graph.graph_def.node}
    assert not {op for op in operations if "Variable" in op or "Call" in op or op == "DisableCopyOnRead"}
    fields = {field.name: value for field, value in graph.graph_def.ListFields()}
    assert not ("library" in fields and fields["library"].function)


def test_onnx_for_fiji(packed):
    exported = onnx.load(packed[2]["onnx"].path)
    assert (exported.ir_version, exported.opset_import[0].version) == (8, 15)
    sizes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in [*exported.graph.input, *exported.graph.output]
    }
    assert sizes == {
        "raw": ["batch", "raw_y", "raw_x", 2],
        "mask": ["batch", "mask_y", "mask_x", 1],
        "probability": ["batch", "probability_y", "probability_x", 3],
        "distances": ["batch", "distances_y", "distances_x", 1],
    }
    operations = [node.op_type for node in exported.graph.node]
    assert operations.count("Transpose") <= 4  # at the ends, not around every convolution
    assert "Tile" not in operations


@needs_torch
def test_torchscript_has_no_device(packed):
    # torch and TensorFlow do not live in one process: look into the code
    with zipfile.ZipFile(packed[2]["torchscript"].path) as archive:
        code = b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".py"))
        assert not [name for name in archive.namelist() if name.endswith("debug_pkl")]
    assert b"contiguous" not in code
    moves = [line for line in code.decode().splitlines() if "torch.to(" in line and "torch.device" in line]
    assert not [line for line in moves if "CONSTANTS" not in line]


def test_a_vector_of_length_one_for_the_whole_image(tmp_path):
    """The style of Cellpose: tf2onnx makes a wrong shape of a square between transpositions."""
    raw = keras.Input((None, None, 1), name="raw")
    x = layers.Conv2D(8, 3, padding="same")(raw)
    style = layers.UnitNormalization()(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Add()([x, layers.Conv2D(8, 1)(style)])
    keras.Model(raw, layers.Conv2D(2, 3, padding="same", name="out")(x)).save(tmp_path / "model.keras")
    given = [{"raw": np.random.default_rng(0).normal(size=(1, 16, 24, 1)).astype(np.float32)}]
    (original, written) = write_all(
        tmp_path / "model.keras", tmp_path, tensor_names(tmp_path / "model.keras"), given, ["keras_v3", "onnx"]
    )
    assert written.outputs[0]["out"].shape == (1, 16, 24, 2)
    np.testing.assert_allclose(written.outputs[0]["out"], original.outputs[0]["out"], atol=1e-5)


def test_mixed_precision_becomes_float32(tmp_path):
    inputs = keras.Input((None, None, 1), name="raw")
    x = layers.Conv2D(2, 3, dtype="mixed_bfloat16", name="convolution")(inputs)
    model = keras.Model(inputs, layers.Conv2D(1, 1, dtype="float32", name="probability")(x))
    model.save(tmp_path / "model.keras")
    loaded = load(tmp_path / "model.keras")
    assert {layer.compute_dtype for layer in loaded.layers} == {"float32"}
    for before, after in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def saved(tmp_path, outputs, inputs=None):
    model = keras.Model(inputs if inputs is not None else keras.utils.get_source_inputs(outputs), outputs)
    path = tmp_path / "model.keras"
    model.save(path)
    return path


def image(**arguments):
    return keras.Input((None, None, 1), **{"name": "raw"} | arguments)


@keras.saving.register_keras_serializable("laboratory")
class OwnLayer(layers.Layer):
    def call(self, inputs):
        return inputs


@keras.saving.register_keras_serializable("laboratory")
def own_function(inputs):
    return inputs


@needs_torch
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: layers.Lambda(lambda x: x, name="trick")(image()), "Lambda layer 'trick'"),
        (lambda: OwnLayer(name="own")(image()), "'own' is custom code"),
        (lambda: layers.Activation(own_function, name="act")(image()), "custom code"),
        (lambda: layers.Conv2D(1, 1, name="probability")(keras.Input((None, None, 1))), "no name of its own"),
        (lambda: layers.Rescaling(1.0, name="out")(image(dtype="uint8")), "'raw' is uint8"),
        (lambda: layers.UpSampling2D(interpolation="bilinear", name="up")(image()), "nearest interpolation"),
        (lambda: layers.Conv2D(1, 1, name="a.b")(image()), "without dots"),
    ],
)
def test_models_that_no_bundle_can_carry(tmp_path, build, message):
    path = saved(tmp_path, build())
    with pytest.raises(UserError, match=message) as caught:
        write_all(path, tmp_path, TensorNames(["raw"], ["out"]), [], ["keras_v3", "torchscript"])
    assert str(path) in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.keras"]


def test_custom_code_inside_a_nested_model(tmp_path):
    inner = keras.Sequential([layers.Conv2D(1, 1), OwnLayer(name="own")], name="inner")
    with pytest.raises(UserError, match="'own' is custom code"):
        check_source(saved(tmp_path, inner(image())), TensorNames(["raw"], ["out"]), [])


def test_names_that_keras_made_up(tmp_path):
    with pytest.raises(UserError, match="output 'conv2d"):
        tensor_names(saved(tmp_path, layers.Conv2D(1, 1)(image())))


def test_names_of_dictionaries_and_sequences(tmp_path):
    ends = {"b": keras.Input((4,), name="b"), "a": keras.Input((4,), name="a")}
    assert tensor_names(saved(tmp_path, layers.Add(name="sum")(list(ends.values())), ends)).inputs == ["a", "b"]
    sequence = keras.Sequential([image(), layers.Conv2D(1, 1, name="probability")])
    sequence.save(tmp_path / "model.keras")
    assert tensor_names(tmp_path / "model.keras") == TensorNames(["raw"], ["probability"])
    assert load(tmp_path / "model.keras").output_names == ["probability"]


def test_another_number_of_tensors(tmp_path):
    path = saved(tmp_path, layers.Conv2D(1, 1, name="probability")(image()))
    with pytest.raises(UserError, match="has 1 outputs, but 2 are described"):
        check_source(path, TensorNames(["raw"], ["a", "b"]), [])


def test_half_precision_output(tmp_path):
    path = saved(tmp_path, layers.Conv2D(1, 1, dtype="float64", name="probability")(image()))
    assert load(path).outputs[0].dtype == "float32"
    path = saved(tmp_path, keras.ops.cast(image(), "int32"))
    with pytest.raises(UserError, match="int32"):
        load(path)


@pytest.mark.parametrize("content", [None, b"not a zip"])
def test_no_keras_file(tmp_path, content):
    path = tmp_path / "model.keras"
    if content:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.keras"):
        tensor_names(path)


def test_formats_that_cannot_be_written(tmp_path, monkeypatch, caplog):
    path = saved(tmp_path, layers.Conv2D(1, 1, name="probability")(image()))
    names = TensorNames(["raw"], ["probability"])
    with pytest.raises(UserError, match="choose from keras_v3"):
        write_all(path, tmp_path, names, [], ["tflite"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install kerazoo\[torch\]"):
        write_all(path, tmp_path, names, [], ["torchscript"])
    assert "torchscript" not in weights.choose_formats(None)
    assert "kerazoo[torch]" in caplog.text


def test_weights_that_are_not_finite(tmp_path):
    inputs = image()
    layer = layers.Conv2D(1, 1, name="probability")
    outputs = layer(inputs)
    layer.set_weights([np.full((1, 1, 1, 1), np.nan), np.zeros(1)])
    path = saved(tmp_path, outputs, inputs)
    with pytest.raises(UserError, match="not finite"):
        write_all(path, tmp_path, tensor_names(path), [{"raw": np.ones((1, 8, 8, 1), np.float32)}], ["keras_v3"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.keras"]


@pytest.mark.slow
def test_formats_that_a_model_has_not_are_left_out(tmp_path, caplog):
    path = saved(tmp_path, layers.Conv2D(1, 3, name="probability")(keras.ops.tanh(image())))
    given = [{"raw": np.ones((1, size, size, 1), np.float32)} for size in (8, 16, 11)]
    written = write_all(path, tmp_path, tensor_names(path), given)
    assert [entry.format for entry in written] == [
        name for name in weights.choose_formats(None) if name != "keras_hdf5"
    ]
    assert "keras_hdf5 is left out" in caplog.text  # Keras 2 had no operations
    with pytest.raises(UserError, match="--formats"):
        write_all(path, tmp_path, tensor_names(path), given, ["keras_hdf5"])


@pytest.mark.slow
def test_network_of_31_million(tmp_path):

    def block(x, width):
        for _ in range(2):
            x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(width, 3, padding="same", use_bias=False)(x)))
        return x

    inputs = x = image()
    skips = []
    for level in range(4):
        skips.append(block(x, 64 * 2**level))
        x = layers.MaxPooling2D(2)(skips[-1])
    x = block(x, 1024)
    for level, skip in reversed(list(enumerate(skips))):
        x = layers.Conv2DTranspose(64 * 2**level, 2, strides=2)(x)
        x = block(layers.Concatenate()([skip, x]), 64 * 2**level)
    path = saved(tmp_path, layers.Conv2D(2, 1, activation="softmax", name="probability")(x), inputs)
    given = [{"raw": np.random.default_rng(0).normal(size=(1, s, s, 1)).astype(np.float32)} for s in (64, 48, 80)]
    formats = ["keras_v3", "tensorflow_saved_model_bundle", "onnx"]
    for entry in write_all(path, tmp_path, tensor_names(path), given, formats):
        assert 31_000_000 * 4 < entry.path.stat().st_size < 31_100_000 * 4 + 500_000
        assert entry.max_abs_error < 1e-5
