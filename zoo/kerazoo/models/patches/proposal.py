"""What networks that give one class per patch propose for a data set."""

from __future__ import annotations

import dataclasses

from bmzpack.errors import UserError
from kerazoo.config import ModelConfig
from kerazoo.data.class_survey import PURITY, Categories
from kerazoo.data.survey import Survey
from kerazoo.models.entry import Model
from kerazoo.models.proposal import Proposal, Setting, Settings, as_yaml
from kerazoo.models.recipe import Recipe

DIGITS = "lenet1989"
"""The network that takes digits of one size, as published; all others take patches of tissue."""


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


def schedule_of(model: Model, side: int) -> Schedule:
    """What fits into about 15 minutes on two cores for patches of so many pixels."""
    if model.name == DIGITS:
        return Schedule(epochs=75, steps=None, batch=32, rate=0.01, validation=0.1)
    return Schedule(epochs=30 if side <= 96 else 18 if side <= 160 else 9, steps=50, batch=32, rate=0.001)


def propose(start: ModelConfig, model: Model, survey: Survey, source: Recipe | None) -> Proposal:
    """See `kerazoo.models.family.Family.propose`."""
    categories = _categories_of(model, survey)
    schedule = schedule_of(model, categories.side)
    return Proposal(
        model=[
            *([Setting("backbone", as_yaml(start.backbone))] if model.backbones else []),
            Setting("weights", as_yaml(start.weights)),
        ],
        normalisation=_normalisation(start.backbone, survey, source),
        augmentation=_augmentation(model, categories.side),
        targets=[
            Setting("kind", "patch"),
            *(_cutting(categories.side) if survey.annotation == "classes" else []),
            Setting("balance", True, "every class is shown equally often"),
        ],
        training=[
            Setting("epochs", schedule.epochs),
            Setting("steps_per_epoch", schedule.steps, "" if schedule.steps else "as many as show every image once"),
            Setting("batch_size", schedule.batch),
            Setting(
                "patch_size",
                categories.side,
                "pixels, the largest side with enough patches of every class"
                if survey.annotation == "classes"
                else f"pixels, the shortest side of an image is {min(survey.smallest)}",
            ),
            *(
                [Setting("transfer", "initialise", "everything is estimated from there; or all, staged, freeze")]
                if start.weights is not None
                else []
            ),
            Setting("learning_rate", schedule.rate),
            Setting("seed", 1),
        ],
        decoding=[],
        validation=schedule.validation,
        title="Epithelium and stroma in H&E sections of lung",
    )


def _categories_of(model: Model, survey: Survey) -> Categories:
    """The classes of a data set whose images the network takes."""
    categories, minimum = survey.categories, model.sizes.minimum
    if categories is None:
        raise UserError(
            f"A classifier needs class masks, but these are of objects: {survey.reason}. Use unet2d, or masks with "
            "one value per class."
        )
    if model.name == DIGITS:
        if survey.channels != 1 or {survey.smallest, survey.largest} != {(minimum, minimum)}:
            raise UserError(
                f"{model.name} takes images of {minimum} x {minimum} pixels with one channel, but these have "
                f"{survey.channels} and are {survey.sizes}: convert them, or choose patch_cnn."
            )
    elif categories.side < minimum:
        height, width = survey.smallest
        raise UserError(
            f"The smallest image is {width} x {height} pixels, but {model.name} needs patches of at least {minimum}: "
            "remove such images."
        )
    if not any(categories.counts):
        raise UserError(
            f"One class covers {PURITY:.0%} of no patch of {categories.side} x {categories.side} pixels: annotate "
            "larger regions, or choose a network that gives one class per pixel."
        )
    return categories


def _normalisation(backbone: str | None, survey: Survey, source: Recipe | None) -> Settings:
    """Numbers of the data set, not of the image: a slide has others than a patch."""
    method, scope = "standardisation", "dataset"
    reason = "the same for patches and whole slides"
    if source is not None:
        method, scope = source.normalisation.method, source.normalisation.scope
        reason = "as the run that the weights are from"
    elif backbone or survey.dtypes == ("uint8",):
        method, reason = "scaling", f"{backbone} takes 0 to 1" if backbone else reason
    settings = [Setting("method", method, reason)]
    if method == "standardisation":
        settings.append(Setting("scope", scope))
    if method in ("scaling", "centering") and survey.dtypes != ("uint8",):
        most = survey.brightest if survey.brightest > 0 else survey.intensity[1]
        if most <= 0:
            raise UserError("The images have no values above 0, as their scaling to 0..1 needs: save them with such.")
        reason = "becomes 1: the largest percentile 99.8 of an image"
        settings.append(Setting("maximum", f"{float(f'{most:.4g}'):g}", reason))
    return settings


def _augmentation(model: Model, side: int) -> Settings:
    if model.name == DIGITS:
        return [
            Setting("flip", False, "a mirrored or turned digit is none"),
            Setting("quarter_turns", False),
            Setting("rotation", 10, "degrees"),
            Setting("scale", 0.1, "relative"),
            Setting("shift", 1.5, "pixels"),
            Setting("intensity", 0),
            Setting("gamma", 0),
        ]
    return [
        Setting("flip", True),
        Setting("quarter_turns", True),
        Setting("rotation", 180, "degrees"),
        Setting("scale", 0.1, "relative"),
        Setting("shift", side // 16, "pixels"),
        Setting("intensity", 0.1, "relative gain; offset in standard deviations"),
        Setting("gamma", 0.1),
    ]


def _cutting(side: int) -> Settings:
    return [
        Setting("stride", side // 2, "pixels between the patches that are cut out of annotated images"),
        Setting("purity", PURITY, "part of a patch that one class has to cover"),
    ]
