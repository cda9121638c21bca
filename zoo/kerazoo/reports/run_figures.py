"""The figures of a run folder: curves, samples and worst cases."""

from __future__ import annotations

from typing import cast

from kerazoo.evaluation.images import ValidatedImages
from kerazoo.evaluation.patches import ValidatedPatches
from kerazoo.reports.figures import draw_curves, draw_examples
from kerazoo.reports.patch_figures import (
    draw_calibration,
    draw_confusion,
    draw_patches,
    draw_roc,
    mistakes,
    samples,
)
from kerazoo.runs.run import Run


def draw_run(run: Run, validated: ValidatedImages | ValidatedPatches) -> None:
    """Draw curves.png, samples.png and worst.png; of patches also confusion.png, roc.png and calibration.png.

    Parameters
    ----------
    run
        A run with its history.csv.
    validated
        Its scored validation images.
    """
    run.figures.mkdir(exist_ok=True)
    draw_curves(run.history_path, run.figures / "curves.png")
    if run.recipe.task == "classification":
        _draw_patches(run, cast(ValidatedPatches, validated))
    else:
        _draw_images(run, cast(ValidatedImages, validated))


def _draw_images(run: Run, validated: ValidatedImages) -> None:
    for name, ids in (("samples", validated.samples), ("worst", validated.worst)):
        examples = [validated.example(id) for id in ids]
        draw_examples(examples, validated.recipe, run.figures / f"{name}.png")


def _draw_patches(run: Run, validated: ValidatedPatches) -> None:
    classified, pixels = validated.classified, validated.pixels
    draw_confusion(classified, run.figures / "confusion.png")
    draw_roc(classified, run.figures / "roc.png")
    draw_calibration(classified, run.figures / "calibration.png")
    draw_patches(classified, samples(classified), pixels, run.figures / "samples.png")
    draw_patches(classified, mistakes(classified), pixels, run.figures / "worst.png")
