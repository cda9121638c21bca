"""A first configuration for a classifier, from what was measured on images with classes."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

from bmzpack.errors import UserError
from kerazoo.config import DataConfig, SplitConfig
from kerazoo.configuration.write import as_yaml, counted, place_lines, publication_lines, sizes_of
from kerazoo.data.class_survey import PURITY, ClassSurvey, survey_classes
from kerazoo.data.split import Split, group_column, split_pairs
from kerazoo.files.pairs import Pair, annotation_of, pairs_of
from kerazoo.models.recipe import Recipe
from kerazoo.models.registry import Model
from kerazoo.runs.run import recipe_beside

DIGIT = 28
"""Side in pixels of what lenet1989 takes."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long is trained, and how fast."""

    epochs: int
    steps: int | None
    """Per epoch; None: once through the training images."""
    batch: int
    rate: float
    validation: float = 0.2
    """Fraction of the images."""


def schedule_of(model: Model, patch: int) -> Schedule:
    """What fits into about 15 minutes on two cores for patches of so many pixels."""
    if model.name == "lenet1989":
        return Schedule(epochs=75, steps=None, batch=32, rate=0.01, validation=0.1)
    return Schedule(epochs=30 if patch <= 96 else 18 if patch <= 160 else 9, steps=50, batch=32, rate=0.001)


def classifier_text(
    model: Model,
    backbone: str | None,
    weights: str | None,
    places: dict[str, Any],
    axes: str | None,
    output: Path,
) -> str:
    """Measure a data set and write the text of a configuration.

    Parameters
    ----------
    model
        The registry's entry.
    backbone, weights
        As in `kerazoo.config.ModelConfig`.
    places
        Of `images`, `masks`, `folder`, `table` those that are given, absolute.
    axes
        The axes of the images, where they are ambiguous.
    output
        The file that it is for.

    Returns
    -------
    str
        YAML.

    Raises
    ------
    UserError
        As for `kerazoo.data.class_survey.survey_classes`, or the model does not take such images.
    """
    data = DataConfig(**places, axes=axes, annotation=annotation_of(places))
    measured = survey_classes(data)
    if model.name == "lenet1989":
        _check_digits(measured)
    elif measured.patch < 32:
        raise UserError(
            f"The smallest image is {measured.smallest[1]} x {measured.smallest[0]} pixels, but {model.name} needs "
            "patches of at least 32: remove such images."
        )
    schedule = schedule_of(model, measured.patch)
    division, split = _division(pairs_of(data), schedule.validation)
    of_masks = data.annotation == "classes"
    what = "patches" if of_masks else "images"
    counts = ", ".join(f"{name}: {count}" for name, count in zip(measured.classes, measured.counts, strict=True))
    lines = [
        f"# Configuration for {model.name}, written by `kerazoo init`. Comments with numbers tell what was measured on "
        f"{counted(measured)}.",
        "# Settings that are not here have their defaults; `kerazoo train` writes all of them into the run folder.",
        "",
        "model:",
        f"  name: {model.name}",
        *([f"  backbone: {as_yaml(backbone)}"] if model.backbones else []),
        f"  weights: {as_yaml(weights)}",
        "",
        "data:",
        *place_lines(data, output.parent.absolute()),
        f"  annotation: {data.annotation}  # "
        + ("one class per value of the masks" if of_masks else "one class per image"),
        f"  axes: {as_yaml(axes)}  # of TIFF files that do not state them, such as CYX",
        f"  # {sizes_of(measured)}, {' and '.join(measured.dtypes)}, values {measured.intensity[0]:g} to "
        f"{measured.intensity[1]:g}",
        f"  channels: {measured.channels}",
        f"  # {what} of each class: {counts}" + ("; name the classes in this order" if of_masks else ""),
        f"  classes: {as_yaml(measured.classes)}",
        *([f"  ignore: {measured.ignore}  # the masks have it beside smaller values"] if measured.ignore else []),
        *_warnings(measured),
        "",
        "split:",
        f"  validation: {division.validation}  # {len(split.train)} images to train, "
        f"{len(split.validation)} to validate",
        f"  group: {as_yaml(division.group)}  # {_group_reason(division.group, split)}",
        f"  seed: {division.seed}" + ("" if division.seed == 1 else "  # with it every class is on both sides"),
        "",
        "normalisation:",
        *_normalisation_lines(backbone, recipe_beside(weights), measured),
        "",
        "augmentation:",
        *_augmentation_lines(model, measured),
        "",
        "targets:",
        "  kind: patch",
        *(
            [
                f"  stride: {measured.patch // 2}  # pixels between the patches that are cut out of annotated images",
                f"  purity: {PURITY}  # part of a patch that one class has to cover",
            ]
            if of_masks
            else []
        ),
        "  balance: true  # every class is shown equally often",
        "",
        "training:",
        f"  epochs: {schedule.epochs}",
        f"  steps_per_epoch: {as_yaml(schedule.steps)}"
        + ("" if schedule.steps else "  # as many as show every image once"),
        f"  batch_size: {schedule.batch}",
        f"  patch_size: {measured.patch}  # pixels"
        + (
            ", the largest side with enough patches of every class"
            if of_masks
            else f", the shortest side of an image is {min(measured.smallest)}"
        ),
        *(
            ["  transfer: initialise  # everything is estimated from there; or all, staged, freeze"]
            if weights is not None
            else []
        ),
        f"  learning_rate: {schedule.rate}",
        "  seed: 1",
        "",
        *publication_lines("Epithelium and stroma in H&E sections of lung", measured.pixel_size),
    ]
    return "\n".join(lines) + "\n"


def _check_digits(measured: ClassSurvey) -> None:
    if measured.channels != 1 or {measured.smallest, measured.largest} != {(DIGIT, DIGIT)}:
        raise UserError(
            f"lenet1989 takes images of {DIGIT} x {DIGIT} pixels with one channel, but these have {measured.channels} "
            f"and are {sizes_of(measured)}: convert them, or choose patch_cnn."
        )


def _warnings(measured: ClassSurvey) -> list[str]:
    if not measured.size_tells_class:
        return []
    return [
        f"  # WARNING: the size of an image alone tells the class of {measured.told_by_size:.0%} of them, chance of "
        f"{measured.by_chance:.0%}. Where a class follows from",
        "  # how images were made (size, microscope, day), that is learned in place of what is on them.",
    ]


def _division(pairs: list[Pair], validation: float) -> tuple[SplitConfig, Split]:
    """By what belongs together, with every class on both sides: the first seed that gives it, or else a larger part."""
    first: UserError | None = None
    for part, seed in itertools.product((validation, 0.3, 0.5), range(1, 100)):
        config = SplitConfig(validation=part, group=group_column(pairs), seed=seed)
        try:
            return config, split_pairs(pairs, config)
        except UserError as error:
            first = first or error
    assert first is not None
    raise first


def _group_reason(group: str | None, split: Split) -> str:
    members = [{pair.group for pair in side} for side in (split.train, split.validation)]
    if group is None and members == [{None}, {None}]:
        return "a column of a CSV table, such as slide or patient: what belongs together stays on one side"
    return (
        f"images of one {group or 'group (the column of this name)'} stay on one side: {len(members[0])} of them to "
        f"train, {len(members[1])} to validate"
    )


def _normalisation_lines(backbone: str | None, source: Recipe | None, measured: ClassSurvey) -> list[str]:
    """Numbers of the data set, not of the image: a slide has others than a patch."""
    method, scope = "standardisation", "dataset"
    reason = "the same for patches and whole slides"
    if source is not None:
        method, scope = source.normalisation.method, source.normalisation.scope
        reason = "as the run that the weights are from"
    elif backbone or measured.dtypes == ("uint8",):
        method, reason = "scaling", f"{backbone} takes 0 to 1" if backbone else reason
    lines = [f"  method: {method}  # {reason}"]
    if method == "standardisation":
        lines.append(f"  scope: {scope}")
    if method in ("scaling", "centering") and measured.dtypes != ("uint8",):
        most = measured.brightest if measured.brightest > 0 else measured.intensity[1]
        if most <= 0:
            raise UserError("The images have no values above 0, as their scaling to 0..1 needs: save them with such.")
        lines.append(f"  maximum: {float(f'{most:.4g}'):g}  # becomes 1: the largest percentile 99.8 of an image")
    return lines


def _augmentation_lines(model: Model, measured: ClassSurvey) -> list[str]:
    if model.name == "lenet1989":
        return [
            "  flip: false  # a mirrored or turned digit is none",
            "  quarter_turns: false",
            "  rotation: 10  # degrees",
            "  scale: 0.1  # relative",
            "  shift: 1.5  # pixels",
            "  intensity: 0",
            "  gamma: 0",
        ]
    return [
        "  flip: true",
        "  quarter_turns: true",
        "  rotation: 180  # degrees",
        "  scale: 0.1  # relative",
        f"  shift: {measured.patch // 16}  # pixels",
        "  intensity: 0.1  # relative gain; offset in standard deviations",
        "  gamma: 0.1",
    ]
