"""After a training: choose the decoding on the validation images, and score these."""

from __future__ import annotations

from kerazoo.evaluation.images import ValidatedImages
from kerazoo.evaluation.patches import ValidatedPatches
from kerazoo.evaluation.tasks import SCORING
from kerazoo.runs.run import Run


def validate(run: Run) -> ValidatedImages | ValidatedPatches:
    """Choose the decoding of a run, and score its validation images.

    As the thresholds are chosen on the images that are scored here, these scores are slightly too good; `evaluate` on
    further images gives honest ones.

    Parameters
    ----------
    run
        A run with its best.keras, recipe.json, split.json and history.csv; recipe.json and record.json are completed.

    Returns
    -------
    ValidatedImages or ValidatedPatches
        What it takes to draw them, see `kerazoo.reports.run_figures`.
    """
    return SCORING[run.recipe.task].validate(run)
