"""Networks for single objects, from images and label images to a bundle, as a user does it."""

import json

import numpy as np
import pytest
import tifffile

import kerazoo
from arrays import only
from bmzpack.bundle.archive import unpacked
from bmzpack.errors import UserError
from bmzpack.settings import read_yaml
from kerazoo.configuration.write import write_config
from kerazoo.examples.synthetic import write_nuclei
from kerazoo.inference.load import load_predictor
from kerazoo.models.configure import family_of, make_config
from kerazoo.training.distribute import Workers
from kerazoo.training.job import prepare

ARGUMENTS = {"stardist2d": {"filters": 8, "features": 16, "rays": 16, "grid": [2, 2]}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nuclei")
    write_nuclei(folder, images=5, seed=3, size=128)
    return folder


@pytest.fixture(
    scope="module",
    params=[
        "stardist2d",
        pytest.param("cellpose2d", marks=pytest.mark.slow),
        pytest.param("omnipose2d", marks=pytest.mark.slow),
    ],
)
def run(request, data, tmp_path_factory):
    config = make_config(
        {
            "model": {"name": request.param, "arguments": ARGUMENTS.get(request.param, {})},
            "data": {"images": data / "images", "masks": data / "masks"},
            "normalisation": {"method": "percentile"},
            "targets": {"diameter": 20} if request.param == "cellpose2d" else {},
            "training": {"epochs": 1, "steps_per_epoch": 2, "batch_size": 1, "patch_size": 64},
        }
    )
    return kerazoo.train(config, tmp_path_factory.mktemp(request.param) / "run", progress=False)


def test_a_run_is_scored_and_drawn(run):
    record = run.record.as_json()
    assert set(record["validation"]["average_precision"]) == {f"{value:.2f}" for value in np.arange(0.5, 1, 0.05)}
    assert {"splits", "merges", "ap_50"} <= set(record["scores"])
    assert {path.name for path in run.figures.iterdir()} == {"curves.png", "samples.png", "worst.png"}
    assert "validation images" in kerazoo.report(run).read_text(encoding="utf-8")


def test_labels_are_written(run, data, tmp_path):
    image = sorted((data / "images").iterdir())[0]
    written, table = kerazoo.predict(run, image, tmp_path)
    labels = tifffile.imread(written)
    assert labels.shape == (128, 128)
    assert set(np.unique(labels)) == set(range(labels.max() + 1))
    assert len(table.read_text(encoding="utf-8").splitlines()) == labels.max() + 1


def test_only_what_is_rescaled_takes_a_diameter(run):
    if run.recipe.scale is None:
        with pytest.raises(UserError, match="without a diameter"):
            load_predictor(run, diameter=12.0)
        return
    assert run.recipe.scale.network == 20
    image = tifffile.imread(run.split.as_json()["validation"][0]["image"])[..., None]
    half = load_predictor(run, diameter=2 * run.recipe.scale.images)
    assert only(half.outputs(image)).shape == (128, 128, 3)
    with pytest.raises(UserError, match="--diameter 0 is no diameter"):
        load_predictor(run, diameter=0.0)


def test_a_bundle_gives_the_labels_of_the_run(run, data, tmp_path):
    bundle = kerazoo.export(run, tmp_path / "bundle.zip", formats=["keras_v3"])
    with unpacked(bundle) as folder:
        description = read_yaml(folder / "rdf.yaml", "rdf")
        (output,) = description["outputs"]
        assert output["axes"][-1]["channel_names"] == family_of(run.config).channel_names(run.config)
        if run.recipe.targets == "stars":
            assert "stardist" in description["name"].lower()
            stardist = description["config"]["kerazoo_stardist"]
            assert stardist["thresholds"] == {"prob": run.recipe.decoding.threshold, "nms": run.recipe.decoding.overlap}
            assert "StarDist2DNMS" in (folder / stardist["postprocessing_macro"]).read_text(encoding="utf-8")
            assert {entry["source"] for entry in description["attachments"]} == {stardist["postprocessing_macro"]}
            # for the plugin in Fiji the output is as large as the image
            test_output = np.load(folder / output["test_tensor"]["source"])
            assert (
                test_output.shape[1:3] == np.load(folder / description["inputs"][0]["test_tensor"]["source"]).shape[1:3]
            )
    image = tifffile.imread(sorted((data / "images").iterdir())[0])[..., None]
    np.testing.assert_array_equal(load_predictor(bundle).result(image), load_predictor(run).result(image))


@pytest.mark.parametrize("model", ["stardist2d", "cellpose2d", "omnipose2d"])
def test_init_writes_a_configuration(model, data, tmp_path):
    path = write_config(model, data / "images", data / "masks", tmp_path / "nuclei.yaml")
    text = path.read_text(encoding="utf-8")
    assert f"kind: {kerazoo.models.registry.get_model(model).targets}" in text
    assert json.loads(json.dumps(kerazoo.models.configure.read_config(path).training.model_dump()))["epochs"] > 1


def test_parts_of_a_binary_mask_are_the_objects_that_are_learned(data, tmp_path):
    (tmp_path / "masks").mkdir()
    for path in (data / "masks").iterdir():
        tifffile.imwrite(tmp_path / "masks" / path.name, (tifffile.imread(path) > 0).astype(np.uint8) * 255)
    content = {"model": {"name": "cellpose2d"}, "targets": {"diameter": 20}}
    content["training"] = {"epochs": 1, "steps_per_epoch": 1, "batch_size": 1, "patch_size": 32}
    scales = []
    for masks, annotation in ((data / "masks", "labels"), (tmp_path / "masks", "binary")):
        given = {"images": data / "images", "masks": masks, "annotation": annotation}
        job = prepare(make_config(content | {"data": given}), Workers())
        scales.append(job.scale.images)
    assert scales[0] <= scales[1] < 2 * scales[0], "nuclei that touch count as one, but not all nuclei of an image"


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("omnipose2d", {"outputs": 3}, "3 outputs"),
        ("cellpose2d", {"outputs": 4}, "4 outputs"),
        ("stardist2d", {"rays": 32.0}, "whole number from 3 on"),
        ("stardist2d", {"rays": 2}, "whole number from 3 on"),
    ],
)
def test_networks_that_cannot_be_trained(model, arguments, message, data):
    content = {"model": {"name": model, "arguments": arguments}}
    content["data"] = {"images": data / "images", "masks": data / "masks"}
    with pytest.raises(UserError, match=message):
        prepare(make_config(content), Workers())


def test_classes_are_no_objects(data):
    with pytest.raises(UserError, match="single objects"):
        make_config({"model": {"name": "stardist2d"}, "data": {"annotation": "classes", "classes": ["a", "b"]}})
