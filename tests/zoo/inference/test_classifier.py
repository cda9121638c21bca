"""Classifiers applied to images: maps and bundles say of every patch what the network says."""

import csv
import json
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image
from typer.testing import CliRunner

import bmzpack
from bmzpack.errors import UserError
from kerazoo.cli import app
from kerazoo.data.normalise import Normalisation
from kerazoo.evaluation.evaluate import evaluate, remarks
from kerazoo.examples.tissue import CLASSES, write_tissue, write_tissue_patches
from kerazoo.exporting.export import export
from kerazoo.files.pairs import sha256_of
from kerazoo.inference.load import load_predictor
from kerazoo.inference.predict import predict
from kerazoo.models.configure import make_config
from kerazoo.models.patches.map import grid_of, patch_map
from kerazoo.models.patches.network import patch_cnn
from kerazoo.models.recipe import Patch, Recipe, TileGeometry
from kerazoo.runs.run import Run

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
            "publication": {"authors": [{"name": "Ada Example", "github_user": "bioimageiobot"}]},
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
    found = load_predictor(run).map(image, stride)
    corners = np.array(list(np.ndindex(shape))) * (stride or SIZE)
    np.testing.assert_allclose(found, alone(image, corners).reshape(*shape, 3), atol=1e-5)


def test_an_image_is_the_mean_of_its_patches(run, image):
    corners = [(y, x) for y in (*range(0, 119, 16), 118) for x in (*range(0, 100, 16), 99)]
    expected = alone(image, corners).mean(axis=0)
    np.testing.assert_allclose(load_predictor(run).whole(image), expected, atol=1e-5)


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
    expected = load_predictor(run).map(image, 48)
    for path in bundles:
        np.testing.assert_allclose(load_predictor(path).map(image, 48), expected, atol=1e-5)


def test_programs_open_the_bundles(bundles):
    verdicts = [{name: verdict.verdict for name, verdict in bmzpack.check(path).consumers.items()} for path in bundles]
    assert verdicts == [
        {"fiji": "opens", "ilastik": "fails", "qupath": "opens", "core": "opens"},
        {"fiji": "opens", "ilastik": "opens", "qupath": "opens", "core": "opens"},
    ]


def test_what_is_said_of_a_program_that_cannot_run_the_map(bundles):
    findings = bmzpack.check(bundles[0]).consumers["ilastik"].findings
    assert [finding.rule for finding in findings] == ["N1", "T9", "T9"]  # it has no TorchScript either
    assert all("`kerazoo export --enlarge`" in finding.remedy for finding in findings[1:])
    with zipfile.ZipFile(bundles[0]) as archive:
        text = archive.read("README.md").decode()
    assert text.count("ilastik gives the result the size of the image") == 1
    assert "y of probability has one pixel for 32 of the input. x of probability has one pixel for 32" in text
    assert "The test image is put together from validation patches of all classes." in text
    assert "real image" not in text


@pytest.mark.slow
def test_a_bundle_in_every_format(run, tmp_path):
    export(run, tmp_path / "map.zip")
    assert bmzpack.test(tmp_path / "map.zip").passed


def shown_by_imagej(path):
    """The colours in which ImageJ shows the values 0, 1, ...: it scales the display range to 256 entries, rounded."""
    with tifffile.TiffFile(path) as file:
        low, high = file.imagej_metadata["min"], file.imagej_metadata["max"]
        table = file.pages[0].tags["ColorMap"].value
    values = np.arange(low, high + 1)
    entries = ((values - low) * 256 / (high - low + 1) + 0.5).astype(int).clip(max=255)
    colours = np.reshape(table, (3, 256))[:, entries].T >> 8
    return ["#" + bytes(colour.astype("uint8")).hex().upper() for colour in colours]


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
    assert len(written) == 1 + 2 * 3 + 1
    with (tmp_path / "out" / "classes.csv").open(newline="", encoding="utf-8") as file:
        legend = list(csv.DictReader(file))
    assert [(row["value"], row["class"]) for row in legend] == [(str(n), name) for n, name in enumerate(CLASSES)]
    for path in written[1:7:2]:
        assert shown_by_imagej(path) == [row["colour"] for row in legend]
        with tifffile.TiffFile(path) as file:
            info = file.imagej_metadata["Info"].splitlines()
        assert info[1:] == [f"{n}: {name}" for n, name in enumerate(CLASSES)]
    labels, scores = (tifffile.imread(tmp_path / "out" / f"stack{part}.tif") for part in ("", "_probabilities"))
    assert (labels.shape, scores.shape) == ((2, 5, 5), (2, 3, 5, 5))
    np.testing.assert_array_equal(labels, scores.argmax(axis=1))
    with tifffile.TiffFile(tmp_path / "out" / "stack.tif") as file:
        numerator, denominator = file.pages[0].tags["XResolution"].value
    assert denominator / numerator == pytest.approx(0.5 * SIZE, rel=1e-3)
    with pytest.raises(UserError, match="exists already"):
        predict(run, images, tmp_path / "out")
    for path in set(written) - {tmp_path / "out" / "classes.csv"}:
        path.unlink()
    with pytest.raises(UserError, match=r"classes\.csv exists already"):
        predict(run, images, tmp_path / "out")
    assert [path.name for path in predict(run, images[2:], tmp_path / "out")] == ["predictions.csv"]


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


def test_evaluate_shows_classes_and_confusion(run, folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    result = evaluate(run, folder=folder / "patches")
    shown = CliRunner().invoke(app, ["evaluate", str(run.path), "--folder", str(folder / "patches")])
    assert shown.exit_code == 0, shown.output
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in shown.output.splitlines()]
    for name, counts in zip(CLASSES, result["confusion"], strict=True):
        assert [name, *map(str, counts)] in rows
        scores = result["per_class"][name].values()
        assert [name, *("-" if x is None else f"{x:.4f}" if isinstance(x, float) else str(x) for x in scores)] in rows


def test_images_smaller_than_a_patch_are_evaluated_as_they_are_predicted(run, folder, image, tmp_path):
    small = np.ascontiguousarray(image[:20, :27])
    for name, pixels in (("stroma", small), ("epithelium", image[:SIZE, :SIZE])):
        (tmp_path / "folder" / name).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "folder" / name / "a.png")
    result = evaluate(run, folder=tmp_path / "folder")
    assert [(entry["id"], entry["patches"]) for entry in result["per_image"]] == [("epithelium/a", 1), ("stroma/a", 1)]
    assert (result["smaller_than_patch"], result["without_patch"]) == (1, 0)
    expected = load_predictor(run).whole(small)[CLASSES.index("stroma")]
    assert result["per_image"][1]["true_score"] == pytest.approx(float(expected), abs=1e-5)
    assert "Images smaller than a patch, mirrored beyond their edges: 1." in remarks(result)

    masks = {"small": np.full((20, 27), 1), "mixed": np.arange(SIZE * SIZE).reshape(SIZE, SIZE) % 3}
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for name, mask in masks.items():
        Image.fromarray(image[: mask.shape[0], : mask.shape[1]]).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(mask.astype("uint8")).save(tmp_path / "masks" / f"{name}.png")
    result = evaluate(run, tmp_path / "images", tmp_path / "masks")
    assert [entry["id"] for entry in result["per_image"]] == ["small"]
    assert (result["smaller_than_patch"], result["without_patch"]) == (1, 1)


def test_evaluation_on_training_images_is_told(run, bundles, folder, tmp_path):
    """Known by their content, under whatever name; the bundle has no list of them."""
    trained = Run(shutil.copytree(run.path, tmp_path / "run"))
    split = trained.split.as_json()
    for entry in (*split["train"], *split["validation"]):
        entry["sha256"] = {name: sha256_of(Path(entry[name])) for name in ("image", "mask")}
    trained.write("split", split)
    for part in ("images", "masks"):
        shutil.copytree(folder / part, tmp_path / part)
        for path in sorted((tmp_path / part).iterdir()):
            path.rename(path.with_name(f"renamed_{path.name}"))
    words = ["--images", str(tmp_path / "images"), "--masks", str(tmp_path / "masks")]
    shown = CliRunner().invoke(app, ["evaluate", str(trained.path), *words, "--json", str(tmp_path / "scores.json")])
    assert shown.exit_code == 0
    assert "trained on 2 of these images" in shown.output
    assert json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["trained_on"] == 2
    for path in sorted((tmp_path / "images").iterdir())[:2]:
        path.unlink()
        (tmp_path / "masks" / path.name).unlink()
    result = evaluate(trained, tmp_path / "images", tmp_path / "masks")
    assert result["trained_on"] == 0
    assert remarks(result) == []
    assert evaluate(bundles[0], tmp_path / "images", tmp_path / "masks")["trained_on"] is None


def test_images_of_one_name_in_several_folders(run, image, tmp_path):
    """Patches have no maps that could overwrite each other; larger images have."""
    for name, side in (("a", SIZE), ("b", SIZE), ("c", 2 * SIZE)):
        (tmp_path / name).mkdir()
        Image.fromarray(image[:side, :side]).save(tmp_path / name / "x.png")
    patches = [tmp_path / "a" / "x.png", tmp_path / "b" / "x.png"]
    assert predict(run, patches, tmp_path / "out") == [tmp_path / "out" / "predictions.csv"]
    with (tmp_path / "out" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [path.as_posix() for path in patches]
    predict(run, [*patches, tmp_path / "c" / "x.png"], tmp_path / "more")
    assert (tmp_path / "more" / "x.tif").is_file()
    shutil.copytree(tmp_path / "c", tmp_path / "d")
    with pytest.raises(UserError, match="would both be written to"):
        predict(run, [tmp_path / "c" / "x.png", tmp_path / "d" / "x.png"], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_images_with_other_channels_are_to_be_converted(run, image, tmp_path):
    """`data.channels` is a setting of a training; neither command has it."""
    Image.fromarray(image[..., 0]).save(tmp_path / "grey.png")
    with pytest.raises(UserError, match="1 channel instead of the expected 3: convert it") as raised:
        predict(run, tmp_path / "grey.png", tmp_path / "out")
    assert "or set" not in str(raised.value)
    assert "a training on such images has data.channels: 1" in str(raised.value)


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
