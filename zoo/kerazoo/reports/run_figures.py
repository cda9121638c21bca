"""The figures of a run folder, drawn from its history and its scored validation images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kerazoo.reports.figures import draw_curves
from kerazoo.reports.tasks import PRESENTATIONS
from kerazoo.runs.run import Run

if TYPE_CHECKING:
    from kerazoo.evaluation.images import ValidatedImages
    from kerazoo.evaluation.patches import ValidatedPatches


def draw_run(run: Run, validated: ValidatedImages | ValidatedPatches) -> None:
    """Draw curves.png, samples.png and worst.png; for patches also confusion.png, roc.png and calibration.png.

    Parameters
    ----------
    run
        A run with its history.csv.
    validated
        Its scored validation images, as `kerazoo.evaluation.validate` returns them.
    """
    run.figures.mkdir(exist_ok=True)
    draw_curves(run.history_path, run.figures / "curves.png")
    PRESENTATIONS[run.recipe.task].draw(validated, run.figures)
