"""How the results of each task are scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from kerazoo.evaluation.images import ValidatedImages, score_images, validate_images
from kerazoo.evaluation.patches import ValidatedPatches, score_patches, validate_patches
from kerazoo.models.family import Task
from kerazoo.runs.run import Run


@dataclasses.dataclass(frozen=True)
class Scoring:
    """What is done with annotated images of a task."""

    score: Callable[..., dict[str, Any]]
    """From a predictor, the pairs, how they are read, and where they are, to the content of a JSON file of scores."""
    validate: Callable[[Run], ValidatedImages | ValidatedPatches]
    """From a trained run to its scored validation images, with what it takes to draw them."""


SCORING: dict[Task, Scoring] = {
    "instances": Scoring(score_images, validate_images),
    "semantic": Scoring(score_images, validate_images),
    "classification": Scoring(score_patches, validate_patches),
}
