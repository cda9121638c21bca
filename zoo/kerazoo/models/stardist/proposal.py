"""What StarDist proposes for a data set."""

from __future__ import annotations

import math

from kerazoo.config import ModelConfig
from kerazoo.data.mask_survey import Objects
from kerazoo.data.survey import Survey
from kerazoo.models.entry import Model
from kerazoo.models.proposal import Proposal, Setting
from kerazoo.models.shared.proposal import objects_of, propose_pixels
from kerazoo.models.stardist.family import RAYS


def propose(start: ModelConfig, model: Model, survey: Survey) -> Proposal:
    """See `kerazoo.models.family.Family.propose`."""
    objects = objects_of(model, survey)
    grid = _grid(objects)
    return propose_pixels(
        start,
        model,
        survey,
        targets=[Setting("kind", "stars", "object probability and star distances")],
        batch=4,
        steps=1200,
        arguments=Setting(
            "arguments",
            {"rays": RAYS, "grid": [grid, grid]},
            "grid 4 sees objects of twice the size in half the time, grid 1 smaller ones",
        ),
        learning_rate=0.0003,
        objects=objects,
    )


def _grid(objects: Objects) -> int:
    """Objects should not be larger than the receptive field, which grows with the grid."""
    large = 2 * math.sqrt(objects.areas[2] / math.pi)
    return 1 if large < 20 else 2 if large < 80 else 4
