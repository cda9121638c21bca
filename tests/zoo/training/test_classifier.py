"""Training of classifiers: modes of transfer, features computed once, and what a run says."""

import csv
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from bmzpack.errors import UserError
from kerazoo.commands import train
from kerazoo.config import DecodingConfig
from kerazoo.data.normalise import Normalisation
from kerazoo.examples.tissue import CLASSES, write_tissue, write_tissue_patches
from kerazoo.models.backbones import encoder_of
from kerazoo.models.configure import family_of, make_config
from kerazoo.models.patches.network import classifier
from kerazoo.models.recipe import Recipe, TileGeometry
from kerazoo.models.registry import create_model
from kerazoo.models.weights import below_head, load_weights, read_weights
from kerazoo.training import fit
from kerazoo.training.job import _network
from kerazoo.training.transfer import WHOLE, Phase, check_transfer, choose_trainable, phases_of

CALM = {"flip": False, "quarter_turns": False, "rotation": 0, "scale": 0, "intensity": 0, "gamma": 0}


PATCH_CNN = {"name": "patch_cnn", "backbone": None, "weights": None}


@pytest.fixture(scope="module")
def tissue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tissue")
    write_tissue_patches(folder, patches=12, seed=1, size=32)
    return folder


def tiny_encoder(input_tensor, alpha, include_top, weights):
    """Five strided convolutions with the names of MobileNetV2's layers: its 155 layers take seconds to be traced."""
    assert not include_top
    assert weights is None
    x = input_tensor
    for stem, norm, end in (
        ("Conv1", "bn_Conv1", "block_1_expand_relu"),
        ("block_3_expand", "block_3_expand_BN", "block_3_expand_relu"),
        ("block_6_expand", "block_6_expand_BN", "block_6_expand_relu"),
        ("block_13_expand", "block_13_expand_BN", "block_13_expand_relu"),
        ("block_16_project", "block_16_project_BN", None),
    ):
        filters = round((32 if end else 320) * alpha)
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=stem)(x)
        x = keras.layers.BatchNormalization(name=norm)(x)
        if end is not None:
            x = keras.layers.ReLU(6.0, name=end)(x)
    return keras.Model(input_tensor, keras.layers.ReLU(6.0, name="out_relu")(x))


@pytest.fixture(scope="module", autouse=True)
def small_backbone():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.applications, "MobileNetV2", tiny_encoder)
        yield


@pytest.fixture(scope="module")
def encoder_weights(tmp_path_factory, small_backbone):
    """A random encoder, to stand for a pretrained one."""
    keras.utils.set_random_seed(7)
    path = tmp_path_factory.mktemp("weights") / "encoder.keras"
    classifier((32, 32, 3), classes=5).save(path)
    return path


@pytest.fixture(scope="module")
def make(tissue, encoder_weights):
    def config(model=None, **training):
        return make_config(
            {
                "model": {"name": "classifier2d", "weights": str(encoder_weights)} | (model or {}),
                "data": {"folder": str(tissue), "channels": 3, "annotation": "image"},
                "normalisation": {"method": "scaling"},
                "augmentation": training.pop("augmentation", CALM),
                "training": {
                    **{"epochs": 3, "steps_per_epoch": 2, "patch_size": 32, "batch_size": 6, "precision": "float32"},
                    **{"schedule": "constant", "warmup_epochs": 0, "learning_rate": 0.01, **training},
                },
            }
        )

    return config


def history(run):
    with (run.path / "history.csv").open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_what_a_classifier_learns_follows_from_its_model(make):
    config = make()
    assert (family_of(config).name, config.targets.kind, config.model.backbone) == ("patches", "patch", "mobilenet_v2")
    assert (config.training.loss.cross_entropy, config.training.loss.dice) == (1, 0)
    scores = make({"name": "lenet1989", "weights": None})
    assert (scores.training.loss.cross_entropy, scores.training.loss.squared_error) == (0, 1)
    assert make_config(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"name": "mlp"}}, "mlp is not trained on images"),
        ({"model": {"name": "unet2d"}, "targets": {"kind": "patch"}}, "set it to classes, foreground or border"),
        ({"model": {"name": "patch_cnn"}, "targets": {"kind": "border"}}, "set it to patch"),
        ({"model": {"name": "patch_cnn"}, "data": {"annotation": "binary"}}, "set it to image or classes"),
        ({"model": {"name": "unet2d"}, "data": {"annotation": "image"}}, "for networks that classify patches"),
    ],
)
def test_contradictions(content, message):
    with pytest.raises(UserError, match=message):
        make_config({"data": {}} | content)


def test_a_run_from_class_folders(make, tissue, tmp_path):
    settings = make({"name": "patch_cnn", "weights": None, "arguments": {"filters": 4}}, epochs=2)
    run = train(settings, tmp_path / "run", progress=False)
    assert run.config.data.classes == sorted(CLASSES)
    assert run.recipe.patch.size == 32
    assert (run.recipe.task, run.recipe.targets, run.recipe.annotation) == ("classification", "patch", "image")
    assert {entry["class"] for entry in run.split.as_json()["validation"]} == set(CLASSES)
    record = run.record.as_json()
    assert {"accuracy", "balanced_accuracy", "auc"} <= set(record["scores"])
    assert np.sum(record["validation"]["confusion"]) == len(run.split.as_json()["validation"])
    assert {"balanced_accuracy", "val_balanced_accuracy"} <= set(history(run)[0])
    again = train(settings, tmp_path / "run", resume=True, progress=False)
    assert again.record.as_json()["epochs"] == 2


def test_phases(make, encoder_weights):
    model = classifier((32, 32, 3), classes=3, weights=encoder_weights)

    def phases(**training):
        return phases_of(make(**training), model)

    assert phases(transfer="all") == phases(transfer="initialise") == [Phase(0, 3)]
    assert phases(transfer="freeze") == [Phase(0, 3, WHOLE)]
    assert phases(transfer="freeze", freeze_until="stride8") == [Phase(0, 3, "stride8")]
    assert phases(transfer="staged", epochs=10) == [
        Phase(0, 3, WHOLE, 1.0),
        Phase(3, 7, "stride16", 0.3),
        Phase(7, 10, None, 0.1),
    ]
    assert len(phases(transfer="staged", epochs=1)) == 1


@pytest.mark.parametrize(
    ("transfer", "frozen", "expected"),
    [
        ("initialise", None, [True, True, True, True, True]),
        ("all", None, [True, False, True, False, True]),
        ("freeze", "stride8", [False, False, True, False, True]),
        ("freeze", WHOLE, [False, False, False, False, True]),
    ],
)
def test_what_is_trainable(make, encoder_weights, transfer, frozen, expected):
    """Convolution and batch normalisation at stride 2 and at stride 32, and the head."""
    model = classifier((32, 32, 3), classes=3, weights=encoder_weights)
    choose_trainable(model, make(transfer=transfer), frozen)
    names = ("Conv1", "bn_Conv1", "block_16_project", "block_16_project_BN", "probability")
    assert [model.get_layer(name).trainable for name in names] == expected


@pytest.mark.parametrize(
    ("transfer", "frozen", "expected"),
    [
        ("initialise", None, [True, True, True]),
        ("all", None, [True, False, True]),
        ("freeze", WHOLE, [False, False, True]),
    ],
)
def test_without_a_backbone_all_but_the_last_layer_is_pretrained(make, tmp_path, transfer, frozen, expected):
    create_model("patch_cnn", classes=5, filters=2).save(tmp_path / "other.keras")
    own = {"name": "patch_cnn", "weights": str(tmp_path / "other.keras"), "arguments": {"filters": 2}}
    settings = make(own, transfer=transfer)
    model = create_model("patch_cnn", classes=3, filters=2, weights=own["weights"])
    assert phases_of(settings, model) == [Phase(0, 3, frozen)]
    choose_trainable(model, settings, frozen)
    names = ("level3_convolution2", "level3_norm2", "probability")
    assert [model.get_layer(name).trainable for name in names] == expected


def test_an_own_network_is_transferred(make, tmp_path):
    """Its features stay as they are, and its head learns other classes."""
    source = create_model("patch_cnn", classes=5, filters=2)
    source.save(tmp_path / "other.keras")
    own = {"name": "patch_cnn", "weights": str(tmp_path / "other.keras"), "arguments": {"filters": 2, "dropout": 0.0}}
    run = train(make(own, transfer="freeze", epochs=1), tmp_path / "run", progress=False)
    *fixed, kernel, _ = keras.saving.load_model(run.model_path).get_weights()
    assert kernel.shape == (8, 3)
    for a, b in zip(fixed, source.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(UserError, match="stride8, the stage of a backbone, but patch_cnn has none"):
        train(make(own, transfer="freeze", freeze_until="stride8"), tmp_path / "other", progress=False)


@pytest.mark.parametrize("model", ["patch_cnn", "unet2d", "cellpose2d"])
def test_every_network_has_something_below_its_head(model):
    network = create_model(model, **({} if model == "cellpose2d" else {"filters": 2}))
    below = below_head(network)
    assert network.layers[-1].weights
    assert {layer.name for layer in below.layers} == {layer.name for layer in network.layers} - {
        layer.name for layer in network.layers if layer.name in ("probability", "flows")
    }


def run_folder(folder, classes, normalisation=None, model="patch_cnn"):
    """As much of a run as its weights need: a network with a head of its own, configuration and recipe."""
    folder.mkdir()
    network = create_model(model, classes=len(classes), filters=2)
    network.get_layer("probability").bias.assign([7.0, 8.0, 9.0])
    network.save(folder / "best.keras")
    (folder / "config.yaml").touch()
    recipe = Recipe(
        model=model,
        task="classification",
        channels=3,
        channel_names=["r", "g", "b"],
        classes=list(classes),
        targets="patch",
        annotation="image",
        normalisation=normalisation or Normalisation(method="scaling", maximum=255),
        decoding=DecodingConfig(),
        geometry=TileGeometry(step=32, halo=0, minimum=32),
    )
    (folder / "recipe.json").write_text(recipe.model_dump_json(), encoding="utf-8")
    return folder / "best.keras"


@pytest.mark.parametrize(
    ("classes", "same"), [(sorted(CLASSES), True), (sorted(CLASSES)[::-1], False), (["cat", "cow", "dog"], False)]
)
def test_the_head_is_taken_over_where_its_classes_are_the_same(make, tmp_path, classes, same):
    weights = run_folder(tmp_path / "other", classes)
    settings = make({"name": "patch_cnn", "weights": str(weights), "arguments": {"filters": 2}})
    settings.data.classes = sorted(CLASSES)
    network = _network(settings, family_of(settings))
    bias = keras.ops.convert_to_numpy(network.get_layer("probability").bias)
    assert bias.tolist() == ([7, 8, 9] if same else [0, 0, 0])
    source = keras.saving.load_model(weights).get_layer("level1_convolution1").kernel
    np.testing.assert_array_equal(network.get_layer("level1_convolution1").kernel, source)


def test_a_network_of_a_run_gets_what_it_was_trained_on(make, tmp_path):
    weights = run_folder(tmp_path / "other", CLASSES, Normalisation(method="standardisation", scope="dataset"))
    own = {"name": "patch_cnn", "weights": str(weights), "arguments": {"filters": 2}}
    with pytest.raises(UserError, match=r"method is scaling, but .*best\.keras was trained with standardisation: set"):
        check_transfer(make(own))
    settings = make(own)
    settings.normalisation.method = "standardisation"
    check_transfer(settings)
    settings.normalisation.scope = "image"
    with pytest.raises(UserError, match=r"normalisation\.scope is image, but .* trained with dataset"):
        check_transfer(settings)


def test_statistics_stay_where_they_are_frozen(make, encoder_weights):
    x, y = np.random.default_rng(1).uniform(size=(8, 32, 32, 3)).astype("float32"), np.arange(8)[:, None] % 3
    for transfer, same in (("all", True), ("initialise", False)):
        model = classifier((32, 32, 3), classes=3, weights=encoder_weights)
        choose_trainable(model, make(transfer=transfer), None)
        model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
        before = keras.ops.convert_to_numpy(model.get_layer("block_3_expand_BN").moving_mean)
        model.train_on_batch(x, y)
        after = keras.ops.convert_to_numpy(model.get_layer("block_3_expand_BN").moving_mean)
        assert np.array_equal(before, after) == same


def test_a_stage_that_a_network_does_not_have(encoder_weights):
    model = create_model("unet2d", filters=2, depth=2, backbone="mobilenet_v2")
    with pytest.raises(UserError, match="no stage stride16: its encoder has stride2, stride4"):
        encoder_of(model, "mobilenet_v2", "stride16")


def test_folded_batch_normalisation_cannot_be_gone_on_from(make, tmp_path):
    path = tmp_path / "folded.npz"
    arrays = read_weights(make().model.weights)
    np.savez(path, **{name: array for name, array in arrays.items() if "/moving_" not in name and "/gamma" not in name})
    with pytest.raises(UserError, match="folded batch normalisation"):
        train(make({"weights": str(path)}, transfer="initialise"), tmp_path / "run", progress=False)
    model = classifier((32, 32, 3), classes=5)
    load_weights(model, path, "mobilenet_v2")


def test_features_are_computed_once_and_give_the_same_training(make, monkeypatch, tmp_path):
    """The fixed encoder runs once over all patches; losses are those of a plain training, up to rounding."""
    settings = make({"arguments": {"dropout": 0.0}}, transfer="freeze")
    cached = train(settings, tmp_path / "cached", progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(fit, "head_of", lambda *_: None)
        plain = train(settings, tmp_path / "plain", progress=False)
    for a, b in zip(history(cached), history(plain), strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-4)
    weights = [keras.saving.load_model(run.model_path).get_weights() for run in (cached, plain)]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


def test_an_interrupted_head_continues(make, monkeypatch, tmp_path):
    settings = make({"arguments": {"dropout": 0.0}}, transfer="staged")
    whole = train(settings, tmp_path / "whole", progress=False)
    original = fit.EndOfEpoch.on_train_batch_end

    def stop(self, step, logs=None):
        if (self._position.epoch, step) == (1, 1):
            raise KeyboardInterrupt
        original(self, step, logs)

    with monkeypatch.context() as patch:
        patch.setattr(fit.EndOfEpoch, "on_train_batch_end", stop)
        with pytest.raises(KeyboardInterrupt, match="1 of 3 epochs"):
            train(settings, tmp_path / "stopped", progress=False)
    stopped = train(settings, tmp_path / "stopped", resume=True, progress=False)
    for a, b in zip(history(whole), history(stopped), strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": {"patch_size": 64}}, "less than the patches of 64 pixels"),
        ({"normalisation": {"method": "standardisation"}}, "takes values between 0 and 1"),
        ({"data": {"channels": 1}}, "3 channels"),
        ({"data": {"classes": ["epithelium", "stroma"]}}, "has the class 'background'"),
        ({"data": {"classes": [*CLASSES, "fat"]}}, "No image to train is of the class 'fat'"),
        ({"normalisation": {"method": "percentile"}}, "percentile measures every image, which is a patch in training"),
        (
            {"model": PATCH_CNN, "normalisation": {"method": "standardisation", "scope": "image"}},
            r"standardisation measures every image.*normalisation\.scope dataset",
        ),
    ],
)
def test_unusable(make, tmp_path, change, message):
    content = make().model_dump(mode="json")
    for section, values in change.items():
        content[section] = content[section] | values
    with pytest.raises(UserError, match=message):
        train(make_config(content), tmp_path / "run", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_the_same_image_on_both_sides(make, tissue, tmp_path):
    """Under another name, as when a folder was copied into another one."""
    shutil.copytree(tissue, tmp_path / "tissue")
    for path in sorted((tmp_path / "tissue" / "stroma").iterdir()):
        shutil.copy(path, path.with_name(f"copy of {path.name}"))
    settings = make(PATCH_CNN)
    settings.data.folder = tmp_path / "tissue"
    with pytest.raises(
        UserError, match=r"stroma.*, to train, and .*stroma.*, to validate, are the same image.*split\.group"
    ):
        train(settings, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def masks_folder(folder, ignored=255):
    """Slides with their masks; of the first a part is not annotated."""
    write_tissue(folder, images=4, seed=3, size=96)
    for path in sorted((folder / "masks").iterdir())[:1]:
        mask = np.array(Image.open(path))
        mask[:8] = ignored
        Image.fromarray(mask).save(path)
    return {"images": str(folder / "images"), "masks": str(folder / "masks"), "channels": 3, "annotation": "classes"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"classes": [*CLASSES, "fat"]},
            r"images to train have no patch of the class 'fat' of 32 pixels .*data\.classes",
        ),
        (
            {"classes": list(CLASSES), "ignore": 2},
            r"data\.ignore is 2, the value of the class 'stroma'.*data\.class_values",
        ),
    ],
)
def test_a_class_that_would_never_be_learned(tmp_path, data, message):
    places = masks_folder(tmp_path)
    content = {
        "model": PATCH_CNN,
        "data": places | {"ignore": 255} | data,
        "normalisation": {"method": "scaling"},
        "training": {"patch_size": 32},
    }
    with pytest.raises(UserError, match=message):
        train(make_config(content), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_normalisation_is_of_the_data_set_where_images_have_classes():
    for given, scope in (({}, "dataset"), ({"method": "standardisation"}, "dataset"), ({"scope": "image"}, "image")):
        config = make_config({"model": PATCH_CNN, "data": {"annotation": "image"}, "normalisation": given})
        assert config.normalisation.scope == scope
        assert make_config(config.model_dump(mode="json")) == config
    masks = make_config({"model": PATCH_CNN, "data": {"annotation": "classes", "classes": ["a", "b"]}})
    assert masks.normalisation.scope == "image"
