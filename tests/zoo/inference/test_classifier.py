"""Classifiers applied to images: maps and bundles say of every patch what the network says."""

import csv
import json

import keras
import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

import bmzpack
from bmzpack.errors import UserError
from kerazoo.config import make_config
from kerazoo.data.normalise import Normalisation
from kerazoo.data.tissue import CLASSES, write_tissue, write_tissue_patches
from kerazoo.evaluation.evaluate import evaluate
from kerazoo.inference.classifier import PatchClassifier
from kerazoo.inference.predict import predict
from kerazoo.models.classifiers import patch_cnn
from kerazoo.models.patch_map import grid_of, patch_map
from kerazoo.packing import export
from kerazoo.recipe import Patch, Recipe, TileGeometry
from kerazoo.training.run import Run

SIZE = 32


def random_network():
    keras.utils.set_random_seed(3)
    return patch_cnn((SIZE, SIZE, 3), classes=3, filters=4, depth=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tissue")
    write_tissue(folder, images=4, seed=1, size=160)
    write_tissue_patches(folder / "patches", patches=5, seed=1, size=SIZE)
    return folder


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """A run folder as training leaves it, of an untrained network."""
    run = Run(tmp_path_factory.mktemp("runs") / "run")
    run.path.mkdir()
    random_network().save(run.model_path)
    config = make_config(
        {
            "model": {"name": "patch_cnn", "arguments": {"filters": 4, "depth": 2}},
            "data": {
                **{"images": str(folder / "images"), "masks": str(folder / "masks"), "channels": 3},
                **{"annotation": "classes", "classes": list(CLASSES), "channel_names": ["red", "green", "blue"]},
            },
            "normalisation": {"method": "scaling"},
            "training": {"patch_size": SIZE},
            "publication": {"authors": [{"name": "Ada Example", "github_user": "nobody-of-that-name"}]},
        }
    )
    (run.path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    images = sorted((folder / "images").iterdir())
    entries = [{"id": path.stem, "image": str(path), "mask": str(folder / "masks" / path.name)} for path in images]
    run.write("split", {"train": entries[:2], "validation": entries[2:]})
    run.write("environment", {"started": "2026-11-01T12:00:00+01:00"})
    run.write("record", {"epochs": 3, "seconds": 360.0, "scores": {"accuracy": 0.5, "auc": None}})
    recipe = Recipe(
        model="patch_cnn",
        task="classification",
        channels=3,
        channel_names=["red", "green", "blue"],
        classes=list(CLASSES),
        targets="patch",
        patch=Patch(size=SIZE, stride=16, purity=0.85),
        annotation="classes",
        normalisation=Normalisation(method="scaling", maximum=255),
        decoding=config.decoding,
        geometry=TileGeometry(step=SIZE, halo=0, minimum=SIZE),
    )
    run.write("recipe", recipe.model_dump(mode="json"))
    return run


@pytest.fixture(scope="module")
def bundles(run):
    """The map, and enlarged."""
    paths = run.path.parent / "map.zip", run.path.parent / "enlarged.zip"
    export(run, paths[0], formats=["keras_v3", "onnx"])
    export(run, paths[1], enlarge=True, formats=["keras_v3", "onnx", "torchscript"])
    return paths


@pytest.fixture(scope="module")
def image(folder):
    return np.asarray(Image.open(sorted((folder / "images").iterdir())[0]))[:150, :131]


def alone(image, corners):
    """What the network says of patches, mirrored beyond the image."""
    padded = np.pad(image, ((0, SIZE), (0, SIZE), (0, 0)), mode="reflect")
    patches = np.stack([padded[y : y + SIZE, x : x + SIZE] for y, x in corners])
    return random_network().predict_on_batch(patches / np.float32(255))


@pytest.mark.parametrize(("stride", "shape"), [(None, (5, 5)), (16, (9, 8))])
def test_a_map_holds_what_the_network_says_of_every_patch(run, image, stride, shape):
    found = PatchClassifier.load(run).map(image, stride)
    corners = np.array(list(np.ndindex(shape))) * (stride or SIZE)
    np.testing.assert_allclose(found, alone(image, corners).reshape(*shape, 3), atol=1e-5)


def test_an_image_is_the_mean_of_its_patches(run, image):
    corners = [(y, x) for y in (*range(0, 119, 16), 118) for x in (*range(0, 100, 16), 99)]
    expected = alone(image, corners).mean(axis=0)
    np.testing.assert_allclose(PatchClassifier.load(run).whole(image), expected, atol=1e-5)


def test_the_packed_map_treats_every_patch_alone():
    network = random_network()
    mapped, grid = patch_map(network), grid_of(SIZE)
    assert mapped.input_shape == (None, 512, 512, 3)
    image = np.random.default_rng(1).uniform(size=(2, 512, 512, 3)).astype("float32")
    found = mapped.predict_on_batch(image)
    assert found.shape == (2, grid, grid, 3)
    for index in ((0, 0, 0), (0, 3, 15), (1, 15, 2)):
        patch = image[index[0], index[1] * SIZE :, index[2] * SIZE :][:SIZE, :SIZE]
        np.testing.assert_allclose(found[index], network.predict_on_batch(patch[None])[0], atol=1e-5)
    enlarged = patch_map(network, enlarge=True).predict_on_batch(image)
    np.testing.assert_allclose(enlarged, found.repeat(SIZE, axis=1).repeat(SIZE, axis=2), atol=1e-6)
    assert (grid_of(28), grid_of(224), grid_of(1000)) == (18, 2, 1)


def test_a_bundle_says_the_same_as_its_run(run, bundles, image):
    expected = PatchClassifier.load(run).map(image, 48)
    for path in bundles:
        np.testing.assert_allclose(PatchClassifier.load(path).map(image, 48), expected, atol=1e-5)


def test_programs_open_the_bundles(bundles):
    verdicts = [{name: verdict.verdict for name, verdict in bmzpack.check(path).consumers.items()} for path in bundles]
    assert verdicts == [
        {"fiji": "opens", "ilastik": "fails", "qupath": "opens", "core": "opens"},
        {"fiji": "opens", "ilastik": "opens", "qupath": "opens", "core": "opens"},
    ]


@pytest.mark.slow
def test_a_bundle_in_every_format(run, tmp_path):
    export(run, tmp_path / "map.zip")
    assert bmzpack.test(tmp_path / "map.zip").passed


def test_files(run, folder, tmp_path):
    images = sorted((folder / "images").iterdir())[:2] + sorted((folder / "patches").rglob("*.png"))[:3]
    stack = tmp_path / "stack.tif"
    planes = np.stack([np.asarray(Image.open(path)) for path in images[:2]])
    tifffile.imwrite(stack, planes, imagej=True, metadata={"axes": "TYXS", "unit": "um"}, resolution=(2, 2))
    written = predict(run, [*images, stack], tmp_path / "out", probabilities=True)
    with (tmp_path / "out" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [*(path.name for path in images), "stack.tif", "stack.tif"]
    assert [row["plane"] for row in rows] == ["0"] * 6 + ["1"]
    for row in rows:
        values = [float(row[name]) for name in CLASSES]
        assert sum(values) == pytest.approx(1, abs=1e-4)
        assert row["class"] == CLASSES[int(np.argmax(values))]
    assert rows[0]["background"] == rows[5]["background"]
    # images of one patch have no map
    assert len(written) == 1 + 2 * 3
    labels, scores = (tifffile.imread(tmp_path / "out" / f"stack{part}.tif") for part in ("", "_probabilities"))
    assert (labels.shape, scores.shape) == ((2, 5, 5), (2, 3, 5, 5))
    np.testing.assert_array_equal(labels, scores.argmax(axis=1))
    with tifffile.TiffFile(tmp_path / "out" / "stack.tif") as file:
        numerator, denominator = file.pages[0].tags["XResolution"].value
    assert denominator / numerator == pytest.approx(0.5 * SIZE, rel=1e-3)
    with pytest.raises(UserError, match="exists already"):
        predict(run, images, tmp_path / "out")


def test_evaluate_on_masks_folders_and_tables(run, bundles, folder, tmp_path):
    result = evaluate(run, folder / "images", folder / "masks", json=tmp_path / "scores.json")
    assert json.loads((tmp_path / "scores.json").read_text(encoding="utf-8")) == result
    assert result["task"] == "classification"
    assert sum(entry["patches"] for entry in result["per_image"]) == np.sum(result["confusion"]) > 20
    of_bundle = evaluate(bundles[0], folder / "images", folder / "masks")
    assert of_bundle["confusion"] == result["confusion"]
    images = evaluate(run, folder=folder / "patches")
    assert [entry["patches"] for entry in images["per_image"]] == [1] * 5
    table = folder / "patches" / "table.csv"
    paths = sorted((folder / "patches").rglob("*.png"))
    lines = [f"{path.relative_to(table.parent)},{path.parent.name}" for path in paths]
    table.write_text("\n".join(["file,class", *lines]), encoding="utf-8")
    assert evaluate(bundles[0], table=table)["confusion"] == images["confusion"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run, folder, out: evaluate(run), "nothing to evaluate on"),
        (lambda run, folder, out: evaluate(run, folder=folder / "images"), "holds no folders"),
        (lambda run, folder, out: predict(run, sorted((folder / "images").iterdir()), out, stride=0), "stride"),
        (
            lambda run, folder, out: predict("nothing", sorted((folder / "images").iterdir()), out),
            "no run and no bundle",
        ),
    ],
)
def test_what_cannot_be_done(run, folder, tmp_path, call, message):
    with pytest.raises(UserError, match=message):
        call(run, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
