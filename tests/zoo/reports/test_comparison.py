"""Several runs side by side: groups, their names, figure and table."""

import csv

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

import kerazoo
from bmzpack.errors import UserError
from kerazoo.cli import app
from kerazoo.data.normalise import Normalisation
from kerazoo.models.configure import family_of, make_config
from kerazoo.models.recipe import Recipe, TileGeometry
from kerazoo.reports.comparison import compare
from kerazoo.runs.run import Run


@pytest.fixture
def make_run(tmp_path):
    """A function from a name, a score and changes of the configuration to a finished run."""

    def make(name, accuracy=0.8, epochs=3, model=None, kind="patch", data=None, **training):
        run = Run(tmp_path / name)
        run.path.mkdir()
        config = make_config(
            {
                "model": {"name": "classifier2d" if kind == "patch" else "unet2d"} | (model or {}),
                "data": {"folder": str(tmp_path), "annotation": "image", "classes": ["a", "b"]} | (data or {}),
                "targets": {"kind": kind},
                "split": {"seed": training.get("seed", 1)},
                "training": training,
            }
        )
        recipe = Recipe(
            model=config.model.name,
            task=family_of(config).task(kind),
            channels=1,
            channel_names=["grey"],
            classes=family_of(config).channel_names(config),
            targets=kind,
            normalisation=Normalisation(method="none"),
            decoding=config.decoding,
            geometry=TileGeometry(step=1, halo=None, minimum=32),
        )
        (run.path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
        (run.path / "recipe.json").write_text(recipe.model_dump_json())
        rows = [f"{epoch},{2 / epoch},{2.5 / epoch},{accuracy * epoch / epochs}" for epoch in range(1, epochs + 1)]
        (run.path / "history.csv").write_text("\n".join(["epoch,loss,val_loss,val_balanced_accuracy", *rows]) + "\n")
        score = "balanced_accuracy" if kind == "patch" else "ap_50"
        run.write("record", {"scores": {score: accuracy, "auc": None}})
        (run.path / "best.keras").touch()
        return run

    return make


@pytest.fixture
def transfers(make_run):
    """Three ways to start, the first two with three seeds."""
    pretrained = {"weights": "imagenet"}
    return [
        *(
            make_run(f"freeze{seed}", 0.8 + seed / 100, model=pretrained, transfer="freeze", seed=seed)
            for seed in (1, 2, 3)
        ),
        *(make_run(f"all{seed}", 0.9, epochs=2 + seed, model=pretrained, seed=seed) for seed in (1, 2, 3)),
        make_run("scratch", 0.6),
    ]


def test_repetitions_are_grouped_and_named_by_what_differs(transfers, tmp_path):
    result = compare([run.path for run in transfers], tmp_path / "out" / "comparison.png")
    assert result["score"] == "balanced_accuracy"
    assert [group["label"] for group in result["groups"]] == [
        "model.weights: imagenet, training.transfer: freeze",
        "model.weights: imagenet, training.transfer: all",
        "from scratch",
    ]
    assert [len(group["runs"]) for group in result["groups"]] == [3, 3, 1]
    freeze, _, scratch = (group["scores"]["balanced_accuracy"] for group in result["groups"])
    assert freeze == {"mean": pytest.approx(0.82), "sd": pytest.approx(0.01), "n": 3}
    assert scratch == {"mean": 0.6, "sd": None, "n": 1}
    with (tmp_path / "out" / "comparison.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert {name: rows[0][name] for name in ("score", "n")} == {"score": "balanced_accuracy", "n": "3"}
    assert float(rows[0]["mean"]) == freeze["mean"]
    assert (rows[5]["score"], rows[5]["mean"], rows[5]["n"]) == ("auc", "", "0")
    picture = np.asarray(Image.open(tmp_path / "out" / "comparison.png").convert("RGB"))
    assert min(picture.shape[:2]) > 300
    assert picture.std() > 10


def test_a_single_setting(make_run, tmp_path):
    runs = [make_run(f"run{seed}", seed=seed) for seed in (1, 2)]
    (group,) = kerazoo.compare(runs, tmp_path / "comparison.png")["groups"]
    assert group["label"] == "classifier2d"


def test_weights_of_one_name_are_told_apart(make_run, tmp_path):
    runs = [make_run(f"run{place}", model={"weights": f"/{place}/encoder.npz"}) for place in "ab"]
    labels = [group["label"] for group in compare(runs, tmp_path / "comparison.png")["groups"]]
    assert labels == ["model.weights: /a/encoder.npz", "model.weights: /b/encoder.npz"]


def test_all_tasks(make_run, tmp_path):
    masks = {"folder": None, "images": str(tmp_path), "masks": str(tmp_path), "annotation": "labels", "classes": []}
    runs = [make_run(f"{rate}", kind="border", data=masks, learning_rate=rate) for rate in (0.1, 0.01)]
    result = compare(runs, tmp_path / "comparison.png")
    assert result["score"] == "ap_50"
    assert result["groups"][1]["label"] == "training.learning_rate: 0.01"
    with pytest.raises(UserError, match="cannot be compared"):
        compare([runs[0], make_run("patches")], tmp_path / "other.png")


def test_what_cannot_be_compared(make_run, tmp_path):
    one, other = make_run("one"), make_run("other", epochs=1, learning_rate=0.1)
    with pytest.raises(UserError, match="at least two"):
        compare([one], tmp_path / "comparison.png")
    with pytest.raises(UserError, match="named twice"):
        compare([one, other, one.path], tmp_path / "comparison.png")
    with pytest.raises(UserError, match="ends in"):
        compare([one, other], tmp_path / "comparison.pdf")
    with pytest.raises(UserError, match="choose one of balanced_accuracy, auc"):
        compare([one, other], tmp_path / "comparison.png", score="dice")
    (tmp_path / "comparison.csv").touch()
    with pytest.raises(UserError, match="exists already"):
        compare([one, other], tmp_path / "comparison.png")
    assert not (tmp_path / "comparison.png").exists()
    compare([one, other], tmp_path / "comparison.png", overwrite=True)
    other.write("record", {})
    with pytest.raises(UserError, match="no validation scores yet"):
        compare([one, other], tmp_path / "third.png")


def test_command(transfers, tmp_path):
    arguments = ["compare", *(str(run.path) for run in transfers), "-o", str(tmp_path / "comparison.png")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert "0.8200" in done.output
    assert "comparison.csv" in done.output.replace("\n", "")
    assert isinstance(CliRunner().invoke(app, arguments).exception, UserError)
    assert CliRunner().invoke(app, [*arguments, "--score", "balanced_accuracy", "--overwrite"]).exit_code == 0
