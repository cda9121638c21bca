"""What U-Nets propose for a data set."""

from __future__ import annotations

from typing import Any

from kerazoo.config import ModelConfig
from kerazoo.data.survey import Survey
from kerazoo.models.entry import Model
from kerazoo.models.proposal import Proposal, Settings
from kerazoo.models.shared.proposal import propose_pixels

# What fits into about 15 minutes on two cores with bfloat16. More steps on smaller patches learn more in the same time,
# and without batch normalisation, which is as slow as the convolutions there, a step takes a quarter of the time.
FILTERS = 32
BATCH_SIZE = 8
STEPS = 1500


def propose(start: ModelConfig, model: Model, survey: Survey) -> Proposal:
    """See `kerazoo.models.family.Family.propose`."""
    arguments: Any = {}
    if model.backbones:  # the network as published has no variants
        arguments = {"batch_norm": False}
        if start.backbone is None:
            arguments = arguments | {"filters": FILTERS, "depth": 4}, "half the filters: a third of the time"
    targets = _targets(survey)
    return propose_pixels(start, model, survey, targets=targets, batch=BATCH_SIZE, steps=STEPS, arguments=arguments)


def _targets(survey: Survey) -> Settings:
    if survey.objects is None:
        return {"kind": "classes"}
    if survey.annotation == "binary":
        return {"kind": ("foreground", "or border, to find the single objects: objects that touch count as one")}
    diameter, found = survey.objects.diameter, "from which the single objects are found; or foreground"
    return {
        "kind": ("border", f"background, interior and border, {found}"),
        "border_width": (1 if diameter < 12 else 2, f"pixels, for a median diameter of {diameter:.0f}"),
    }
