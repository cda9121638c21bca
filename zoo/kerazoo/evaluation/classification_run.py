"""The last step of a classifier's training: score its validation patches and draw them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kerazoo.evaluation.classification import Classified, class_summary
from kerazoo.reports.class_figures import (
    draw_calibration,
    draw_confusion,
    draw_patches,
    draw_roc,
    mistakes,
    samples,
)
from kerazoo.reports.figures import draw_curves
from kerazoo.runs.run import Run


def validate_classifier(run: Run, classified: Classified, patches: Callable[[int], np.ndarray]) -> None:
    """Score and draw the validation patches of a classifier.

    The scores, and all else of `class_summary` as ``validation``, go into record.json; curves.png, confusion.png,
    roc.png, calibration.png (of probabilities), samples.png and worst.png (of mistakes) into figures/.

    Parameters
    ----------
    run
        A run with its history.csv.
    classified
        The validation patches.
    patches
        From the index of a patch to its raw pixels (y, x, channel), any dtype.
    """
    validation = class_summary(classified)
    run.update("record", scores=validation.pop("scores"), validation=validation)
    draw_curves(run.path / "history.csv", run.figures / "curves.png")
    draw_confusion(classified, run.figures / "confusion.png")
    draw_roc(classified, run.figures / "roc.png")
    draw_calibration(classified, run.figures / "calibration.png")
    draw_patches(classified, samples(classified), patches, run.figures / "samples.png")
    draw_patches(classified, mistakes(classified), patches, run.figures / "worst.png")
