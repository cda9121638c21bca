"""One self-contained HTML page about a run: what was trained, how well it does, where it fails, how to use it."""

from __future__ import annotations

import base64
import html
import io
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from bmzpack.files import new_file
from kerazoo.config import Config
from kerazoo.evaluation.validate import ranking
from kerazoo.models.registry import get_model
from kerazoo.recipe import Recipe
from kerazoo.training.run import Run

ROWS = 1000
"""So many images are listed at most, the worst ones."""
LARGEST_PNG = 700_000
"""Figures of more bytes are embedded as JPEG."""

NAMES = {
    "ap_50": "AP at IoU 0.5",
    "ap_75": "AP at IoU 0.75",
    "ap_50_95": "mean AP, IoU 0.5 to 0.95",
    "panoptic_quality": "panoptic quality",
    "precision_50": "precision at IoU 0.5",
    "recall_50": "recall at IoU 0.5",
    "f1_50": "F1 at IoU 0.5",
    "mean_matched_iou": "mean IoU of matches",
    "dice": "Dice",
    "iou": "IoU",
    "accuracy": "pixel accuracy",
    "balanced_accuracy": "balanced accuracy",
    "boundary_f": "boundary F-score",
}
SHORT = {
    "ap_50": "AP 50",
    "ap_75": "AP 75",
    "ap_50_95": "AP 50–95",
    "dice": "Dice",
    "iou": "IoU",
    "f1_50": "F1",
    "panoptic_quality": "PQ",
    "mean_matched_iou": "IoU of matches",
    "boundary_f": "boundary F",
}
MEANINGS = {
    "ap_50": "objects found, of all objects in truth or prediction: TP / (TP + FP + FN); found means an overlap (IoU) "
    "of at least 0.5",
    "ap_75": "the same with an overlap of at least 0.75",
    "ap_50_95": "mean of the same at 0.50, 0.55, ..., 0.95",
    "panoptic_quality": "F1 at IoU 0.5 times the mean IoU of matches (Kirillov et al. 2019)",
    "precision_50": "predicted objects that are real",
    "recall_50": "real objects that are predicted",
    "f1_50": "harmonic mean of precision and recall",
    "mean_matched_iou": "how well the outlines of found objects fit",
    "dice": "overlap of the pixels of all objects, 2 TP / (2 TP + FP + FN)",
    "iou": "overlap of the pixels of all objects, TP / (TP + FP + FN)",
    "accuracy": "pixels of the right class",
    "balanced_accuracy": "mean over the classes of the pixels that are found",
    "boundary_f": "outlines within 2 pixels of the true ones, and the reverse",
}
TILES = {
    "border": ("ap_50", "ap_50_95", "panoptic_quality", "dice"),
    "foreground": ("dice", "iou", "boundary_f", "accuracy"),
    "classes": ("iou", "dice", "accuracy", "balanced_accuracy"),
}


class Markup(str):
    """Text that is HTML already; all other text is escaped."""


def report(
    run: Run | str | os.PathLike[str], output: str | os.PathLike[str] | None = None, *, overwrite: bool = True
) -> Path:
    """Write the report of a run.

    Parameters
    ----------
    run
        A run or its folder.
    output
        The HTML file; by default report.html in the run folder.
    overwrite
        Whether the file may be replaced.

    Returns
    -------
    Path
        The file: a page of less than 5 MB that needs no other file and no network.

    Raises
    ------
    UserError
        There is no run, or the file cannot be written.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    path = Path(output) if output is not None else run.path / "report.html"
    page = render(run)
    with new_file(path, overwrite=overwrite) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def render(run: Run) -> str:
    """The report as HTML."""
    config, recipe = run.config, run.recipe
    record, split = run.read("record"), run.read("split")
    scores, validation = record.get("scores", {}), record.get("validation", {})
    model = get_model(config.model.name)
    title = config.publication.name or f"{model.title}, {run.path.name}"
    trained, held_out = (len(split.get(part, [])) for part in ("train", "validation"))
    lead = (
        f"{model.title} ({model.paper})"
        + (f" with the encoder {config.model.backbone}" if config.model.backbone else "")
        + f", trained on {trained} images and validated on {held_out} others."
    )
    sections = {
        "Learning": [
            _figure(run, "curves", "Loss and metrics of training patches and validation images over the epochs.")
        ],
        "Predictions": [
            _text(
                "Validation images from good to bad, evenly spread over the ranking; the worst follow below. Of a "
                "large image the part with the most errors is shown."
            ),
            _figure(run, "samples", "Image, annotation and prediction."),
        ],
        "Worst cases": [_figure(run, "worst", "The validation images with the lowest scores.")],
        "Scores": [
            _text(
                "All scores are of the validation images, none of which was trained on. They chose the best epoch and "
                "the decoding thresholds, so the scores are slightly too good; for a publication run "
                "`kerazoo evaluate` on images that were never used."
            ),
            _scores(scores, validation, recipe),
            _classes(validation.get("per_class", {})),
            _images(validation.get("per_image", []), recipe),
        ],
        "The bundle": [_agreement(run), *_opening(run, config, recipe)],
        "How it was made": [_made(run, config, recipe, record, split), _repeat(run)],
    }
    body = [
        Markup(f"<header><h1>{html.escape(title)}</h1>"),
        _text(lead),
        _tiles(scores, validation.get("baseline", {}), recipe),
        Markup("<nav>" + " ".join(f'<a href="#{_anchor(name)}">{name}</a>' for name in sections) + "</nav></header>"),
    ]
    for name, parts in sections.items():
        body += [Markup(f'<section id="{_anchor(name)}"><h2>{name}</h2>'), *parts, Markup("</section>")]
    return _PAGE.replace("{title}", html.escape(title)).replace("{body}", "\n".join(body))


def _tiles(scores: Mapping[str, Any], baseline: Mapping[str, Any], recipe: Recipe) -> Markup:
    tiles = []
    for name in TILES[recipe.targets]:
        if scores.get(name) is None:
            continue
        note = f"<small>without training {baseline[name]:.3f}</small>" if baseline.get(name) is not None else ""
        tiles.append(f"<div><b>{scores[name]:.3f}</b><span>{_score_name(name, recipe)}</span>{note}</div>")
    return Markup(f'<div class="tiles">{"".join(tiles)}</div>')


def _scores(scores: Mapping[str, Any], validation: Mapping[str, Any], recipe: Recipe) -> Markup:
    mean, baseline = validation.get("mean_scores", {}), validation.get("baseline", {})
    header = ["score", "all together", "mean over images", *(["Otsu and watershed"] if baseline else []), "meaning"]
    rows = []
    for name, value in scores.items():
        meaning = MEANINGS.get(name, "")
        if name in ("dice", "iou") and recipe.targets == "classes":
            meaning = "mean over the classes"
        rows.append(
            [
                _score_name(name, recipe),
                value,
                mean.get(name),
                *([baseline.get(name)] if baseline else []),
                meaning,
            ]
        )
    note = (
        "All together: the counts of all images are added, then the score is taken, so that every object (or pixel) "
        "weighs the same. Mean over images: every image weighs the same."
    )
    if baseline:
        note += " Otsu and watershed: blur, threshold and watershed without any training, on the same images."
    return Markup(_table(header, rows) + _text(note))


def _classes(per_class: Mapping[str, Mapping[str, Any]]) -> Markup:
    if not per_class:
        return Markup("")
    columns = list(next(iter(per_class.values())))
    rows = [[name, *(values[column] for column in columns)] for name, values in per_class.items()]
    return Markup("<h3>Classes</h3>" + _table(["class", *(NAMES.get(name, name) for name in columns)], rows))


def _images(per_image: Sequence[Mapping[str, Any]], recipe: Recipe) -> Markup:
    if not per_image:
        return Markup("")
    by_id = {entry["id"]: entry for entry in per_image}
    order = ranking(per_image, recipe)
    order += [name for name in by_id if name not in set(order)]
    columns = [name for name in per_image[0] if name != "id"]
    rows = [[name, *(by_id[name][column] for column in columns)] for name in order[:ROWS]]
    left = f" The {ROWS} worst of {len(order)} are listed." if len(order) > ROWS else ""
    return Markup(
        f"<h3>Images</h3>{_text(f'Worst first; click on a heading to sort.{left}')}"
        + _table(["image", *(_score_name(name, recipe, short=True) for name in columns)], rows, "sortable")
    )


def _agreement(run: Run) -> Markup:
    agreement = run.read("agreement")
    if not agreement:
        return _text(f"The run is not packed yet: `kerazoo export {_shell(run.path)} -o model.zip`.")
    columns = list(dict.fromkeys(column for values in agreement.values() for column in values))
    header = {"max_abs_error": "largest difference", "seconds": "seconds per test image"}
    rows = [
        [weights, *(Markup(_precise(values.get(column))) for column in columns)]
        for weights, values in agreement.items()
    ]
    return Markup(
        _text(
            "Every weights format was run in its own engine and compared with Keras; the difference is relative to the "
            "range of the output."
        )
        + _table(["weights format", *(header.get(column, str(column)) for column in columns)], rows)
    )


def _opening(run: Run, config: Config, recipe: Recipe) -> list[Markup]:
    from bmzpack.documentation import OPENING
    from kerazoo.packing import title

    name = title(config)
    parts = [Markup("<h3>Opening it</h3><dl>")]
    for program, text in OPENING.items():
        parts.append(Markup(f"<dt>{html.escape(program)}</dt><dd>{_inline(text.replace('{name}', name))}</dd>"))
    channels = ", ".join(recipe.classes)
    after = f"The output has the channels {channels}: probabilities between 0 and 1."
    if recipe.targets == "border":
        after += (
            f" For objects in Fiji, take the channel interior, set *Image > Adjust > Threshold* to "
            f"{recipe.decoding.seed_threshold:g} and above, and count with *Analyze > Analyze Particles*. The label "
            "images that are scored here come from `kerazoo predict`, which gives every object its border back and "
            "separates those that touch."
        )
    elif recipe.targets == "foreground":
        after += f" The foreground is where its channel is above {recipe.decoding.threshold:g}."
    else:
        after += " The class of a pixel is the channel with the highest value."
    return [*parts, Markup("</dl>"), _text(after)]


def _made(run: Run, config: Config, recipe: Recipe, record: Mapping[str, Any], split: Mapping[str, Any]) -> Markup:
    training, decoding = config.training, recipe.decoding
    images = config.data.images or config.data.table
    facts: dict[str, Any] = {
        "network": f"{config.model.name}, {record['parameters']:,} parameters"
        if "parameters" in record
        else config.model.name,
        "initial weights": config.model.weights or "random",
        "images": str(images),
        "training, validation": f"{len(split.get('train', []))}, {len(split.get('validation', []))} images"
        + (f", divided by {config.split.group}" if config.split.group else f", divided with seed {config.split.seed}"),
        "channels": ", ".join(recipe.channel_names) or recipe.channels,
        "target": f"{recipe.targets}: {', '.join(recipe.classes)}",
        "normalisation": f"{recipe.normalisation.method}, per {recipe.normalisation.scope}",
        "optimizer": f"{training.optimizer}, learning rate {training.learning_rate:g}, {training.schedule}",
        "batch": f"{training.batch_size} patches of {training.patch_size} x {training.patch_size} pixels",
    }
    if recipe.targets == "border":
        facts["decoding, chosen on the validation images"] = (
            f"foreground above {decoding.threshold:g}, seeds above {decoding.seed_threshold:g}, "
            f"neck {decoding.neck:g}, at least {decoding.minimum_size} pixels"
        )
    if recipe.targets == "foreground":
        facts["decoding, chosen on the validation images"] = f"foreground above {decoding.threshold:g}"
    for name, value in record.items():
        if name != "parameters" and isinstance(value, str | int | float):
            facts.setdefault(name.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else value)
    environment = _flat(run.read("environment"))
    return Markup(
        _table(["", ""], facts.items(), "facts")
        + (f"<h3>Environment</h3>{_table(['', ''], environment, 'facts')}" if environment else "")
    )


def _repeat(run: Run) -> Markup:
    text = (run.path / "config.yaml").read_text(encoding="utf-8")
    folder = _shell(run.path)
    commands = [
        f"kerazoo train {folder}/config.yaml -o again",
        f"kerazoo evaluate {folder} --images DIR --masks DIR",
        f"kerazoo predict {folder} IMAGE... -o DIR",
        f"kerazoo export {folder} -o model.zip",
    ]
    same = (
        "The same seed on the same data gives the same split, patches and augmentation; split.json holds the checksums "
        "of all files."
    )
    return Markup(
        "<h3>Repeating and using it</h3><pre>"
        + html.escape("\n".join(commands))
        + f"</pre>{_text(same)}"
        + f"<details><summary>config.yaml</summary><pre>{html.escape(text)}</pre></details>"
    )


def _figure(run: Run, name: str, caption: str) -> Markup:
    path = run.path / "figures" / f"{name}.png"
    if not path.is_file():
        return _text("This figure was not drawn yet.")
    kind, content = "png", path.read_bytes()
    if len(content) > LARGEST_PNG:
        buffer = io.BytesIO()
        Image.open(path).convert("RGB").save(buffer, "JPEG", quality=88, subsampling=0, optimize=True)
        kind, content = "jpeg", buffer.getvalue()
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    caption = html.escape(caption)
    return Markup(f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>')


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]], kind: str = "") -> Markup:
    head = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in header)
    head = f"<thead><tr>{head}</tr></thead>" if any(header) else ""
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return Markup(f'<div class="scroll"><table class="{kind}">{head}<tbody>{body}</tbody></table></div>')


def _cell(value: Any) -> str:
    if value is None:
        return '<td class="number">–</td>'
    if isinstance(value, float):
        return f'<td class="number">{value:.3f}</td>'
    return f"<td>{value if isinstance(value, Markup) else html.escape(str(value))}</td>"


def _text(text: str) -> Markup:
    return Markup(f"<p>{_inline(text)}</p>")


def _inline(text: str) -> str:
    """Escaped text with the Markdown of `code` and *menus*."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
    return re.sub(r"\*([^*]+)\*", r"<em>\1</em>", text)


def _precise(value: Any) -> str:
    return html.escape(f"{value:.2g}" if isinstance(value, float) else "–" if value is None else str(value))


def _score_name(name: str, recipe: Recipe, short: bool = False) -> str:
    if short:
        return SHORT.get(name, name.replace("_50", "").replace("_", " "))
    if recipe.targets == "classes" and name in ("dice", "iou"):
        return f"mean {NAMES[name]}"
    if recipe.targets != "classes" and name in ("dice", "iou"):
        return f"foreground {NAMES[name]}"
    return NAMES.get(name, name)


def _flat(content: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A nested dict as rows of name and value."""
    if not isinstance(content, Mapping):
        if isinstance(content, list):
            content = shlex.join(content) if prefix == "command" else ", ".join(map(str, content))
        return [(prefix, "none" if content in ("", None) else str(content))]
    rows = []
    for name, value in content.items():
        rows += _flat(value, f"{prefix} {name}".strip().replace("_", " "))
    return rows


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def _shell(path: Path) -> str:
    return shlex.quote(str(path))


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root { --ink: #222; --soft: #666; --line: #ddd; --accent: #0072b2; }
body { margin: 0 auto; padding: 1.5rem; max-width: 62rem; color: var(--ink); background: #fff;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { margin: 0 0 .3rem; font-size: 1.8rem; line-height: 1.2; }
h2 { margin: 2.5rem 0 .6rem; padding-bottom: .2rem; border-bottom: 2px solid var(--accent); font-size: 1.35rem; }
h3 { margin: 1.6rem 0 .4rem; font-size: 1.05rem; }
p, dd { max-width: 46rem; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin-top: 1rem; }
a { color: var(--accent); }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0; }
.tiles div { flex: 1 1 10rem; padding: .7rem 1rem; border: 1px solid var(--line); border-radius: .4rem;
  border-left: .3rem solid var(--accent); }
.tiles b { display: block; font-size: 1.7rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tiles span, .tiles small { display: block; }
.tiles small, figcaption { color: var(--soft); font-size: .85rem; }
figure { margin: .8rem 0; }
img { max-width: 100%; height: auto; }
.scroll { max-height: 36rem; overflow: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .88rem; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { position: sticky; top: 0; background: #f4f7fa; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
td:first-child { white-space: nowrap; }
.sortable th { cursor: pointer; }
.facts td:first-child { color: var(--soft); white-space: nowrap; }
.facts td { overflow-wrap: anywhere; }
dt { margin-top: .6rem; font-weight: 600; }
dd { margin: 0; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .88em; }
code { padding: 0 .2em; background: #f4f7fa; overflow-wrap: anywhere; }
pre { padding: .8rem; overflow: auto; background: #f4f7fa; }
summary { cursor: pointer; color: var(--accent); }
@media print { .scroll { max-height: none; overflow: visible; } nav { display: none; } }
</style>
</head>
<body>
{body}
<script>
for (const head of document.querySelectorAll("td:first-child { white-space: nowrap; }
.sortable th")) {
  head.addEventListener("click", () => {
    const body = head.closest("table").tBodies[0], column = head.cellIndex;
    const order = head.dataset.order = head.dataset.order === "1" ? "-1" : "1";
    const key = row => { const text = row.cells[column].textContent, number = parseFloat(text);
      return column === 0 || isNaN(number) ? text : number; };
    const compare = (a, b) => typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "string" ? 1 : -1;
    body.append(...[...body.rows].sort((a, b) => order * compare(key(a), key(b))));
  });
}
</script>
</body>
</html>
"""
