"""Validation, evaluation and report of a run folder, from files to files."""

import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.measure import label

from bmzpack.errors import UserError
from kerazoo import evaluation
from kerazoo.commands import finish, report
from kerazoo.config import DecodingConfig
from kerazoo.evaluation.evaluate import evaluate
from kerazoo.evaluation.images import load_truth, spread
from kerazoo.evaluation.scores import count_instances, ranking, total
from kerazoo.evaluation.thresholds import choose_decoding
from kerazoo.evaluation.validate import validate
from kerazoo.files.folders import find_pairs
from kerazoo.files.pairs import load_pair
from kerazoo.reports.figures import displayed


def test_validation_fills_the_run_folder(validated):
    record, figures = validated.record, validated.figures
    assert record.parameters == 1234567, "what was there is kept"
    scores = record.scores
    assert 0.8 < scores["dice"] <= 1
    assert scores["ap_50"] >= record.validation["baseline"]["ap_50"] > 0.4, "the same grey values, tuned"
    assert len(record.validation["per_image"]) == 7
    assert validated.recipe.decoding != DecodingConfig()
    for name in ("curves", "samples", "worst"):
        picture = np.asarray(Image.open(figures / f"{name}.png").convert("RGB"))
        assert picture.shape[0] > 250
        assert picture.shape[1] > 800
        assert picture.std() > 20, "not blank"


def test_validation_twice_gives_the_same(validated):
    before = {path: path.read_bytes() for path in validated.path.rglob("*") if path.is_file()}
    finish(validated)
    assert before == {path: path.read_bytes() for path in validated.path.rglob("*") if path.is_file()}


def test_chosen_decoding_is_at_least_as_good_as_the_default(make_run):
    run = make_run()
    predictor, data = evaluation.images.load_predictor(run), run.config.data
    samples = [load_pair(pair, data) for pair in find_pairs(data.images, data.masks)]
    predicted = [(sample, predictor.outputs(sample.image)) for sample in samples]

    def score(decoding):
        predictor.recipe = run.recipe.model_copy(update={"decoding": decoding})
        counts = (count_instances(sample.mask, predictor.result(sample.image)) for sample in samples)
        return total(counts).scores()["ap_50_95"]

    chosen = choose_decoding(predicted, run.recipe)
    assert score(chosen) >= score(DecodingConfig())
    stated = DecodingConfig(minimum_size=7, threshold=0.45)
    kept = choose_decoding(predicted, run.recipe.model_copy(update={"decoding": stated}))
    assert (kept.minimum_size, kept.threshold) == (7, 0.45), "what the user has set is kept"


def test_evaluation_as_json(validated, nuclei_folder, tmp_path):
    path = tmp_path / "scores.json"
    result = evaluate(validated.path, nuclei_folder / "images", nuclei_folder / "masks", json=path)
    assert json.loads(path.read_text()) == result
    assert result["task"] == "instances"
    assert {"dice", "iou", "ap_50", "ap_75", "ap_50_95", "panoptic_quality"} <= set(result["scores"])
    assert "accuracy" not in result["scores"]
    assert [entry["id"] for entry in result["per_image"]] == [f"nuclei_{number:03d}" for number in range(8)]
    assert set(result["per_image"][0]) == {"id", *result["scores"]}
    assert result["mean_scores"]["ap_50"] == pytest.approx(np.mean([entry["ap_50"] for entry in result["per_image"]]))
    with pytest.raises(UserError, match="exists already"):
        evaluate(validated, nuclei_folder / "images", nuclei_folder / "masks", json=path)
    assert evaluate(validated, nuclei_folder / "images", nuclei_folder / "masks", json=path, overwrite=True) == result


def test_evaluation_of_classes(make_run, nuclei_folder):
    run = make_run("classes")
    validate(run)
    assert run.recipe.decoding == DecodingConfig(), "nothing to choose"
    result = evaluate(run, nuclei_folder / "images", nuclei_folder / "classes")
    assert result["task"] == "semantic"
    assert list(result["per_class"]) == ["glass", "<nucleus>", "first"]
    assert result["per_class"]["first"]["recall"] == 0
    per_class = [values["iou"] for values in result["per_class"].values()]
    assert result["scores"]["iou"] == pytest.approx(np.mean(per_class))
    assert result["scores"]["balanced_accuracy"] < result["scores"]["accuracy"]
    assert "ap_50" not in result["scores"]
    page = report(run).read_text(encoding="utf-8")
    assert "&lt;nucleus&gt;" in page
    assert "<nucleus>" not in page


def test_evaluation_of_a_foreground(make_run, nuclei_folder):
    run = make_run("foreground")
    validate(run)
    assert run.recipe.decoding.threshold != 0.5
    result = evaluate(run, nuclei_folder / "images", nuclei_folder / "masks")
    assert result["task"] == "semantic"
    assert 0.8 < result["scores"]["dice"] < 1
    assert result["scores"]["dice"] == pytest.approx(result["per_class"]["foreground"]["dice"])


def test_parts_of_a_binary_mask_are_objects(make_run, nuclei_folder):
    """Where instances are asked for and masks tell only object or not."""
    run = make_run(annotation="binary")
    (pair, *_) = find_pairs(nuclei_folder / "images", nuclei_folder / "masks")
    labels = load_pair(pair, run.config.data.model_copy(update={"annotation": "labels"})).mask
    truth = load_truth(pair, run.config.data, run.recipe).mask
    assert ((truth > 0) == (labels > 0)).all()
    assert (truth == label(labels > 0, connectivity=1)).all()
    ignored = load_truth(pair, run.config.data.model_copy(update={"ignore": 2}), run.recipe).mask
    assert ((ignored == 2) == (labels == 2)).all()
    assert ((ignored > 2) == ((labels > 0) & (labels != 2))).all()


def test_nothing_is_left_behind_when_files_do_not_fit(validated, nuclei_folder, tmp_path):
    with pytest.raises(UserError, match="no folder"):
        evaluate(validated, tmp_path / "nowhere", nuclei_folder / "masks", json=tmp_path / "scores.json")
    assert not (tmp_path / "scores.json").exists()


def test_an_empty_mask_may_be_the_truth_of_one_image_but_not_of_all(validated, nuclei_folder, tmp_path):
    for folder in ("images", "masks"):
        shutil.copytree(nuclei_folder / folder, tmp_path / folder)
    masks = sorted((tmp_path / "masks").iterdir())
    tifffile.imwrite(masks[0], np.zeros((128, 128), np.uint16))
    per_image = evaluate(validated, tmp_path / "images", tmp_path / "masks")["per_image"]
    assert (per_image[0]["dice"], per_image[0]["ap_50"]) == (0, 0)
    assert per_image[1]["dice"] > 0.8
    for path in masks:
        tifffile.imwrite(path, np.zeros((128, 128), np.uint16))
    with pytest.raises(UserError, match="all masks are empty"):
        evaluate(validated, tmp_path / "images", tmp_path / "masks")


def test_axes_of_the_images_to_be_evaluated(validated, nuclei_folder, tmp_path):
    (tmp_path / "images").mkdir()
    for path in (nuclei_folder / "images").iterdir():  # a single channel in front, which nothing in the file names
        tifffile.imwrite(tmp_path / "images" / path.name, tifffile.imread(path)[None], metadata=None)
    expected = evaluate(validated, nuclei_folder / "images", nuclei_folder / "masks")
    assert evaluate(validated, tmp_path / "images", nuclei_folder / "masks", axes="CYX") == expected


class Page(HTMLParser):
    """Collects what a page refers to, and checks that its tags are closed."""

    def __init__(self):
        super().__init__()
        self.open, self.links, self.images, self.rows = [], [], [], 0

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes[name] for name in ("src", "href") if name in attributes]
        self.rows += tag == "tr"
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_report_stands_alone(validated):
    validated.write("agreement", {"keras_v3": {"max_abs_error": 0.0, "seconds": 0.1}, "onnx": {"max_abs_error": 3e-7}})
    path = report(validated.path)
    assert path == validated.path / "report.html"
    text = path.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert not page.open
    assert len(text) < 5_000_000
    assert sum(link.startswith("data:image/") for link in page.links) == 3
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    anchors = [link[1:] for link in page.links if link.startswith("#")]
    assert all(f'id="{anchor}"' in text for anchor in anchors)
    assert page.rows > 7 + len(validated.record.scores)
    assert "<b>," not in text
    for words in ("Fiji", "ilastik", "QuPath", "1,234,567", "3e-07", "nuclei_003", "kerazoo evaluate", "keras", "3.15"):
        assert words in text
    assert not re.search(r"https?://", text)


def test_report_of_a_run_that_is_not_validated_or_packed(make_run):
    text = report(make_run()).read_text(encoding="utf-8")
    assert "kerazoo export" in text
    assert "not drawn yet" in text


def test_report_refuses_what_is_no_run(tmp_path):
    with pytest.raises(UserError, match="not a run folder"):
        report(tmp_path)


def test_ranking_and_spread(make_run):
    recipe = make_run().recipe
    per_image = [{"id": str(number), "ap_50": score} for number, score in enumerate([0.5, None, 0.1, 0.9, 0.5])]
    assert ranking(per_image, recipe) == ["2", "0", "4", "3"]
    assert spread(["a", "b", "c", "d", "e"], 3) == ["e", "c", "a"]
    assert spread(["a"], 4) == ["a"]
    assert spread([], 4) == []


@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 3), (np.uint16, 1), (np.float32, 2), (np.int16, 5)])
def test_any_image_can_be_displayed(dtype, channels):
    image = (np.random.default_rng(0).random((20, 30, channels)) * 200).astype(dtype)
    shown = displayed(image)
    assert shown.shape == ((20, 30) if channels == 1 else (20, 30, 3))
    assert shown.min() >= 0
    assert shown.max() <= 1
