"""Bundles: the zoo's own give what the run gives; those of others give what they describe, or say what is missing."""

import json
import zipfile

import keras
import numpy as np
import pytest
import yaml

import bmzpack
from arrays import only
from bmzpack.errors import UserError
from bmzpack.operations import processing
from kerazoo.config import DecodingConfig
from kerazoo.data.normalise import Normalisation
from kerazoo.inference.bundle import derived_recipe, load_bundle
from kerazoo.inference.load import load_predictor
from kerazoo.inference.network import Network
from kerazoo.inference.predictor import Predictor
from kerazoo.models.recipe import Recipe, TileGeometry


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    raw = keras.Input((None, None, 3), name="raw")
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu")(raw)
    x = keras.layers.UpSampling2D()(keras.layers.MaxPooling2D()(x))
    return keras.Model(raw, keras.layers.Conv2D(3, 3, padding="same", activation="softmax", name="probability")(x))


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(2).integers(0, 255, (90, 101, 3)).astype(np.uint8)


def packed(model, path, image, preprocessing, **config):
    return bmzpack.pack(
        model,
        {
            "name": "Small network",
            "inputs": [
                {
                    "test_image": image[:64, :64],
                    "channel_names": ["red", "green", "blue"],
                    "preprocessing": [preprocessing],
                }
            ],
            "outputs": [{"channel_names": ["background", "gland", "stroma"]}],
            "config": config,
        },
        path,
        formats=["keras_v3"],
    ).path


@pytest.fixture(scope="module")
def foreign(model, image, tmp_path_factory):
    """A bundle without the zoo's recipe."""
    standardisation = {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["channel", "y", "x"]}}
    return packed(model, tmp_path_factory.mktemp("foreign") / "foreign.zip", image, standardisation)


def test_bundle_of_others(model, image, foreign, tmp_path):
    predictor = load_predictor(foreign)
    raw = Normalisation(method="standardisation").apply(np.pad(image, [(0, 0), (0, 1), (0, 0)], mode="reflect"))
    raw[:, :101] = Normalisation(method="standardisation").apply(image)
    raw[:, 101] = raw[:, 99]
    expected = model.predict(raw[None], verbose=0)[0, :, :101]
    np.testing.assert_allclose(only(predictor.outputs(image)), expected, atol=1e-5)
    np.testing.assert_array_equal(predictor.result(image), expected.argmax(-1))
    assert predictor.recipe.classes == ["background", "gland", "stroma"]
    assert predictor.recipe.channel_names == ["red", "green", "blue"]
    assert predictor.recipe.geometry.step == 2

    with zipfile.ZipFile(foreign) as archive:
        archive.extractall(tmp_path)
    np.testing.assert_array_equal(load_predictor(tmp_path / "rdf.yaml").result(image), predictor.result(image))


def test_bundle_of_the_zoo(model, image, tmp_path):
    """Means per channel have no place in the declared preprocessing: the packer puts them into the network."""
    recipe = Recipe(
        model="unet2d",
        task="semantic",
        channels=3,
        channel_names=["red", "green", "blue"],
        classes=["background", "gland", "stroma"],
        targets="classes",
        ignore=255,
        normalisation=Normalisation(method="centering", maximum=255, mean=[0.3, 0.5, 0.6]),
        decoding=DecodingConfig(minimum_size=7),
        geometry=TileGeometry(step=2, halo=4, minimum=2),
    )
    operation = {
        "id": "scale_linear",
        "kwargs": {"axis": "channel", "gain": [1 / 255] * 3, "offset": [-0.3, -0.5, -0.6]},
    }
    path = packed(model, tmp_path / "own.zip", image, operation, kerazoo=recipe.model_dump(mode="json"))
    expected = only(Predictor(Network(model), recipe).outputs(image))
    predictor = load_predictor(path)
    np.testing.assert_allclose(only(predictor.outputs(image)), expected, atol=1e-5)
    assert predictor.recipe.model_copy(update={"normalisation": recipe.normalisation}) == recipe


@pytest.mark.slow
def test_bundle_of_valid_convolutions(image, tmp_path):
    """Packed with a rim of zeros, which is not part of any result."""
    keras.utils.set_random_seed(1)
    raw = keras.Input((None, None, 3), name="raw")
    x = keras.layers.MaxPooling2D()(keras.layers.Conv2D(6, 3, activation="relu")(raw))
    x = keras.layers.Conv2D(3, 3, activation="softmax")(keras.layers.UpSampling2D()(x))
    model = keras.Model(raw, keras.layers.Identity(name="probability")(x))
    standardisation = {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["channel", "y", "x"]}}
    predictor = load_predictor(packed(model, tmp_path / "valid.zip", image, standardisation))
    assert predictor.recipe.geometry.margin == 2
    expected = only(Predictor(Network(model), predictor.recipe).outputs(image))
    np.testing.assert_allclose(only(predictor.outputs(image)), expected, atol=1e-5)
    np.testing.assert_allclose(expected.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("operation", "method"),
    [
        ({"id": "scale_range", "kwargs": {"min_percentile": 2, "max_percentile": 99}}, "percentile"),
        ({"id": "scale_linear", "kwargs": {"gain": 0.25, "offset": -0.5}}, "centering"),
        ({"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 100.0, "std": 20.0}}, "standardisation"),
        ({"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}, "none"),
    ],
)
def test_preprocessing_is_that_of_bioimageio_core(foreign, tmp_path, image, operation, method):
    folder = changed(foreign, tmp_path, lambda rdf: rdf["inputs"][0].update(preprocessing=[operation]))
    recipe = derived_recipe(yaml.safe_load((folder / "rdf.yaml").read_text()), "the bundle")
    assert recipe.normalisation.method == method
    (entry,) = yaml.safe_load((folder / "rdf.yaml").read_text())["inputs"]
    computed = processing.preprocess([entry], {"raw": image[None].astype(np.float32)})
    expected = processing.arrays(computed, ["raw"])["raw"][0]
    np.testing.assert_allclose(recipe.normalisation.apply(image), expected, rtol=1e-5, atol=1e-5)


def changed(bundle, folder, change):
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)
    path = folder / "rdf.yaml"
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rdf: rdf["weights"].update(onnx=rdf["weights"].pop("keras_v3")), "no keras_v3 weights"),
        (lambda rdf: rdf.update(format_version="0.4.9"), "format_version 0.4.9"),
        (lambda rdf: rdf["config"].update(kerazoo={"model": "unet2d"}), "`task` is missing"),
        (lambda rdf: rdf["config"].update(kerazoo={"form": "prompts"}), "a bundle of the form prompts"),
        (lambda rdf: rdf["inputs"].append(rdf["inputs"][0]), "2 inputs and 1 outputs"),
        (lambda rdf: rdf["inputs"][0]["axes"].reverse(), "has the axes channel, x, y, batch"),
        (lambda rdf: rdf["outputs"][0]["axes"][3].update(channel_names=["a"]), "one output channel"),
        (lambda rdf: rdf["outputs"][0].update(postprocessing=[{"id": "sigmoid"}]), r"postprocessing \(sigmoid\)"),
        (lambda rdf: rdf["inputs"][0].update(preprocessing=[{"id": "clip"}]), "preprocessing that cannot be done"),
        (lambda rdf: rdf["inputs"][0]["preprocessing"][0]["kwargs"].update(axes=["y", "x"]), "zero_mean_unit_variance"),
        (lambda rdf: rdf["inputs"][0]["preprocessing"][0]["kwargs"].update(eps=0.01), "'eps': 0.01"),
    ],
)
def test_what_is_missing_is_said(foreign, tmp_path, change, message):
    folder = changed(foreign, tmp_path, change)
    with pytest.raises(UserError, match=message):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["labels", "embeddings"])
def test_names_of_tensors_of_others_mean_nothing(foreign, tmp_path, image, name):
    folder = changed(foreign, tmp_path, lambda rdf: rdf["outputs"][0].update(id=name))
    assert load_predictor(folder).recipe.classes == ["background", "gland", "stroma"]


def test_no_bundle(tmp_path):
    (tmp_path / "file.zip").write_bytes(b"no zip")
    for path in (tmp_path, tmp_path / "file.zip"):
        with pytest.raises(UserError, match=path.name):
            load_predictor(path)


DEEP = "[" * 5000 + "]" * 5000
STRANGE = {
    "a bomb of aliases": (
        lambda rdf: rdf["config"].update(kerazoo={"model": "@bomb"}),
        lambda text: text.replace("'@bomb'", "*l7").replace(
            "config:",
            "bomb:\n  - &l0 [x]\n"
            + "".join(f"  - &l{n + 1} [{', '.join([f'*l{n}'] * 9)}]\n" for n in range(7))
            + "config:",
        ),
        "a bomb",
    ),
    "deep lists": (lambda rdf: rdf.update(name="@deep"), lambda text: text.replace("'@deep'", DEEP), "a bomb"),
    "weights that are no mapping": (lambda rdf: rdf.update(weights="keras_v3"), None, "weights"),
    "inputs of another kind": (lambda rdf: rdf.update(inputs=[{"axes": 3}]), None, "rdf.yaml|understood|inputs"),
    "weights outside": (
        lambda rdf: rdf["weights"]["keras_v3"].update(source="/etc/hostname"),
        None,
        "/etc/hostname is not in the bundle",
    ),
    "weights above": (
        lambda rdf: rdf["weights"]["keras_v3"].update(source="../outside.keras"),
        None,
        "outside.keras is not in the bundle",
    ),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_strange_descriptions_are_answered_by_a_sentence(foreign, tmp_path, kind):
    change, rewrite, message = STRANGE[kind]
    (tmp_path / "bundle").mkdir()
    (tmp_path / "outside.keras").write_bytes(b"")
    folder = changed(foreign, tmp_path / "bundle", change)
    if rewrite:
        path = folder / "rdf.yaml"
        path.write_text(rewrite(path.read_text()))
    with pytest.raises(UserError, match=message):
        load_bundle(folder)


def test_code_in_a_bundle_is_not_loaded(foreign, tmp_path):
    folder = changed(foreign, tmp_path, lambda rdf: rdf["weights"]["keras_v3"].update(source="evil.keras"))
    layer = {"class_name": "Lambda", "config": {"name": "evil"}}
    with zipfile.ZipFile(folder / "evil.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "config": {"layers": [layer]}}))
    with pytest.raises(UserError, match=r"'evil' of evil\.keras is a Lambda"):
        load_bundle(folder)


@pytest.mark.slow
def test_a_network_beyond_the_memory_is_refused(foreign, tmp_path, monkeypatch):
    monkeypatch.setattr("bmzpack.engines.process.memory", lambda: 2**31)
    folder = changed(foreign, tmp_path, lambda rdf: None)
    path = folder / "weights.keras"
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(entries["config.json"])
    for layer in config["config"]["layers"]:
        if layer["class_name"] == "Conv2D":
            layer["config"]["filters"] = 2**24
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (entries | {"config.json": json.dumps(config).encode()}).items():
            archive.writestr(name, content)
    with pytest.raises(UserError, match=r"weights\.keras"):
        load_bundle(folder)
