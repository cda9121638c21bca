"""What Omnipose proposes for a data set."""

from __future__ import annotations

from kerazoo.config import ModelConfig
from kerazoo.data.survey import Survey
from kerazoo.models.entry import Model
from kerazoo.models.proposal import Proposal, Setting
from kerazoo.models.shared.proposal import objects_of, propose_pixels


def propose(start: ModelConfig, model: Model, survey: Survey) -> Proposal:
    """See `kerazoo.models.family.Family.propose`."""
    return propose_pixels(
        start,
        model,
        survey,
        targets=[Setting("kind", "fields", "distance field, its flows and boundaries")],
        batch=4,
        steps=450,
        objects=objects_of(model, survey),
    )
