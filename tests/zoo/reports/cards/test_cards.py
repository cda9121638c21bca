"""The committed cards are those that would be rendered now, and what they tell people to type works."""

import re
import shlex
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from bmzpack.errors import UserError
from kerazoo.cli import app
from kerazoo.models.registry import get_model, list_models
from kerazoo.reports.cards.records import read_records, write_record
from kerazoo.reports.cards.variants import compare_variants
from kerazoo.reports.cards.write import render_all, stale_cards, write_cards

CARDS = Path(__file__).parents[4] / "model_cards"
NAMES = [entry.name for entry in list_models()]
DRAWN = [name for name in NAMES if "_vit_" not in name]
"""Models with a figure; hundreds of blocks would tell nothing."""


@pytest.fixture(scope="module")
def texts():
    return render_all(CARDS)


def test_cards_are_current(texts):
    """A card is changed in the registry, in its record, or in `kerazoo.reports.cards`; then rendered."""
    assert stale_cards(CARDS, texts) == [], "render them with: kerazoo cards -o model_cards"


@pytest.mark.parametrize("name", NAMES)
def test_a_card_holds_what_the_registry_says(texts, name):
    text, entry = texts[f"{name}.md"], get_model(name)
    assert text.startswith(f"# {entry.title} (`{name}`)\n")
    assert entry.purpose in text
    assert all(f"- {limit}\n" in text for limit in entry.limits)
    assert entry.doi in text
    if entry.builder:
        assert f"| parameters | {entry.parameters:,} |" in text
    assert (f"(figures/{name}.svg)" in text) == (f"figures/{name}.svg" in texts) == (name in DRAWN)
    assert f"]({name}.md)" in texts["README.md"]
    records = CARDS / "records" / name
    assert ("No run is recorded." in text) == (not list(records.glob("*.json")))


def test_facts_of_the_papers(texts):
    assert "| units | 4,635 for" in texts["lenet1989.md"]
    assert "| connections | 98,442 for" in texts["lenet1989.md"]
    assert "| multiply-adds | 299 million for 224 x 224" in texts["classifier2d.md"]  # 300 million with 1,000 classes
    assert "The output is 184 pixels smaller" in texts["unet2d_2015.md"]


@pytest.mark.parametrize("name", NAMES)
def test_commands_are_those_that_exist(texts, name):
    command = get_command(app)
    lines = [line for block in re.findall(r"```\n(.*?)```", texts[f"{name}.md"], re.S) for line in block.splitlines()]
    for line in (line for line in lines if line.startswith("kerazoo ")):
        words = shlex.split(line, comments=True)[1:]
        chosen = command.commands[words[0]]  # type: ignore[attr-defined]
        chosen.make_context(words[0], list(words[1:]))  # an unknown option or a missing one raises


@pytest.mark.parametrize("name", ["perceptron", "mlp"])
def test_python_runs(texts, name):
    (program,) = re.findall(r"```python\n(.*?)```", texts[f"{name}.md"], re.S)
    *setup, last = program.strip().splitlines()
    scope: dict = {}
    exec("\n".join(setup), scope)
    assert eval(last, scope).ravel().tolist() == scope["y"].tolist()


def test_figures_are_well_formed_and_within_their_paper(texts):
    for name in DRAWN:
        root = ElementTree.fromstring(texts[f"figures/{name}.svg"])
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        assert width == 900
        for shape in root.iter("{http://www.w3.org/2000/svg}rect"):
            x, y, w, h = (float(shape.attrib[key]) for key in ("x", "y", "width", "height"))
            assert x >= 0
            assert y >= 0
            assert x + w <= width
            assert y + h <= height
        for text in root.iter("{http://www.w3.org/2000/svg}text"):
            half = 0.3 * float(text.attrib["font-size"]) * len(text.text or "")
            x = float(text.attrib["x"])
            low, high = (x, x + 2 * half) if text.attrib.get("text-anchor") == "start" else (x - half, x + half)
            assert low >= 0
            assert high <= width, text.text
            assert float(text.attrib["y"]) <= height


def test_the_figure_of_2015_has_the_numbers_of_the_paper(texts):
    root = ElementTree.fromstring(texts["figures/unet2d_2015.svg"])
    words = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    for size in (572, 568, 284, 280, 140, 136, 68, 64, 32, 28, 56, 52, 104, 100, 200, 196, 392, 388):
        assert f"{size} x {size}" in words
    assert words.count("1024") == 3  # two convolutions and one concatenation
    assert "copied and cropped" in words


def test_nothing_names_a_place(texts):
    for name, text in texts.items():
        assert not re.search(r"(?<![:/\w.>-])/(?:home|tmp|work|root|Users|data)\b", text), name


def test_a_record_appears_on_its_card(trained, tmp_path):
    write_record(
        [trained / "run1", trained / "run2"],
        tmp_path / "records" / "unet2d" / "nuclei.json",
        dataset="Synthetic nuclei",
        licence="BSD-3-Clause",
        command="kerazoo train nuclei.yaml",
        variant="one epoch",
        remark="One epoch is too short.",
        tests=[trained / "test1.json", trained / "test2.json"],
    )
    assert len(write_cards(tmp_path)) == len(NAMES) + len(DRAWN) + 1
    assert stale_cards(tmp_path) == []
    text = (tmp_path / "unet2d.md").read_text(encoding="utf-8")
    assert "### Synthetic nuclei: one epoch" in text
    assert "Test images took no part in the training. One epoch is too short." in text
    assert "| score | validation (1 image) | test (2 images) | without training (`classical2d`), validation |" in text
    assert re.search(r"\| `dice` \| 0\.\d{3} ± 0\.\d{3} \| 0\.\d{3} ± 0\.\d{3} \| 0\.\d{3}", text)
    assert "`training.epochs=1`" in text
    assert "No run is recorded." not in text
    assert "| Synthetic nuclei |" in (tmp_path / "README.md").read_text(encoding="utf-8")
    (tmp_path / "records" / "unet").mkdir()
    with pytest.raises(UserError, match="not in the registry"):
        stale_cards(tmp_path)


def changed(record, variant, values, **settings):
    """A record with other scores and settings."""
    runs = []
    for seed, value in enumerate(values):
        scored = record.runs[0].validation.model_copy(update={"scores": {"balanced_accuracy": value}})
        runs.append(record.runs[0].model_copy(update={"seed": seed, "validation": scored}))
    return record.model_copy(update={"variant": variant, "settings": settings, "runs": runs})


def test_variants_are_compared_with_a_doubt():
    record = read_records(CARDS / "records", "classifier2d")[0]
    still = {f"augmentation.{name}": False for name in ("flip", "quarter_turns")}
    still |= {f"augmentation.{name}": 0.0 for name in ("rotation", "scale", "intensity", "gamma")}
    good = changed(record, "a", [0.8, 0.9, 1.0])
    others = [changed(record, "b", [0.6, 0.85]), changed(record, "c", [0.5, 0.7], **still), changed(record, "d", [0.2])]
    elsewhere = good.model_copy(update={"dataset": "other images"})
    (found,) = compare_variants([*others, good, elsewhere])
    assert found.head == ["variant", "`balanced_accuracy`, validation", "augmentation", "runs"]
    assert found.rows == [
        ["b", f"0.725 ± {0.25 / 2**0.5:.3f}", "yes", "2"],
        ["c", f"0.600 ± {0.2 / 2**0.5:.3f}", "none", "2"],
        ["d", "0.200", "yes", "1"],
        ["a", "0.900 ± 0.100", "yes", "3"],
    ]
    assert found.remarks == (
        'By the mean of `balanced_accuracy` "a" is best. But its runs and those of "b" overlap: so few runs do not '
        'tell which is better. Every run of "c" is below all of its runs. Of "d" there is one run only: its spread is '
        'not known. "c" had no augmentation: that may be the difference, not what the name says.'
    )


def test_the_cards_of_classifiers_say_what_is_true(texts):
    text = texts["classifier2d.md"]
    assert text.count(": all variants\n") == 2
    assert "overlap: so few runs do not tell which is better" in text
    assert '"transfer freeze" had no augmentation' in text
    assert "Normal tissue, which few images show, is masked out" in text
    for name in ("patch_cnn", "lenet1989", "classifier2d"):
        assert "in every image" not in texts[f"{name}.md"]
        assert "percentile" not in texts[f"{name}.md"]


@pytest.mark.slow
def test_check_says_which_card_and_what_to_do(tmp_path):
    folder = shutil.copytree(CARDS, tmp_path / "cards")
    (folder / "mlp.md").write_text("typed by hand\n")
    (folder / "gone.md").write_text("a model that is gone\n")
    result = CliRunner().invoke(app, ["cards", "-o", str(folder), "--check"])
    assert result.exit_code == 1
    assert "mlp.md, gone.md." in result.output
    assert "kerazoo cards -o" in result.output
    assert CliRunner().invoke(app, ["cards", "-o", str(folder)]).exit_code == 0
    assert not (folder / "gone.md").exists()
    assert (folder / "mlp.md").read_bytes() == (CARDS / "mlp.md").read_bytes()
