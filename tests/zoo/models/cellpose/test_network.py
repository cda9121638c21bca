"""The networks of Cellpose and Omnipose: the published sizes, the style, edges, and what they refuse."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from bmzpack.errors import UserError
from kerazoo.models.cellpose.network import cellpose
from kerazoo.models.omnipose.network import omnipose
from kerazoo.training.precision import policy


def trainable(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


@pytest.mark.parametrize(
    ("builder", "channels", "outputs", "expected"),
    [
        (cellpose, 2, 3, 6_600_843),
        (cellpose, 1, 3, 6_600_519),  # 6,600,521 with the two diameters that the official network counts
        (omnipose, 2, 4, 6_600_876),
        (omnipose, 1, 3, 6_600_519),
    ],
)
def test_published_parameters(builder, channels, outputs, expected):
    """The official count is of what is trained: without the means and variances of batch normalisation."""
    model = builder((None, None, channels), outputs)
    assert trainable(model) == expected
    assert model.count_params() - trainable(model) == 9_540 + 4 * (channels - 1)


def test_defaults_are_the_official_networks():
    assert trainable(cellpose()) == 6_600_843
    assert trainable(omnipose()) == 6_600_876
    assert trainable(cellpose(padding="reflect", outputs=4)) == 6_600_876


def test_the_dictionary_of_tensors():
    model = cellpose()
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 41
    assert {(layer.epsilon, layer.momentum) for layer in norms} == {(1e-5, 0.95)}
    assert (model.input.name, model.output_names) == ("raw", ["flows"])
    assert not [layer.name for layer in model.layers if "." in layer.name]
    # 313 tensors with a step count of each norm and two diameters.
    assert len(model.weights) == 313 - 41 - 2


@pytest.mark.parametrize(("builder", "size"), [(cellpose, (8, 24)), (omnipose, (16, 40))])
def test_output_has_the_size_of_the_image(builder, size):
    model = builder((None, None, 1), 3)
    assert model.predict_on_batch(np.zeros((2, *size, 1), np.float32)).shape == (2, *size, 3)


def test_style_is_of_length_one_and_reaches_everywhere():
    image = np.random.default_rng(1).normal(size=(1, 256, 256, 1)).astype(np.float32)
    other = image.copy()
    other[:, -16:, -16:] += 3
    corner = np.s_[:, :16, :16]
    with_style, without = cellpose((None, None, 1)), cellpose((None, None, 1), style=False)
    assert np.abs(with_style.predict_on_batch(image) - with_style.predict_on_batch(other))[corner].max() > 1e-6
    np.testing.assert_array_equal(without.predict_on_batch(image)[corner], without.predict_on_batch(other)[corner])
    style = keras.Model(with_style.input, with_style.get_layer("style").output).predict_on_batch(image)
    assert style.shape == (1, 1, 1, 256)
    np.testing.assert_allclose(np.linalg.norm(style), 1, rtol=1e-5)


def test_every_layer_starts_from_values_of_its_own():
    model = cellpose()
    one, other = (model.get_layer(f"encoder1_convolution{number}").kernel.numpy() for number in (2, 3))
    assert one.shape == other.shape
    assert np.abs(one - other).max() > 0.01
    assert np.abs(one).max() <= 1 / np.sqrt(9 * 32)


def test_reflected_edges_do_not_darken():
    """A constant image stays constant where edges are reflected, and not where zeros are beyond them."""
    image = np.ones((1, 32, 32, 1), np.float32)
    assert np.ptp(omnipose((None, None, 1)).predict_on_batch(image), axis=(1, 2)).max() < 1e-5
    assert np.ptp(cellpose((None, None, 1)).predict_on_batch(image), axis=(1, 2)).max() > 1e-3


@pytest.mark.parametrize("builder", [cellpose, omnipose])
def test_saved_and_loaded(builder, tmp_path):
    model = builder((None, None, 1), 3)
    model.save(tmp_path / "model.keras")
    image = np.random.default_rng(1).normal(size=(1, 16, 24, 1)).astype(np.float32)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(image), model.predict_on_batch(image))
    again = builder((None, None, 1), 3, weights=tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict_on_batch(image), model.predict_on_batch(image))


def test_output_is_float32_in_mixed_precision():
    with policy("mixed_bfloat16"):
        model = cellpose()
    assert model.get_layer("encoder1_convolution1").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


PROGRAM = """
import sys
import keras, numpy as np
from kerazoo.models.cellpose.loss import FlowLoss
data = np.load(sys.argv[1] + "/data.npz")
results = {}
for name in ("cellpose", "omnipose"):
    model = keras.saving.load_model(f"{sys.argv[1]}/{name}.keras", compile=False)
    results[name] = model.predict_on_batch(data["x"])
results["loss"] = np.asarray(keras.ops.convert_to_numpy(FlowLoss()(data["y"], results["cellpose"])))
model = keras.saving.load_model(f"{sys.argv[1]}/cellpose.keras", compile=False)
model.compile(keras.optimizers.Adam(1e-3), FlowLoss())
losses = model.fit(data["x"], data["y"], epochs=8, verbose=0).history["loss"]
assert losses[-1] < 0.8 * losses[0], losses
np.savez(f"{sys.argv[1]}/{keras.backend.backend()}.npz", **results)
"""


@pytest.mark.slow
def test_same_on_every_backend(tmp_path):
    random = np.random.default_rng(1)
    y = random.uniform(-1, 1, (2, 16, 24, 3)).astype(np.float32)
    y[..., 2] = random.integers(-1, 2, y.shape[:3])
    np.savez(tmp_path / "data.npz", x=random.normal(size=(2, 16, 24, 2)).astype(np.float32), y=y)
    cellpose().save(tmp_path / "cellpose.keras")
    omnipose().save(tmp_path / "omnipose.keras")
    results = {}
    for backend in ("tensorflow", "jax", "torch"):  # each in a process: TensorFlow and torch do not go together
        command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
        done = subprocess.run(command, env=os.environ | {"KERAS_BACKEND": backend}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        results[backend] = dict(np.load(tmp_path / f"{backend}.npz"))
    for backend in ("jax", "torch"):
        for name, expected in results["tensorflow"].items():
            np.testing.assert_allclose(results[backend][name], expected, atol=1e-4, err_msg=f"{backend} {name}")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"padding": "valid"}, "zeros or reflect"),
        ({"outputs": 0}, "outputs"),
        ({"input_shape": (None, None, None)}, "channels"),
        ({"input_shape": (100, 128, 2)}, "multiple of 8"),
        ({"weights": "nothing.npz"}, "nothing.npz"),
    ],
)
def test_wrong_arguments(arguments, expected):
    with pytest.raises(UserError, match=expected):
        cellpose(**arguments)
