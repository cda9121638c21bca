"""What networks with an output per pixel have in common in their proposals."""

from __future__ import annotations

import math
from typing import Any

from bmzpack.errors import UserError
from kerazoo.config import ModelConfig
from kerazoo.data.mask_survey import Objects
from kerazoo.data.survey import Survey
from kerazoo.models.entry import Model
from kerazoo.models.proposal import Proposal, Settings, as_yaml, held_out

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
    arguments: Any = None,
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
    once = math.ceil((survey.images - held_out(survey.images, VALIDATION)) / batch)
    per_epoch = min(max(once, STEPS_PER_EPOCH[0]), STEPS_PER_EPOCH[1])
    change = 0.2 if survey.channels == 1 else 0.1
    patch = patch or largest_patch(model, min(height, width), f"{width} x {height} pixels")
    foreground = {}
    if survey.objects is not None:
        share = 0.5 if objects is not None or 1 - survey.fractions[0] < SPARSE else 0
        foreground = {"foreground": (share, "share of the patches that are cut around an object")}
    return Proposal(
        model={
            "backbone": as_yaml(start.backbone),
            "weights": as_yaml(start.weights),
            "arguments": arguments or {},
        },
        normalisation=_normalisation(start.backbone, survey),
        augmentation={
            "flip": True,
            "quarter_turns": True,
            "rotation": (15, "degrees"),
            "scale": (0.1 if survey.annotation == "classes" else 0.15, "relative"),
            "elastic": 0,
            "intensity": (change, "relative gain; offset in standard deviations"),
            "gamma": change,
            "blur": 0,
            "poisson": 0,
            "gaussian": 0,
        },
        targets=targets,
        training={
            "epochs": max(5, round(steps / per_epoch)),
            "steps_per_epoch": (per_epoch, f"{once} would show every training image once"),
            "batch_size": batch,
            "patch_size": (patch, f"the shortest side of an image is {min(height, width)} pixels"),
            **foreground,
            "learning_rate": learning_rate,
            "seed": 1,
        },
        decoding={"minimum_size": _minimum_size(survey)},
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
        return {"method": ("standardisation", reason), "scope": "image"}
    method, other = ("scaling", "percentile") if survey.dtypes == ("uint8",) else ("percentile", "scaling")
    return {"method": (method, f"or {other}: {backbone} takes 0 to 1")}


def _minimum_size(survey: Survey) -> Any:
    if survey.objects is None or survey.annotation != "labels":
        return 0
    small = survey.objects.areas[0]
    return int(small / 2), f"pixels: half of what 99 % of the objects exceed ({small:.0f})" if small >= 2 else ""
