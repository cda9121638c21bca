"""Bundles that answer prompts: micro-sam's names and types, and the same answers as from Python."""

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.segmentation import relabel_sequential

import kerazoo
from bmzpack import check
from bmzpack.bundle.archive import unpacked
from bmzpack.errors import UserError
from bmzpack.settings import read_yaml
from bmzpack.testing.test import test as prove
from kerazoo.examples.synthetic import write_nuclei
from kerazoo.files.prompts import Prompts
from kerazoo.inference.prompted import PromptedPredictor
from sam_run import SIDE, sam_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nuclei")
    write_nuclei(folder, images=1, seed=7, size=300)
    (mask,) = (folder / "masks").iterdir()
    return sam_run(folder / "run", relabel_sequential(np.asarray(Image.open(mask)).astype(np.int32))[0])


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    return kerazoo.export(run, tmp_path_factory.mktemp("prompts") / "prompts.zip", form="prompts")


def test_a_bundle_for_boxes(bundle, run):
    with unpacked(bundle) as folder:
        rdf = read_yaml(folder / "rdf.yaml", "rdf")
        tensors = {entry["id"]: entry for entry in (*rdf["inputs"], *rdf["outputs"])}
        arrays = {name: np.load(folder / entry["test_tensor"]["source"]) for name, entry in tensors.items()}
    assert list(rdf["weights"]) == ["onnx"]
    axes = {name: [axis["id"] for axis in entry["axes"]] for name, entry in tensors.items()}
    assert axes == {
        "image": ["batch", "channel", "y", "x"],
        "box_prompts": ["batch", "object", "channel"],
        "masks": ["batch", "object", "channel", "y", "x"],
        "scores": ["batch", "object", "channel"],
    }
    assert {name: array.dtype.name for name, array in arrays.items()} == {
        "image": "float32",
        "box_prompts": "int64",
        "masks": "uint8",
        "scores": "float32",
    }
    assert [entry["data"]["type"] for entry in tensors.values()] == [array.dtype.name for array in arrays.values()]
    assert tensors["masks"]["axes"][1]["size"] == {"tensor_id": "box_prompts", "axis_id": "object"}
    assert tensors["image"]["axes"][2]["size"] == {"min": SIDE, "step": 8}
    count = arrays["box_prompts"].shape[1]
    assert 1 < count <= 8
    assert arrays["masks"].shape == (1, count, 1, SIDE, SIDE)
    predictor = PromptedPredictor(run)
    embedding = predictor.embed(arrays["image"][0].transpose(1, 2, 0))
    found = predictor.masks(embedding, Prompts(boxes=arrays["box_prompts"][0].astype(np.float32)))
    for number, (mask,) in enumerate(found):
        expected = np.zeros((SIDE, SIDE), bool)
        expected[mask.rows, mask.columns] = mask.inside
        assert np.count_nonzero(expected != arrays["masks"][0, number, 0]) <= 5
        assert float(arrays["scores"][0, number, 0]) == pytest.approx(mask.score, abs=1e-4)


def test_a_bundle_for_boxes_is_for_python(bundle):
    report = prove(bundle)
    assert report.passed, report
    assert report.formats["onnx"].core == "passed"
    verdicts = check(bundle).consumers
    assert verdicts["core"].verdict == "opens"
    for program in ("fiji", "ilastik", "qupath"):
        assert verdicts[program].verdict == "fails"
        reasons = [finding for finding in verdicts[program].findings if finding.rule == "T1"]
        assert "There are 2 inputs: image, box_prompts." in str(reasons)
    with pytest.raises(UserError, match="of the form prompts, which cannot be applied here: use the run"):
        kerazoo.predict(bundle, "image.tif", "out")


@pytest.mark.slow
def test_a_bundle_of_the_embedding(run, tmp_path):
    path = kerazoo.export(run, tmp_path / "embedding.zip", form="embedding", formats=["keras_v3", "onnx"])
    with unpacked(path) as folder:
        rdf = read_yaml(folder / "rdf.yaml", "rdf")
        embedding = np.load(folder / rdf["outputs"][0]["test_tensor"]["source"])
    assert [entry["id"] for entry in rdf["outputs"]] == ["embeddings"]
    assert embedding.shape == (1, SIDE // 8, SIDE // 8, 16)
    with pytest.raises(UserError, match="of the form embedding, which cannot be applied here: use the run"):
        kerazoo.predict(path, run.path / "image.tif", tmp_path / "out")


def test_other_networks_answer_no_prompts(run, tmp_path, monkeypatch):
    family = type(PromptedPredictor(run).family)
    monkeypatch.setattr(family, "answers_prompts", False)
    with pytest.raises(UserError, match="sam_tiny does not answer prompts: leave --form out"):
        kerazoo.export(run, tmp_path / "a.zip", form="prompts")
    assert not list(tmp_path.iterdir())
    assert tifffile.imread(run.path / "image.tif").shape[-1] == 3
