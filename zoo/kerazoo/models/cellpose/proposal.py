"""What Cellpose proposes for a data set."""

from __future__ import annotations

from kerazoo.config import ModelConfig
from kerazoo.data.survey import Survey
from kerazoo.models.entry import Model
from kerazoo.models.proposal import Proposal, Setting
from kerazoo.models.shared.proposal import largest_patch, objects_of, propose_pixels

DIAMETER = 30
"""Median diameter in pixels to which official Cellpose networks have images brought."""


def propose(start: ModelConfig, model: Model, survey: Survey) -> Proposal:
    """See `kerazoo.models.family.Family.propose`."""
    objects = objects_of(model, survey)
    side = round(objects.room * DIAMETER)
    smallest = f"{side} pixels high or wide when its objects are brought to {DIAMETER} pixels"
    return propose_pixels(
        start,
        model,
        survey,
        targets=[
            Setting("kind", "flows", "flows and cell probability"),
            Setting(
                "diameter",
                DIAMETER,
                f"pixels; the objects are brought to it, on these images {objects.diameter:.0f}; null: images as they "
                "are",
            ),
        ],
        batch=4,
        steps=450,
        patch=largest_patch(model, side, smallest),
        objects=objects,
    )
