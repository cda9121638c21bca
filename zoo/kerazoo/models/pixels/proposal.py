"""What U-Nets propose for a data set."""

from __future__ import annotations

from kerazoo.config import ModelConfig
from kerazoo.data.survey import Survey
from kerazoo.models.entry import Model
from kerazoo.models.proposal import Proposal, Setting, Settings
from kerazoo.models.shared.proposal import propose_pixels

# What fits into about 15 minutes on two cores with bfloat16. More steps on smaller patches learn more in the same time,
# and without batch normalisation, which is as slow as the convolutions there, a step takes a quarter of the time.
BATCH_SIZE = 8
STEPS = 1500
FILTERS = 32
DEPTH = 4


def propose(start: ModelConfig, model: Model, survey: Survey) -> Proposal:
    """See `kerazoo.models.family.Family.propose`."""
    return propose_pixels(
        start,
        model,
        survey,
        targets=_targets(survey),
        batch=BATCH_SIZE,
        steps=STEPS,
        arguments=_arguments(start, model),
    )


def _arguments(start: ModelConfig, model: Model) -> Setting:
    if not model.backbones:  # the network as published, which has no variants
        return Setting("arguments", {})
    if start.backbone is not None:
        return Setting("arguments", {"batch_norm": False})
    arguments = {"batch_norm": False, "filters": FILTERS, "depth": DEPTH}
    return Setting("arguments", arguments, "half the filters: a third of the time")


def _targets(survey: Survey) -> Settings:
    if survey.objects is None:
        return [Setting("kind", "classes")]
    if survey.annotation == "binary":
        reason = "or border, to find the single objects: objects that touch count as one"
        return [Setting("kind", "foreground", reason)]
    diameter = survey.objects.diameter
    return [
        Setting(
            "kind",
            "border",
            "background, interior and border, from which the single objects are found; or foreground",
        ),
        Setting("border_width", 1 if diameter < 12 else 2, f"pixels, for a median diameter of {diameter:.0f}"),
    ]
