"""Figures and report of a classifier's run, from its validation patches to files."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import yaml
from PIL import Image

from kerazoo.commands import report
from kerazoo.data.normalise import Normalisation
from kerazoo.data.patches import Patch
from kerazoo.evaluation.classification import Classified, class_summary
from kerazoo.evaluation.patches import ValidatedPatches
from kerazoo.models.configure import family_of, make_config
from kerazoo.models.recipe import Recipe, TileGeometry
from kerazoo.reports.patch_figures import (
    draw_calibration,
    draw_confusion,
    draw_patches,
    draw_roc,
    mistakes,
    samples,
)
from kerazoo.reports.patch_sections import cautions
from kerazoo.reports.run_figures import draw_run
from kerazoo.runs.run import Run

CLASSES = ["<epithelium>", "stroma with a rather long name", "lumen"]


def guesses(classes=CLASSES, patches=90, images=6, seed=0):
    """A network that is right more often than not, on images that show all classes."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, len(classes), patches)
    evidence = np.exp(2 * random.normal(size=(patches, len(classes))) + 3 * np.eye(len(classes))[truth])
    scores = (evidence / evidence.sum(axis=1, keepdims=True)).astype(np.float32)
    return Classified(truth, scores, [f"slide_{index % images}" for index in range(patches)], list(classes))


def score(run, classified):
    """What the validation writes into the record."""
    validation = class_summary(classified)
    run.update_record(scores=validation.pop("scores"), validation=validation)


def score_and_draw(run, classified):
    score(run, classified)
    draw_run(run, ValidatedPatches(classified, pixels))


def pixels(index):
    return np.random.default_rng(index).integers(0, 256, (24, 24, 3), np.uint8)


@pytest.fixture
def make_run(tmp_path):
    """A function from changes of the configuration to a run folder of a classifier before its validation."""

    def make(groups=(None, None), **changes):
        run = Run(tmp_path / "a run")
        run.path.mkdir()
        data = {"folder": str(tmp_path), "channels": 3, "annotation": "image", "classes": CLASSES}
        content = {"model": {"name": "patch_cnn"}, "data": data | changes.pop("data", {}), **changes}
        config = make_config({"targets": {"kind": "patch"}, **content})
        recipe = Recipe(
            model=config.model.name,
            task="classification",
            channels=3,
            channel_names=["red", "green", "blue"],
            classes=family_of(config).channel_names(config),
            targets="patch",
            patch=Patch(size=24, stride=12, purity=0.85),
            annotation=config.data.annotation,
            normalisation=Normalisation(method="none"),
            decoding=config.decoding,
            geometry=TileGeometry(step=1, halo=None, minimum=24),
        )
        entry = {"id": "slide_0", "image": "slide_0.png", "mask": None}
        split = {part: [entry | {"group": group}] for part, group in zip(("train", "validation"), groups, strict=True)}
        (run.path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
        (run.path / "split.json").write_text(json.dumps(split))
        (run.path / "recipe.json").write_text(recipe.model_dump_json())
        (run.path / "history.csv").write_text("epoch,loss,val_loss\n1,0.9,1.0\n2,0.7,0.8\n")
        (run.path / "best.keras").touch()
        return run

    return make


def test_a_classifier_is_validated_and_reported(make_run):
    run, classified = make_run(), guesses()
    score_and_draw(run, classified)
    record = run.record
    assert set(record.validation) == {
        "task", "mean_scores", "per_class", "per_image", "confusion", "balance", "calibration", "roc",
    }  # fmt: skip
    for name in ("curves", "confusion", "roc", "calibration", "samples", "worst"):
        picture = np.asarray(Image.open(run.figures / f"{name}.png").convert("RGB"))
        assert min(picture.shape[:2]) > 200
        assert picture.std() > 10, f"{name} is blank"
    page = report(run).read_text(encoding="utf-8")
    assert page.count("data:image/") == 6
    assert "<epithelium>" not in page
    assert f"<b>{record.scores['accuracy']:.3f}</b>" in page
    for words in ("Keep in mind", "by chance 0.333", "is taken for", "calibration error", "slide_5", "--folder DIR"):
        assert words in page


def test_report_of_scores_that_are_no_probabilities(make_run):
    run, classified = make_run(model={"name": "lenet1989"}), guesses()
    score_and_draw(run, Classified(classified.truth, classified.scores - 2, classified.ids, CLASSES))
    assert not (run.figures / "calibration.png").exists()
    page = report(run).read_text(encoding="utf-8")
    assert "scores, not probabilities" in page
    assert "not drawn yet" not in page


def test_report_of_a_classifier_without_mistakes(make_run):
    run = make_run()
    truth = np.arange(30) % 3
    score_and_draw(run, Classified(truth, np.eye(3, dtype=np.float32)[truth], ["a"] * 30, CLASSES))
    page = report(run).read_text(encoding="utf-8")
    assert "No validation patch is classified wrongly" in page
    assert "not drawn yet" not in page


def test_report_of_a_classifier_that_is_not_validated(make_run):
    assert "not validated yet" in report(make_run()).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "divided image by image"),
        ({"groups": ("p1", "p2")}, "divided by group: 1 to train, 1 to validate"),
        ({"groups": ("p1", "p2"), "split": {"group": "patient"}}, "divided by patient"),
        ({"split": {"column": "part"}}, "The column part of the table"),
        ({"data": {"annotation": "classes"}}, "one class covers at least 85 %"),
    ],
)
def test_cautions_about_the_data(make_run, given, said):
    run = make_run(**given)
    score(run, guesses())
    assert any(said in caution for caution in cautions(run))
    assert any("Only 6 images are validated" in caution for caution in cautions(run))


def test_cautions_about_classes_and_certainty(make_run):
    run = make_run()
    truth = np.repeat([0, 2], [60, 5])
    sure = np.tile(np.array([[0.98, 0.01, 0.01]], np.float32), (65, 1))
    score(run, Classified(truth, sure, [str(index) for index in range(65)], CLASSES))
    text = " ".join(cautions(run))
    assert "No validation patch is of the class stroma" in text
    assert "lumen (5)" in text
    assert "Always to answer <epithelium> would give an accuracy of 0.92" in text
    assert "too sure: its mean probability is 0.98, but 0.92" in text


@pytest.mark.parametrize("classes", [2, 4, 20])
def test_figures_of_any_number_of_classes(tmp_path, classes):
    classified = guesses([f"class {index}" for index in range(classes)], patches=7 * classes)
    draw_confusion(classified, tmp_path / "confusion.png")
    draw_roc(classified, tmp_path / "roc.png")
    draw_calibration(classified, tmp_path / "calibration.png")
    draw_patches(classified, [0], lambda index: pixels(index)[..., :1].astype(np.uint16), tmp_path / "patches.png")
    assert len(list(tmp_path.iterdir())) == 4


def test_which_patches_are_shown():
    classified = guesses(patches=300)
    chosen = samples(classified)
    assert classified.truth[chosen].tolist() == np.repeat(range(3), 16).tolist()
    for index in range(3):
        scores = classified.true_score[[place for place in chosen if classified.truth[place] == index]]
        assert (np.diff(scores) <= 0).all()
        assert scores[[0, -1]].tolist() == [
            classified.true_score[classified.truth == index].max(),
            classified.true_score[classified.truth == index].min(),
        ]
    worst = mistakes(classified, 12)
    assert not classified.right[worst].any()
    assert (np.diff(classified.confidence[worst]) <= 0).all()
    assert {classified.ids[index] for index in worst} == {f"slide_{index}" for index in range(6)}
    assert mistakes(guesses(patches=300), 1000) != []
    assert samples(guesses(patches=4)) != []


def test_patches_share_one_stretch(tmp_path):
    """An empty patch beside a bright one stays dark, whatever its noise."""
    classified = Classified(np.array([0, 1]), np.eye(2, dtype=np.float32), ["a", "b"], ["dark", "bright"])
    random = np.random.default_rng(0)
    raw = [random.integers(100, 110, (32, 32, 1), np.uint16), random.integers(100, 4000, (32, 32, 1), np.uint16)]
    draw_patches(classified, [0, 1], raw.__getitem__, tmp_path / "patches.png")
    picture = np.asarray(Image.open(tmp_path / "patches.png").convert("L")).astype(float)
    dark, bright = picture[40:140, 40:140], picture[40:140, 215:315]
    assert dark.mean() < 30
    assert bright.mean() > 100


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_script_of_the_report_runs(make_run, tmp_path):
    """The page's own script sorts a table: in node, with what it needs of a page."""
    page = report(make_run()).read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>\n(.*?)</script>", page, re.DOTALL)
    stand_in = """
    const cell = text => ({ textContent: text });
    const body = { rows: [["b", "0.5"], ["a", "–"], ["c", "0.25"]].map(row => ({ cells: row.map(cell) })),
      append(...rows) { this.rows = rows; } };
    const table = { tBodies: [body] };
    const heads = [0, 1].map(index => ({ cellIndex: index, dataset: {}, closest: () => table,
      addEventListener(name, act) { this.click = act; } }));
    const document = { querySelectorAll: selector => selector === ".sortable th" ? heads : [] };
    """
    clicks = """
    const order = () => body.rows.map(row => row.cells[0].textContent).join("");
    const seen = [];
    for (const head of [heads[0], heads[1], heads[1]]) { head.click(); seen.push(order()); }
    console.log(seen.join(" "));
    """
    (tmp_path / "script.js").write_text(stand_in + script + clicks, encoding="utf-8")
    done = subprocess.run(["node", tmp_path / "script.js"], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["abc", "cba", "abc"], done.stderr
