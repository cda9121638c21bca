"""A first configuration for a data set: its values follow from what was measured, and say so in comments."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bmzpack.errors import UserError
from bmzpack.files import new_file, refuse_existing
from bmzpack.settings import validate
from kerazoo.config import DataConfig, ModelConfig
from kerazoo.configuration import head_start
from kerazoo.configuration.division import propose_class_split, propose_split
from kerazoo.configuration.measured import data_lines
from kerazoo.configuration.planned import planned
from kerazoo.configuration.schema import SCHEMA
from kerazoo.data.survey import Survey, survey
from kerazoo.files.pairs import pairs_of
from kerazoo.files.table import annotation_of
from kerazoo.models.configure import make_config
from kerazoo.models.entry import Model
from kerazoo.models.proposal import Proposal, Settings, lines_of
from kerazoo.models.registry import family_of_model, get_model
from kerazoo.models.trained import trained_networks
from kerazoo.runs.run import recipe_beside


def write_config(
    model: str,
    images: str | Path | None,
    masks: str | Path | None,
    output: str | Path,
    *,
    folder: str | Path | None = None,
    table: str | Path | None = None,
    backbone: str | None = None,
    weights: str | None = None,
    minutes: float | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda sentence: None,
    show: Callable[[Survey], None] = lambda measured: None,
    **data: Any,
) -> Path:
    """Measure a data set and write a commented configuration for it.

    Parameters
    ----------
    model
        A name of `kerazoo.list_models`.
    images, masks
        Two folders, paired by the names of their files; ``masks`` may be one file with the annotations of all images.
    output
        The YAML file.
    folder
        Instead of images and masks, for classifiers: a folder with one folder of images per class.
    table
        Instead of folders: a CSV file with the columns `image`, `mask`, or `file`, `class`.
    backbone, weights
        As in `kerazoo.config.ModelConfig`. Without them the training starts from the trained network of this kind that
        comes with the package for such images, see `kerazoo.configuration.head_start`; with ``weights="none"`` from
        random numbers.
    minutes
        How long the training may take: a step is measured on this machine. None: as long as is proposed for two cores.
    overwrite
        Whether an existing file may be replaced.
    say
        Told what the minutes became, and what the training starts from.
    show
        Called with what was measured, before anything is written.
    **data
        What is known of the data and else would be measured or guessed: settings of `kerazoo.config.DataConfig`, such
        as ``axes``, ``annotation``, ``background``, ``ignore``, ``threshold``.

    Returns
    -------
    Path
        The file, which `kerazoo.models.configure.read_config` reads.

    Raises
    ------
    UserError
        There is no such model or backbone, the data cannot be used or not be understood, or the file exists.
    """
    output = Path(output)
    refuse_existing(output, overwrite)
    entry, family = get_model(model), family_of_model(model)
    if not family.kinds:
        raise UserError(
            f"{model} is not trained on images. "
            + (
                f"Apply it without training: kerazoo predict {model} IMAGE... -o DIR."
                if entry.builder is None
                else f"It takes measurements: train it in Python with kerazoo.create_model({model!r}).fit(x, y)."
            )
        )
    start = _start(entry, backbone, family.default_backbone(entry), None if weights == head_start.NONE else weights)
    named = {"images": images, "masks": masks, "folder": folder, "table": table}
    places: dict[str, Any] = {name: Path(place).absolute() for name, place in named.items() if place is not None}
    known = {name: value for name, value in data.items() if value not in (None, [])}
    by_patch = family.task(family.kinds[0]) == "classification"
    if by_patch and annotation_of(places) == "image":
        known["annotation"] = "image"
    settings = validate(DataConfig, places | known, "the options")
    measured = survey(settings, patches=by_patch)
    show(measured)
    trained = head_start.start_of(entry, weights, backbone, measured)
    start = start if trained is None else head_start.start_from(trained)
    proposal = family.propose(start, entry, measured, recipe_beside(start.weights))
    if trained is not None:
        proposal = head_start.continued(proposal, trained, measured)
        say(f"Starts from {trained}, {head_start.about(trained, measured)}. Without: --weights none.")
    text = _text(entry, settings, measured, proposal, output.parent.absolute())
    content = yaml.safe_load(text)
    make_config(content, str(output))
    if minutes is not None:
        proposal = planned(proposal, content, minutes, output.parent.absolute(), say)
        text = _text(entry, settings, measured, proposal, output.parent.absolute())
    with new_file(output, overwrite) as new:
        new.write_text(text, encoding="utf-8")
    return output


def _start(entry: Model, backbone: str | None, usual: str | None, weights: str | None) -> ModelConfig:
    """The network and what its training starts from, if there is such."""
    if backbone is not None and backbone not in entry.backbones:
        if not entry.backbones:
            raise UserError(f"{entry.name} takes no backbone: leave --backbone out, or choose another model.")
        near = difflib.get_close_matches(backbone, entry.backbones, n=1, cutoff=0.0)[0]
        raise UserError(
            f"{entry.name} has no backbone {backbone!r}; did you mean {near!r}? All: {', '.join(entry.backbones)}."
        )
    backbone = backbone or usual
    if weights == "imagenet" and backbone is None:
        raise UserError(
            "The weights `imagenet` are those of a backbone: "
            + (
                f"add --backbone, one of {', '.join(entry.backbones)}."
                if entry.backbones
                else f"{entry.name} has none."
            )
        )
    if weights not in (None, "imagenet", *trained_networks()):
        if not Path(weights).is_file():
            raise UserError(
                f"There is no weights file {weights}: correct --weights, or leave it out. Trained networks of kerazoo: "
                f"{', '.join(trained_networks()) or 'none'}."
            )
        weights = str(Path(weights).absolute())
    return ModelConfig(name=entry.name, backbone=backbone, weights=weights)


def _text(entry: Model, data: DataConfig, measured: Survey, proposal: Proposal, folder: Path) -> str:
    """The YAML text: section by section, what was measured and what is proposed."""
    divide = propose_split if measured.categories is None else propose_class_split
    sections = {
        "model": lines_of({"name": entry.name} | proposal.model),
        "data": data_lines(data, measured, folder),
        "split": lines_of(divide(pairs_of(data), proposal.validation)),
        "normalisation": lines_of(proposal.normalisation),
        "augmentation": lines_of(proposal.augmentation),
        "targets": lines_of(proposal.targets),
        "training": lines_of(proposal.training),
        "decoding": lines_of(proposal.decoding),
        "publication": lines_of(_publication(proposal.title, measured.pixel_size)),
    }
    part = "" if measured.measured == measured.images else f"{measured.measured} of "
    head = [
        f"# yaml-language-server: $schema={SCHEMA.as_uri()}",
        f"# Configuration for {entry.name}, written by `kerazoo init`. Comments with numbers tell what was measured on "
        f"{part}{measured.images} images.",
        "# Settings that are not here have their defaults; `kerazoo train` writes all of them into the run folder.",
    ]
    body = [line for name, lines in sections.items() if lines for line in ("", f"{name}:", *lines)]
    return "\n".join([*head, *body]) + "\n"


def _publication(title: str, pixel_size: float | None) -> Settings:
    """What the bundle says, to be filled in."""
    return {
        "name": (None, f"a title for the bundle, such as: {title}"),
        "description": None,
        "authors": ([], "- {name: Ada Lovelace, affiliation: University of London, github_user: ada}"),
        "licence": "CC-BY-4.0",
        "pixel_size": (pixel_size, f"micrometres, {'as the image files state' if pixel_size else 'if known'}"),
    }
