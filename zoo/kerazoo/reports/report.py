"""One self-contained HTML page about a run: what was trained, how well it does, where it fails, how to use it."""

from __future__ import annotations

import html
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmzpack.files import new_file
from kerazoo.config import Config
from kerazoo.models.recipe import Recipe
from kerazoo.models.registry import get_model
from kerazoo.reports.image_sections import pixel_sections, pixel_tiles
from kerazoo.reports.page import Markup, inline, page, paragraph, table
from kerazoo.reports.patch_sections import class_sections, class_tiles
from kerazoo.runs.run import Run


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
    model = get_model(config.model.name)
    title = config.publication.name or f"{model.title}, {run.path.name}"
    trained, held_out = (len(split.get(part, [])) for part in ("train", "validation"))
    lead = (
        f"{model.title} ({model.paper})"
        + (f" with the encoder {config.model.backbone}" if config.model.backbone else "")
        + f", trained on {trained} images and validated on {held_out} others."
    )
    if recipe.task == "classification":
        tiles, sections = class_tiles(run), class_sections(run)
    else:
        tiles, sections = pixel_tiles(run), pixel_sections(run)
    sections["The bundle"] = [_agreement(run), *_opening(config, recipe)]
    sections["How it was made"] = [_made(run, config, recipe, record, split), _repeat(run, config)]
    return page(title, [paragraph(lead), tiles], sections)


def _agreement(run: Run) -> Markup:
    agreement = run.read("agreement")
    if not agreement:
        return paragraph(f"The run is not packed yet: `kerazoo export {_shell(run.path)} -o model.zip`.")
    columns = list(dict.fromkeys(column for values in agreement.values() for column in values))
    header = {"max_abs_error": "largest difference", "seconds": "seconds per test image"}
    rows = [
        [weights, *(Markup(_precise(values.get(column))) for column in columns)]
        for weights, values in agreement.items()
    ]
    return Markup(
        paragraph(
            "Every weights format was run in its own engine and compared with Keras; the difference is relative to the "
            "range of the output."
        )
        + table(["weights format", *(header.get(column, str(column)) for column in columns)], rows)
    )


def _opening(config: Config, recipe: Recipe) -> list[Markup]:
    from bmzpack.describe.documentation import OPENING
    from kerazoo.exporting.export import USES, title

    name = title(config)
    parts = [Markup("<h3>Opening it</h3><dl>")]
    for program, text in OPENING.items():
        parts.append(Markup(f"<dt>{html.escape(program)}</dt><dd>{inline(text.replace('{name}', name))}</dd>"))
    channels = ", ".join(recipe.classes[:3]) + (
        ", ..." if len(recipe.classes) > 5 else "".join(f", {name}" for name in recipe.classes[3:])
    )
    scores = get_model(recipe.model).output == "score"
    values = "scores, the highest of which decides" if scores else "probabilities between 0 and 1"
    after = f"The output has the channels {channels}: {values}."
    if recipe.targets in USES and get_model(recipe.model).targets:
        after = f"The output has the channels {channels}. {USES[recipe.targets]}"
    elif recipe.targets == "border":
        after += (
            f" For objects in Fiji, take the channel interior, set *Image > Adjust > Threshold* to "
            f"{recipe.decoding.seed_threshold:g} and above, and count with *Analyze > Analyze Particles*. The label "
            "images that are scored here come from `kerazoo predict`, which gives every object its border back and "
            "separates those that touch."
        )
    elif recipe.targets == "foreground":
        after += f" The foreground is where its channel is above {recipe.decoding.threshold:g}."
    elif recipe.patch is not None:
        after += (
            f" It is a map with one pixel for each patch of {recipe.patch.size} x {recipe.patch.size} pixels, side by "
            "side over the image; the class of a patch is the channel with the highest value. `kerazoo predict` "
            "classifies whole images, and draws finer maps. For ilastik export with `--enlarge`: there the map has to "
            "be as large as the image."
        )
    else:
        after += " The class of a pixel is the channel with the highest value."
    return [*parts, Markup("</dl>"), paragraph(after)]


def _made(run: Run, config: Config, recipe: Recipe, record: Mapping[str, Any], split: Mapping[str, Any]) -> Markup:
    training = config.training
    images = config.data.images or config.data.table or config.data.folder
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
    if decided := _decoding(recipe):
        facts["decoding, chosen on the validation images"] = decided
    if recipe.scale is not None:
        facts["rescaled"] = (
            f"from a median diameter of {recipe.scale.images:.0f} pixels to {recipe.scale.network:g} pixels"
        )
    if recipe.patch is not None:
        facts["patches"] = f"of {recipe.patch.size} x {recipe.patch.size} pixels, every {recipe.patch.stride} pixels"
        if config.model.backbone is not None:
            facts["transfer"] = training.transfer + (f" {training.freeze_until}" if training.freeze_until else "")
    for name, value in record.items():
        if name != "parameters" and isinstance(value, str | int | float):
            facts.setdefault(name.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else value)
    environment = _flat(run.read("environment"))
    return Markup(
        table(["", ""], facts.items(), "facts")
        + (f"<h3>Environment</h3>{table(['', ''], environment, 'facts')}" if environment else "")
    )


def _decoding(recipe: Recipe) -> str:
    """The values by which the output becomes a mask or objects, in words."""
    decoding = recipe.decoding
    smallest = f"at least {decoding.minimum_size} pixels"
    match recipe.targets:
        case "foreground":
            return f"foreground above {decoding.threshold:g}"
        case "border":
            seeds = f"seeds above {decoding.seed_threshold:g}, neck {decoding.neck:g}"
            return f"foreground above {decoding.threshold:g}, {seeds}, {smallest}"
        case "stars":
            return f"object probability above {decoding.threshold:g}, overlap up to {decoding.overlap:g}"
        case "flows":
            return (
                f"cell probability above {decoding.threshold:g}, flow error up to {decoding.flow_error:g}, {smallest}"
            )
        case "fields":
            return f"distance above {decoding.distance:g} pixels, {smallest}"
    return ""


def _repeat(run: Run, config: Config) -> Markup:
    text = (run.path / "config.yaml").read_text(encoding="utf-8")
    folder = _shell(run.path)
    annotated = "--folder DIR" if config.data.annotation == "image" else "--images DIR --masks DIR"
    commands = [
        f"kerazoo train {folder}/config.yaml -o again",
        f"kerazoo evaluate {folder} {annotated}",
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
        + f"</pre>{paragraph(same)}"
        + f"<details><summary>config.yaml</summary><pre>{html.escape(text)}</pre></details>"
    )


def _precise(value: Any) -> str:
    return html.escape(f"{value:.2g}" if isinstance(value, float) else "–" if value is None else str(value))


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


def _shell(path: Path) -> str:
    return shlex.quote(str(path))
