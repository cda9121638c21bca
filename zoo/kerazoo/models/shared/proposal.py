"""What networks with an output per pixel have in common in their proposals."""

from __future__ import annotations

import math

from bmzpack.errors import UserError
from kerazoo.config import ModelConfig
from kerazoo.data.mask_survey import Objects
from kerazoo.data.survey import Survey
from kerazoo.models.entry import Model
from kerazoo.models.proposal import Proposal, Setting, Settings, as_yaml, held_out

STEPS_PER_EPOCH = (50, 100)
VALIDATION = 0.2
LARGEST_PATCH = 192
SPARSE = 0.05
"""Where objects cover less of the images, half of the patches are cut around them whatever the network."""


def propose_pixels(
    start: ModelConfig,
    model: Model,
    survey: Survey,
    *,
    targets: Settings,
    batch: int,
    steps: int,
    arguments: Setting | None = None,
    patch: int | None = None,
    learning_rate: float = 0.001,
    objects: Objects | None = None,
) -> Proposal:
    """The proposal of a network with an output per pixel.

    Parameters
    ----------
    start
        The network, its backbone and its weights.
    model
        Its entry of the registry.
    survey
        The data set.
    targets
        The section.
    batch, steps
        Batch size, and number of steps of the whole training: what fits into about 15 minutes on two cores with
        bfloat16.
    arguments
        The setting of `model`; by default none.
    patch
        Side of the patches in pixels; by default the largest that the images have.
    learning_rate
        At the beginning.
    objects
        Where single objects are learned, see `objects_of`: half of the patches are cut around them.

    Raises
    ------
    UserError
        The images are too small.
    """
    height, width = survey.smallest
    train = survey.images - held_out(survey.images, VALIDATION)
    once = math.ceil(train / batch)
    per_epoch = min(max(once, STEPS_PER_EPOCH[0]), STEPS_PER_EPOCH[1])
    return Proposal(
        model=[
            Setting("backbone", as_yaml(start.backbone)),
            Setting("weights", as_yaml(start.weights)),
            arguments or Setting("arguments", {}),
        ],
        normalisation=_normalisation(start.backbone, survey),
        augmentation=_augmentation(survey),
        targets=targets,
        training=[
            Setting("epochs", max(5, round(steps / per_epoch))),
            Setting("steps_per_epoch", per_epoch, f"{once} would show every training image once"),
            Setting("batch_size", batch),
            Setting(
                "patch_size",
                patch or largest_patch(model, min(height, width), f"{width} x {height} pixels"),
                f"the shortest side of an image is {min(height, width)} pixels",
            ),
            *_foreground(survey, objects is not None),
            Setting("learning_rate", learning_rate),
            Setting("seed", 1),
        ],
        decoding=[_minimum_size(survey)],
        validation=VALIDATION,
        title="Nuclei in DAPI-stained HeLa cells",
    )


def objects_of(model: Model, survey: Survey) -> Objects:
    """The single objects of a data set, for a network that learns them.

    Raises
    ------
    UserError
        The masks are of classes.
    """
    if survey.objects is None:
        raise UserError(f"{model.name} learns single objects, but the masks are of classes: {survey.reason}.")
    return survey.objects


def largest_patch(model: Model, side: int, smallest: str) -> int:
    """Side in pixels of the largest patches, up to a limit, of which the output lies within every image.

    Parameters
    ----------
    model
        Its sizes are used.
    side
        Shortest side of the images in pixels, as the network sees them.
    smallest
        The size of the smallest image, for the message.

    Raises
    ------
    UserError
        The network takes no image that is so small.
    """
    minimum, step, lost = model.sizes.minimum, model.sizes.step, 2 * model.sizes.margin
    if side + lost < minimum:
        raise UserError(
            f"The smallest image is {smallest}, but {model.name} needs at least {minimum - lost}: remove such images."
        )
    return minimum + (min(side, LARGEST_PATCH) + lost - minimum) // step * step


def _normalisation(backbone: str | None, survey: Survey) -> Settings:
    if backbone is None:
        reason = "the same in every program; or percentile, scaling, centering, none"
        return [Setting("method", "standardisation", reason), Setting("scope", "image")]
    method, other = ("scaling", "percentile") if survey.dtypes == ("uint8",) else ("percentile", "scaling")
    return [Setting("method", method, f"or {other}: {backbone} takes 0 to 1")]


def _augmentation(survey: Survey) -> Settings:
    change = 0.2 if survey.channels == 1 else 0.1
    return [
        Setting("flip", True),
        Setting("quarter_turns", True),
        Setting("rotation", 15, "degrees"),
        Setting("scale", 0.1 if survey.annotation == "classes" else 0.15, "relative"),
        Setting("elastic", 0),
        Setting("intensity", change, "relative gain; offset in standard deviations"),
        Setting("gamma", change),
        Setting("blur", 0),
        Setting("poisson", 0),
        Setting("gaussian", 0),
    ]


def _foreground(survey: Survey, learned: bool) -> Settings:
    if survey.objects is None:
        return []
    covered = 1 - survey.fractions[0]
    share = 0.5 if learned or covered < SPARSE else 0
    return [Setting("foreground", share, "share of the patches that are cut around an object")]


def _minimum_size(survey: Survey) -> Setting:
    small = survey.objects.areas[0] if survey.objects is not None and survey.annotation == "labels" else 0
    size = int(small / 2)
    return Setting("minimum_size", size, f"pixels: half of what 99 % of the objects exceed ({small:.0f})" * (size > 0))
