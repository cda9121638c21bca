"""A first configuration for a data set: its values follow from what was measured, and say so in comments."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml

from bmzpack.errors import UserError
from bmzpack.files import new_file, refuse_existing
from kerazoo.config import DataConfig, ModelConfig
from kerazoo.configuration.division import propose_class_split, propose_split
from kerazoo.data.survey import Survey, survey
from kerazoo.files.pairs import annotation_of, pairs_of
from kerazoo.models.configure import make_config
from kerazoo.models.entry import Model
from kerazoo.models.proposal import Proposal, Setting, as_yaml
from kerazoo.models.registry import family_of_model, get_model
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
    axes: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Measure a data set and write a commented configuration for it.

    Parameters
    ----------
    model
        A name of `kerazoo.list_models`.
    images, masks
        Two folders, paired by stem.
    output
        The YAML file.
    folder
        Instead of images and masks, for classifiers: a folder with one folder of images per class.
    table
        Instead of folders: a CSV file with the columns `image`, `mask`, or `file`, `class`.
    backbone, weights
        As in `kerazoo.config.ModelConfig`.
    axes
        The axes of the images, where they are ambiguous.
    overwrite
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The file, which `kerazoo.models.configure.read_config` reads.

    Raises
    ------
    UserError
        There is no such model or backbone, the data cannot be used, or the file exists.
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
    start = _start(entry, backbone, family.default_backbone(entry), weights)
    named = {"images": images, "masks": masks, "folder": folder, "table": table}
    places: dict[str, Any] = {name: Path(place).absolute() for name, place in named.items() if place is not None}
    data = DataConfig(**places, axes=axes)
    if family.task(family.kinds[0]) == "classification":
        data.annotation = annotation_of(places)
    measured = survey(data)
    proposal = family.propose(start, entry, measured, recipe_beside(start.weights))
    text = _text(entry, data, measured, proposal, output.parent.absolute())
    make_config(yaml.safe_load(text), str(output))
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
    if weights not in (None, "imagenet"):
        weights = str(Path(weights).absolute())
    return ModelConfig(name=entry.name, backbone=backbone, weights=weights)


def _text(entry: Model, data: DataConfig, measured: Survey, proposal: Proposal, folder: Path) -> str:
    """The YAML text: section by section, what was measured and what is proposed."""
    count = str(measured.images)
    if measured.measured < measured.images:
        count = f"{measured.measured} of {measured.images}"
    divide = propose_split if measured.categories is None else propose_class_split
    sections = {
        "model": [Setting("name", entry.name), *proposal.model],
        "data": _data_lines(data, measured, folder),
        "split": divide(pairs_of(data), proposal.validation),
        "normalisation": proposal.normalisation,
        "augmentation": proposal.augmentation,
        "targets": proposal.targets,
        "training": proposal.training,
        "decoding": proposal.decoding,
        "publication": _publication_lines(proposal.title, measured.pixel_size),
    }
    lines = [
        f"# Configuration for {entry.name}, written by `kerazoo init`. Comments with numbers tell what was measured on "
        f"{count} images.",
        "# Settings that are not here have their defaults; `kerazoo train` writes all of them into the run folder.",
    ]
    for name, settings in sections.items():
        if settings:
            lines += ["", f"{name}:", *map(str, settings)]
    return "\n".join(lines) + "\n"


def _data_lines(data: DataConfig, measured: Survey, folder: Path) -> list[Setting | str]:
    """Where the data are, and what was measured on them."""
    places = {name: getattr(data, name) for name in ("images", "masks", "folder", "table")}
    lines: list[Setting | str] = [
        Setting(name, as_yaml(_path(path, folder))) for name, path in places.items() if path is not None
    ]
    annotation = Setting("annotation", measured.annotation, measured.reason)
    axes = Setting("axes", as_yaml(data.axes), "of TIFF files that do not state them, such as CYX")
    channels = Setting("channels", measured.channels)
    size = f"  # {measured.sizes}, {' and '.join(measured.dtypes)}"
    low, high = measured.intensity
    dark, bright = measured.percentiles
    values = f"values {low:g} to {high:g}"
    typical = f"typically {dark:g} to {bright:g} (percentiles 1 and 99.8)"
    if measured.categories is not None:
        return [*lines, annotation, axes, f"{size}, {values}", channels, *_category_lines(measured)]
    lines += [axes, size, f"  # {values}, {typical}", channels, annotation]
    return lines + (_value_lines(measured) if measured.objects is None else _object_lines(measured))


def _category_lines(measured: Survey) -> list[Setting | str]:
    categories = measured.categories
    assert categories is not None
    of_masks = measured.annotation == "classes"
    counts = ", ".join(f"{name}: {count}" for name, count in zip(categories.names, categories.counts, strict=True))
    lines: list[Setting | str] = [
        f"  # {'patches' if of_masks else 'images'} of each class: {counts}"
        + ("; name the classes in this order" if of_masks else ""),
        Setting("classes", categories.names),
    ]
    if measured.ignore is not None:
        lines.append(Setting("ignore", measured.ignore, "the masks have it beside smaller values"))
    if categories.size_tells_class:
        lines += [
            f"  # WARNING: the size of an image alone tells the class of {categories.guessed:.0%} of them, chance of "
            f"{categories.by_chance:.0%}. Where a class follows from",
            "  # how images were made (size, microscope, day), that is learned in place of what is on them.",
        ]
    return lines


def _value_lines(measured: Survey) -> list[Setting | str]:
    count = max(measured.fractions) + 1
    shares = ", ".join(f"{value}: {share:.1%}" for value, share in measured.fractions.items())
    lines: list[Setting | str] = [
        f"  # pixels of each value: {shares}; name the classes in this order",
        Setting("classes", [f"class{value}" for value in range(count)]),
    ]
    if measured.ignore is not None:
        reason = f"the masks have it beside {count} smaller values; none to train it"
        lines.append(Setting("ignore", measured.ignore, reason))
    return lines


def _object_lines(measured: Survey) -> list[Setting | str]:
    objects = measured.objects
    assert objects is not None
    (few, median, many), (small, usual, large) = objects.counts, objects.areas
    lines: list[Setting | str] = [
        f"  # {few} to {many} objects per image, median {median}, on {measured.fractions[1]:.1%} of the pixels",
        f"  # median area {usual:.0f} pixels (diameter {objects.diameter:.0f}), percentiles 1 and 99: {small:.0f} and "
        f"{large:.0f}",
    ]
    if objects.empty:
        reason = f"{objects.empty} masks are empty: set true if nothing is on their images"
        lines.append(Setting("empty_masks", False, reason))
    return lines


def _publication_lines(title: str, pixel_size: float | None) -> list[Setting]:
    """What the bundle says, to be filled in."""
    return [
        Setting("name", None, f"a title for the bundle, such as: {title}"),
        Setting("description", None),
        Setting("authors", [], "- {name: Ada Lovelace, affiliation: University of London, github_user: ada}"),
        Setting("licence", "CC-BY-4.0"),
        Setting(
            "pixel_size", pixel_size, "micrometres" + (", as the image files state" if pixel_size else ", if known")
        ),
    ]


def _path(path: Path, folder: Path) -> str:
    """Relative to the configuration where it lies below it, so that both can be moved together."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
