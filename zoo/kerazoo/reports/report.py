"""One self-contained HTML page about a run: what was trained, how well it does, where it fails, how to use it."""

from __future__ import annotations

import html
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerazoo.config import Config
from kerazoo.models.recipe import Recipe
from kerazoo.models.registry import family_of_kind, get_model
from kerazoo.reports.page import Markup, inline, page, paragraph, table
from kerazoo.reports.tasks import PRESENTATIONS
from kerazoo.runs.run import Run

CHANNELS = 5
"""So many output channels are named at most; of more, the first three."""


def render(run: Run, opening: Mapping[str, str]) -> str:
    """The report as HTML: less than 5 MB that need no other file and no network.

    Parameters
    ----------
    run
        A trained run.
    opening
        By program, how it opens the bundle of the run.
    """
    config, recipe, split = run.config, run.recipe, run.split
    model, presentation = get_model(config.model.name), PRESENTATIONS[recipe.task]
    title = config.publication.name or f"{model.title}, {run.path.name}"
    lead = (
        f"{model.title} ({model.paper})"
        + (f" with the encoder {config.model.backbone}" if config.model.backbone else "")
        + f", trained on {len(split.train)} images and validated on {len(split.validation)} others."
    )
    sections = presentation.sections(run) | {
        "The bundle": [_agreement(run), *_opening(recipe, opening)],
        "How it was made": [_made(run, config, recipe), _environment(run), _repeat(run, config)],
    }
    return page(title, [paragraph(lead), presentation.tiles(run)], sections)


def _agreement(run: Run) -> Markup:
    agreement = {name: entry.as_json() for name, entry in run.agreement.items()}
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


def _opening(recipe: Recipe, opening: Mapping[str, str]) -> list[Markup]:
    programs = [f"<dt>{html.escape(program)}</dt><dd>{inline(text)}</dd>" for program, text in opening.items()]
    names = recipe.classes if len(recipe.classes) <= CHANNELS else [*recipe.classes[:3], "..."]
    use = family_of_kind(recipe.targets).use_in_report(recipe, ", ".join(names))
    return [*(Markup(part) for part in ("<h3>Opening it</h3><dl>", *programs, "</dl>")), paragraph(use)]


def _made(run: Run, config: Config, recipe: Recipe) -> Markup:
    training, record, split = config.training, run.record, run.split
    images = config.data.images or config.data.table or config.data.folder
    facts: dict[str, Any] = {
        "network": config.model.name + (f", {record.parameters:,} parameters" if record.parameters is not None else ""),
        "initial weights": config.model.weights or "random",
        "images": str(images),
        "training, validation": f"{len(split.train)}, {len(split.validation)} images"
        + (f", divided by {config.split.group}" if config.split.group else f", divided with seed {config.split.seed}"),
        "channels": ", ".join(recipe.channel_names) or recipe.channels,
        "target": f"{recipe.targets}: {', '.join(recipe.classes)}",
        "normalisation": f"{recipe.normalisation.method}, per {recipe.normalisation.scope}",
        "optimizer": f"{training.optimizer}, learning rate {training.learning_rate:g}, {training.schedule}",
        "batch": f"{training.batch_size} patches of {training.patch_size} x {training.patch_size} pixels",
    }
    if decoding := family_of_kind(recipe.targets).decoding_in_words(recipe):
        facts["decoding, chosen on the validation images"] = decoding
    if recipe.scale is not None:
        facts["rescaled"] = (
            f"from a median diameter of {recipe.scale.images:.0f} pixels to {recipe.scale.network:g} pixels"
        )
    if recipe.patch is not None:
        facts["patches"] = f"of {recipe.patch.size} x {recipe.patch.size} pixels, every {recipe.patch.stride} pixels"
        if config.model.backbone is not None:
            facts["transfer"] = training.transfer + (f" {training.freeze_until}" if training.freeze_until else "")
    for name, value in record.as_json().items():
        if name != "parameters" and isinstance(value, str | int | float):
            facts.setdefault(name.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else value)
    return table(["", ""], facts.items(), "facts")


def _environment(run: Run) -> Markup:
    rows = _flat(run.environment.as_json())
    return Markup(f"<h3>Environment</h3>{table(['', ''], rows, 'facts')}" if rows else "")


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
