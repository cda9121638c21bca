"""What networks that give one class per patch propose for a data set."""

from __future__ import annotations

from bmzpack.errors import UserError
from kerazoo.config import ModelConfig
from kerazoo.data.class_survey import PURITY, Categories
from kerazoo.data.survey import Survey
from kerazoo.models.entry import Model
from kerazoo.models.proposal import Proposal, Settings, as_yaml
from kerazoo.models.recipe import Recipe

DIGITS = "lenet1989"
"""The network that takes digits of one size, as published; all others take patches of any image."""


def propose(start: ModelConfig, model: Model, survey: Survey, source: Recipe | None) -> Proposal:
    """See `kerazoo.models.family.Family.propose`."""
    side, digits, cut = _categories_of(model, survey).side, model.name == DIGITS, survey.annotation == "classes"
    cutting = {
        "stride": (side // 2, "pixels between the patches that are cut out of annotated images"),
        "purity": (PURITY, "part of a patch that one class has to cover"),
    }
    shortest = f"the shortest side of an image is {min(survey.smallest)}"
    transfer = {"transfer": ("initialise", "everything is estimated from there; or all, staged, freeze")}
    return Proposal(
        model=({"backbone": as_yaml(start.backbone)} if model.backbones else {}) | {"weights": as_yaml(start.weights)},
        normalisation=_normalisation(start.backbone, survey, source),
        augmentation={
            "flip": (False, "a mirrored or turned digit is none") if digits else True,
            "quarter_turns": not digits,
            "rotation": (10 if digits else 180, "degrees"),
            "scale": (0.1, "relative"),
            "shift": (1.5 if digits else side // 16, "pixels"),
            "intensity": 0 if digits else (0.1, "relative gain; offset in standard deviations"),
            "gamma": 0 if digits else 0.1,
        },
        targets={
            "kind": "patch",
            **(cutting if cut else {}),
            "balance": (True, "every class is shown equally often"),
        },
        training={
            # what fits into about 15 minutes on two cores
            "epochs": 75 if digits else 30 if side <= 96 else 18 if side <= 160 else 9,
            "steps_per_epoch": (None, "as many as show every image once") if digits else 50,
            "batch_size": 32,
            "patch_size": (
                side,
                f"pixels, {'the largest side with enough patches of every class' if cut else shortest}",
            ),
            **(transfer if start.weights is not None else {}),
            "learning_rate": 0.01 if digits else 0.001,
            "seed": 1,
        },
        decoding={},
        validation=0.1 if digits else 0.2,
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
    settings: Settings = {"method": (method, reason)}
    if method == "standardisation":
        settings["scope"] = scope
    if method in ("scaling", "centering") and survey.dtypes != ("uint8",):
        most = survey.brightest if survey.brightest > 0 else survey.intensity[1]
        if most <= 0:
            raise UserError("The images have no values above 0, as their scaling to 0..1 needs: save them with such.")
        reason = "becomes 1: the largest percentile 99.8 of an image"
        settings["maximum"] = f"{float(f'{most:.4g}'):g}", reason
    return settings
