"""Official weights of Cellpose and Omnipose: every tensor in its place, and other files refused."""

import keras
import numpy as np
import pytest

from bmzpack.errors import UserError
from kerazoo.models.cellpose import checkpoint as converter
from kerazoo.models.cellpose.checkpoint import read_network
from kerazoo.models.cellpose.network import cellpose
from kerazoo.models.omnipose.network import omnipose
from kerazoo.training.convert import convert


def official(channels=2, outputs=3):
    """Tensors by the official names, in the official shapes, every value its own."""
    model = cellpose((None, None, channels), outputs)
    random = np.random.default_rng(1)
    tensors = {}
    for name, (layer, variable) in converter._TENSORS.items():
        shape = tuple(getattr(model.get_layer(layer), variable).shape)
        if variable == "kernel":
            shape = shape[::-1][:2] if name.endswith(".full.weight") else (*shape[:1:-1], *shape[:2])
        tensors[name] = random.random(shape).astype(np.float32)
        if variable == "moving_mean":
            tensors[name.replace("running_mean", "num_batches_tracked")] = np.array(7)
    return tensors | {"diam_mean": np.float32([30]), "diam_labels": np.float32([17.5])}


@pytest.fixture
def checkpoint(monkeypatch):
    """A function that makes these tensors the content of a file, and returns its name."""

    def write(tensors):
        monkeypatch.setattr(converter, "read_torch_file", lambda path: tensors)
        return "official.pth"

    return write


def test_every_tensor_is_used_once(checkpoint):
    tensors = official()
    assert len(tensors) == 313
    model, diameters = read_network(checkpoint(tensors), cellpose)
    assert diameters == {"diam_mean": 30.0, "diam_labels": 17.5}
    places = list(converter._TENSORS.values())
    assert len(set(places)) == len(places) == len(model.weights) == 270
    values = np.sort(np.concatenate([np.ravel(keras.ops.convert_to_numpy(weight)) for weight in model.weights]))
    given = [np.ravel(tensors[name]) for name in converter._TENSORS]
    np.testing.assert_array_equal(values, np.sort(np.concatenate(given)))
    kernel = keras.ops.convert_to_numpy(model.get_layer("decoder2_convolution3").kernel)
    name = "upsample.up.res_up_1.conv.conv_2.conv.2.weight"
    np.testing.assert_array_equal(kernel, tensors[name].transpose(2, 3, 1, 0))
    style = keras.ops.convert_to_numpy(model.get_layer("decoder1_convolution4_style").kernel)
    np.testing.assert_array_equal(style[0, 0], tensors["upsample.up.res_up_0.conv.conv_3.full.weight"].T)


def test_outputs_and_channels_are_those_of_the_file(checkpoint):
    tensors = official(channels=1, outputs=4)
    del tensors["diam_mean"], tensors["diam_labels"]
    model, diameters = read_network(checkpoint(tensors), omnipose)
    assert (model.name, model.input_shape[-1], model.output_shape[-1]) == ("omnipose", 1, 4)
    assert diameters == {}
    model, _ = read_network(checkpoint(official(channels=1)), omnipose)
    assert (model.name, model.output_shape[-1]) == ("omnipose", 3)


STEM = "downsample.down.res_down_0.conv.conv_0.2.weight"
DEEP = "downsample.down.res_down_3.conv.conv_3.2.weight"


def changed(name, values):
    tensors = official()
    if values is None:
        del tensors[name]
    else:
        tensors[name] = np.asarray(values, np.float32)
    return tensors


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        (DEEP, None, f"269 of the 270 tensors .*{DEEP} is missing"),
        ("extra.weight", [1], "extra.weight"),
        (DEEP, np.ones((256, 128, 3, 3)), "another width"),
        (DEEP, np.full((256, 256, 3, 3), np.nan), "no numbers"),
        (STEM, np.ones((32, 2, 3, 3, 3)), "volumes"),
        ("output.2.weight", np.ones((7, 32, 1, 1)), "7 outputs"),
        ("output.2.bias", np.ones(4), "output.2.bias"),
        ("diam_mean", [1, 2], "diam_mean"),
        ("W2", [1], "Cellpose-SAM"),
        ("encoder.blocks.0.norm1.weight", [1], "another network"),
    ],
)
def test_another_network_is_refused(checkpoint, name, values, reason):
    with pytest.raises(UserError, match=reason):
        read_network(checkpoint(changed(name, values)), cellpose)


def test_a_checkpoint_becomes_a_run_for_grey_images(checkpoint, tmp_path):
    """As the official package does it, with zeros in place of the second channel."""
    tensors = official()
    checkpoint(tensors)
    path = tmp_path / "cyto.pth"
    path.touch()
    run = convert("cellpose", path, tmp_path / "run")
    recipe = run.recipe
    assert (recipe.channels, recipe.scale.network, recipe.scale.images) == (1, 30.0, 17.5)
    grey = np.random.default_rng(0).random((1, 32, 40, 1)).astype(np.float32)
    both = np.concatenate([grey, np.zeros_like(grey)], axis=-1)
    expected = read_network(path, cellpose)[0].predict_on_batch(both)
    found = keras.saving.load_model(run.model_path, compile=False).predict_on_batch(grey)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert convert("cellpose", path, tmp_path / "two", channels=2).recipe.channels == 2
    assert run.recipe.normalisation.high == 99
    with pytest.raises(UserError, match="choose from 1 to 2"):
        convert("cellpose", path, tmp_path / "three", channels=3)
    with pytest.raises(UserError, match="By its outputs it is cellpose"):
        convert("omnipose", path, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(("kind", "build", "edge"), [("cellpose", cellpose, 2), ("omnipose", omnipose, 0)])
def test_a_converted_run_is_where_a_training_on_grey_images_starts(checkpoint, tmp_path, kind, build, edge):
    """The network of one channel gives what that of two gives with zeros in the second, away from the edges."""
    checkpoint(official(outputs=3 if kind == "cellpose" else 4))
    path = tmp_path / "official.pth"
    path.touch()
    run = convert(kind, path, tmp_path / "run")
    start = build((None, None, 1), weights=run.model_path)
    grey = np.random.default_rng(0).random((1, 64, 64, 1)).astype(np.float32)
    first = [
        keras.Model(model.inputs, model.get_layer("encoder1_add1").output)
        for model in (keras.saving.load_model(run.model_path, compile=False).layers[-1], start)
    ]
    expected = first[0].predict_on_batch(np.concatenate([grey, np.zeros_like(grey)], axis=-1))
    inner = slice(edge, 64 - edge)
    found = first[1].predict_on_batch(grey)
    np.testing.assert_allclose(found[:, inner, inner], expected[:, inner, inner], rtol=1e-4, atol=1e-4)


def test_channels_are_scaled_as_by_the_official_packages(checkpoint, tmp_path):
    checkpoint(official(outputs=4))
    path = tmp_path / "official.pth"
    path.touch()
    normalisation = convert("omnipose", path, tmp_path / "run", channels=2).recipe.normalisation
    assert (normalisation.low, normalisation.high, normalisation.per_channel) == (0.01, 99.99, True)


def test_nothing_but_a_run_is_replaced(checkpoint, tmp_path):
    checkpoint(official())
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "data.txt").write_text("three years")
    path = folder / "cyto.pth"
    path.touch()
    with pytest.raises(UserError, match="not a run folder"):
        convert("cellpose", path, folder, overwrite=True)
    run = convert("cellpose", path, tmp_path / "run")
    inside = run.path / "cyto.pth"
    inside.touch()
    with pytest.raises(UserError, match="would be replaced"):
        convert("cellpose", inside, run.path, overwrite=True)
    assert inside.exists()
    assert (folder / "data.txt").exists()
