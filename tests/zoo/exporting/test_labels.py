"""Bundles that end in labels: packed, described, and run by bioimageio.core and by the engines inside Fiji."""

import importlib.util

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

import kerazoo
from answers import answer, labels_of, network_of, packed, recipe_of
from bmzpack import check
from bmzpack.bundle.archive import unpacked
from bmzpack.bundle.contents import opened
from bmzpack.engines import TensorNames, old
from bmzpack.errors import UserError
from bmzpack.operations.labels import TO_LABELS, disagreement, mask_of
from bmzpack.settings import read_yaml
from bmzpack.testing.programs import PROGRAMS
from bmzpack.testing.test import test as prove
from kerazoo.config import DecodingConfig
from kerazoo.evaluation.scores import count_instances
from kerazoo.examples.synthetic import nuclei, write_nuclei
from kerazoo.exporting.labels import labels_postprocessing
from kerazoo.models.configure import make_config
from kerazoo.models.shared.packed import channels_first
from kerazoo.models.stardist.bundle import full_resolution
from running import run


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nuclei")
    write_nuclei(folder, images=3, seed=7, size=160)
    return [np.asarray(Image.open(path)).astype(np.int32) for path in sorted((folder / "masks").iterdir())]


BOTH = ["stars", pytest.param("flows", marks=pytest.mark.slow)]
GRAPHS = ["border", *(pytest.param(name, marks=pytest.mark.slow) for name in ("prompts", "stars", "flows", "fields"))]
SAVED_MODEL = "tensorflow_saved_model_bundle"
FORMATS = [SAVED_MODEL, "onnx", "torchscript"]
FILES = {"tensorflow": "saved_model.zip", "onnxruntime": "weights.onnx", "torch": "weights.pt"}
OLD = {"tensorflow": "2.10.1", "onnxruntime": "1.13.1"}


@pytest.fixture(scope="module", params=GRAPHS)
def graph_bundle(request, masks, tmp_path_factory):
    recipe = recipe_of(request.param)
    if request.param == "prompts":
        recipe = recipe.model_copy(update={"model": "sam_tiny"})  # the large ones have no graph of any size
    model = full_resolution(network_of(recipe), recipe.geometry.grid)
    path = tmp_path_factory.mktemp("graph") / "labels.zip"
    result = packed(recipe, answer(masks[0], recipe), path, labels_postprocessing(recipe, "labels"), model)
    assert list(result.agreement) == FORMATS
    return path, recipe


def test_merged_and_divided_objects_are_seen():
    apart = np.zeros((8, 12), int)
    apart[2:6, 1:5], apart[2:6, 5:9] = 1, 2
    merged = (apart > 0).astype(int)
    assert disagreement(apart, apart * 7) == 0
    assert disagreement(merged, apart) == disagreement(apart, merged) == 0.5
    assert disagreement(apart, np.zeros_like(apart)) == 1
    assert disagreement(np.zeros_like(apart), np.zeros_like(apart)) == 0


def test_a_graph_ends_in_labels(graph_bundle, masks):
    path, recipe = graph_bundle
    with unpacked(path) as folder:
        rdf = read_yaml(folder / "rdf.yaml", "rdf")
        assert list(rdf["weights"]) == FORMATS
        assert "parent" not in rdf["weights"][SAVED_MODEL]
        (output,) = rdf["outputs"]
        assert output["axes"][-1]["channel_names"] == ["labels"]
        assert not any("halo" in axis for axis in output["axes"])
        assert "postprocessing" not in output
        stored = np.load(folder / output["test_tensor"]["source"])
        assert stored.dtype == np.float32
        given = np.load(folder / rdf["inputs"][0]["test_tensor"]["source"])
        assert disagreement(stored[0, ..., 0], labels_of(given[0], recipe)) < 0.01
        assert stored.max() == labels_of(given[0], recipe).max() > 3
        assert all(axis["size"]["step"] == 1 for axis in rdf["inputs"][0]["axes"] if axis["type"] == "space")
        one, nothing = (masks[0] == 1).astype(np.int32), np.zeros_like(masks[0])
        shown = [*masks, masks[0][:151, :133], one, nothing]  # also a size that is no multiple of any step
        images = [answer(labels, recipe) for labels in shown]
        for engine in FILES:
            for found, image, labels in zip(run_labels(engine, folder, images), images, shown, strict=True):
                assert disagreement(found, labels_of(image, recipe)) < 0.01
                assert disagreement(found, labels) < 0.1


@pytest.mark.slow
def test_a_graph_of_labels_passes_the_test_of_the_zoo(graph_bundle):
    report = prove(graph_bundle[0])
    assert report.passed, report
    for name in FORMATS:
        assert report.formats[name].core == "passed"
    verdicts = check(graph_bundle[0]).consumers
    assert {finding.rule for finding in verdicts["fiji"].findings} <= {"R6"}  # many channels make large tiles
    for program, verdict in (("ilastik", "degraded"), ("qupath", "fails")):
        assert verdicts[program].verdict == verdict
        assert {finding.rule for finding in verdicts[program].findings} == {"T10"}


def run_labels(engine, folder, outputs):
    inputs = [{"raw": output[None]} for output in outputs]
    result = run(engine, folder / FILES[engine.partition("-")[0]], inputs, TensorNames(["raw"], ["labels"]))
    return [tensors["labels"][0, ..., 0].astype(np.int32) for tensors in result.outputs]


NOISE = {"border": 0.3, "prompts": 0.3, "stars": 2.0, "flows": 3.0, "fields": 1.0}
"""Of the answers, in their units."""


@pytest.mark.slow
def test_labels_of_real_nuclei_in_torchscript(graph_bundle, data_folder):
    path, recipe = graph_bundle
    random, pictures = np.random.default_rng(0), []
    for file in sorted((data_folder("nuclei_dsb2018") / "val" / "masks").iterdir())[:10]:
        labels = np.asarray(Image.open(file)).astype(np.int32)
        output = answer(labels, recipe)
        noise = NOISE[recipe.targets] * ndimage.gaussian_filter(random.normal(size=output.shape), (1.5, 1.5, 0))
        if recipe.targets == "stars":
            noise[..., 0] = 0  # it would make candidates of the background
        pictures.append((labels, (output + noise).astype(np.float32)))
    with unpacked(path) as folder:
        found = run_labels("torch", folder, [output for _, output in pictures])
    decoded = [labels_of(output, recipe) for _, output in pictures]
    masks = [labels for labels, _ in pictures]

    def precision(expected, given, place):
        counts = [count_instances(*pair) for pair in zip(expected, given, strict=True)]
        return sum(counts[1:], counts[0]).average_precision()[place]

    assert precision(decoded, found, 8) >= 0.99  # an IoU of 0.9
    assert precision(masks, found, 0) >= precision(masks, decoded, 0) - 0.01 > 0.8


def test_a_mask_keeps_objects_apart():
    labels = np.zeros((1, 5, 6, 1), np.float32)
    labels[0, 1:4, 1:3], labels[0, 2:5, 3:5], labels[0, 0, 5] = 1, 2, 3
    mask = mask_of(labels)
    assert mask.dtype == np.float32
    assert ndimage.label(mask[0, ..., 0], np.ones((3, 3)))[1] == 3
    lost = (labels > 0) & (mask == 0)
    assert np.argwhere(lost[0, ..., 0]).tolist() == [[1, 2], [2, 2], [2, 3], [3, 2]]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["border", "stars"])
def test_a_mask_has_the_same_objects_in_every_program_and_tile(name, masks, tmp_path):
    recipe = recipe_of(name)
    model = full_resolution(network_of(recipe), recipe.geometry.grid)
    path, ending = tmp_path / "mask.zip", labels_postprocessing(recipe, "mask")
    result = packed(recipe, answer(masks[0], recipe), path, ending, model, id="mask")
    assert list(result.agreement) == FORMATS
    assert all(entry["max_abs_error"] < 0.01 for entry in result.agreement.values())
    verdicts = check(path).consumers
    assert {verdicts[name].verdict for name in ("ilastik", "qupath", "core")} == {"opens"}
    assert verdicts["fiji"].verdict != "fails"  # images of many channels, which no network has, have fewer pixels
    image = answer(nuclei(5, 620)[1], recipe)
    with opened(path) as contents:
        for program in ("core", "ilastik", "qupath"):
            (found,) = PROGRAMS[program](contents, [image[None]])
            areas = ndimage.label(found["mask"][0, ..., 0] > 0.5)[0]
            # this network has no halo: what lies across the edge of a tile is found by its parts
            assert count_instances(labels_of(image, recipe), areas).average_precision()[0] > 0.9


@pytest.mark.engines
@pytest.mark.parametrize("engine", OLD)
def test_labels_in_the_engines_of_fiji(engine, graph_bundle, masks):
    path, recipe = graph_bundle
    try:
        old.python(engine, OLD[engine])
    except UserError as error:
        pytest.skip(str(error))
    outputs = [answer(labels, recipe) for labels in [*masks, np.zeros_like(masks[0])]]
    with unpacked(path) as folder:
        found = run_labels(f"{engine}-{OLD[engine]}", folder, outputs)
    for labels, output in zip(found, outputs, strict=True):
        assert disagreement(labels, labels_of(output, recipe)) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("targets", BOTH)
def test_an_operation_is_declared(targets, masks, tmp_path):
    recipe = recipe_of(targets)
    model = full_resolution(network_of(recipe), recipe.geometry.grid)
    model = channels_first(model) if targets == "flows" else model
    axes, dtype = ("bcyx", "uint16") if targets == "flows" else ("byxc", "int32")
    ending = labels_postprocessing(recipe, "raw")
    path = tmp_path / "raw.zip"
    packed(recipe, answer(masks[0], recipe), path, ending, model, axes, formats=["keras_v3"])
    with unpacked(path) as folder:
        rdf = read_yaml(folder / "rdf.yaml", "rdf")
        (output,) = rdf["outputs"]
        assert output["data"]["type"] == dtype
        assert [axis["id"][0] for axis in output["axes"]] == list(axes)
        assert output["postprocessing"] == [ending.operation.model_dump(exclude_defaults=True)]
        stored = np.load(folder / output["test_tensor"]["source"])
        given = np.load(folder / rdf["inputs"][0]["test_tensor"]["source"])
        assert np.array_equal(stored.squeeze(), labels_of(given[0], recipe))
        text = (folder / "README.md").read_text(encoding="utf-8")
    assert f"In Python bioimageio.core applies `{ending.operation.id}`" in text
    found = check(path)
    assert found.consumers["core"].verdict == "opens"
    assert found.consumers["fiji"].verdict == "fails"
    assert "P10" in {finding.rule for finding in found.consumers["core"].findings}
    assert "P10" in {finding.rule for finding in found.consumers["fiji"].findings}
    package = TO_LABELS[ending.operation.id]
    report = prove(path)
    if importlib.util.find_spec(package) is None:
        assert report.formats["keras_v3"].engine == "absent"
        assert f"pip install {package}." in report.formats["keras_v3"].messages[0]
    else:
        assert report.passed


def test_what_cannot_hold_labels_is_refused(masks, tmp_path):
    recipe = recipe_of("flows")
    image = answer(masks[0], recipe)
    with pytest.raises(UserError, match="keras_v3 has no loops whose length depends on the image"):
        packed(
            recipe,
            image,
            tmp_path / "a.zip",
            labels_postprocessing(recipe, "labels"),
            network_of(recipe),
            formats=["keras_v3"],
        )
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"stardist2d, cellpose2d, but not for fields with .*: leave --form out"):
        labels_postprocessing(recipe_of("fields"), "raw")


@pytest.mark.slow
def test_a_graph_that_disagrees_is_refused(masks, tmp_path):
    recipe = recipe_of("flows")
    ending = labels_postprocessing(recipe, "labels")
    ending.arguments["minimum_size"] = 500
    with pytest.raises(UserError, match="of the objects' pixels"):
        packed(recipe, answer(masks[0], recipe), tmp_path / "a.zip", ending, network_of(recipe))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_image_without_objects_is_no_test_image(masks, tmp_path):
    recipe = recipe_of("flows")
    image = answer(masks[0], recipe) - np.float32([0, 0, 20])
    with pytest.raises(UserError, match="zero everywhere"):
        packed(recipe, image, tmp_path / "a.zip", labels_postprocessing(recipe, "labels"), network_of(recipe))


@pytest.mark.parametrize(
    ("model", "targets"), [("sam_vit_b", "prompts"), ("unet2d", "classes"), ("unet2d", "foreground")]
)
def test_who_lacks_a_form_is_told_who_has_it(model, targets):
    recipe = recipe_of("border").model_copy(update={"model": model, "targets": targets})
    with pytest.raises(UserError, match=f"but not for {model} with the targets {targets}") as raised:
        labels_postprocessing(recipe, "labels")
    able = str(raised.value).partition(", but not")[0].removeprefix("The form labels is there for ").split(", ")
    assert {"unet2d with the targets border", "stardist2d", "cellpose2d", "sam_tiny"} <= set(able)
    assert model not in able


@pytest.mark.slow
def test_forms_of_a_run(tmp_path):
    write_nuclei(tmp_path, images=4, seed=3, size=96)
    config = {
        "model": {"name": "stardist2d", "arguments": {"filters": 8, "features": 16, "rays": 16, "grid": [2, 2]}},
        "data": {"images": tmp_path / "images", "masks": tmp_path / "masks"},
        "training": {"epochs": 1, "steps_per_epoch": 2, "batch_size": 1, "patch_size": 64},
    }
    run = kerazoo.train(make_config(config), tmp_path / "run", progress=False)
    with pytest.raises(UserError, match="choose from maps, raw, labels"):
        kerazoo.export(run, tmp_path / "a.zip", form="rough")
    # an untrained network whose distances are 0 finds single pixels
    run.write("recipe", run.recipe.model_copy(update={"decoding": DecodingConfig(threshold=0.01)}).model_dump())
    bundle = kerazoo.export(run, tmp_path / "labels.zip", form="labels")
    with unpacked(bundle) as folder:
        rdf = read_yaml(folder / "rdf.yaml", "rdf")
        assert "stardist" not in rdf["name"].lower()
        assert "Labels are those of whole images" in (folder / "README.md").read_text(encoding="utf-8")
    image = sorted((tmp_path / "images").iterdir())[0]
    with pytest.raises(UserError, match=r"of the form labels, .*: use the run"):
        kerazoo.predict(bundle, image, tmp_path / "predicted")
    raw = kerazoo.export(run, tmp_path / "raw.zip", form="raw", formats=["keras_v3"])
    by_bundle, _ = kerazoo.predict(raw, image, tmp_path / "by_bundle")
    by_run, _ = kerazoo.predict(run, image, tmp_path / "by_run")
    assert np.array_equal(tifffile.imread(by_bundle), tifffile.imread(by_run))
