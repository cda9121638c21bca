"""What the report says about label images and class maps: names and meanings of the scores, tiles and sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kerazoo.evaluation.scores import ranking
from kerazoo.models.recipe import Recipe
from kerazoo.reports.page import ROWS, Markup, figure, paragraph, table, tiles
from kerazoo.runs.run import Run

NAMES = {
    "ap_50": "AP at IoU 0.5",
    "ap_75": "AP at IoU 0.75",
    "ap_50_95": "mean AP, IoU 0.5 to 0.95",
    "panoptic_quality": "panoptic quality",
    "precision_50": "precision at IoU 0.5",
    "recall_50": "recall at IoU 0.5",
    "f1_50": "F1 at IoU 0.5",
    "mean_matched_iou": "mean IoU of matches",
    "splits": "split objects",
    "merges": "merged objects",
    "dice": "Dice",
    "iou": "IoU",
    "accuracy": "pixel accuracy",
    "balanced_accuracy": "balanced accuracy",
    "boundary_f": "boundary F-score",
}
SHORT = {
    "ap_50": "AP 50",
    "ap_75": "AP 75",
    "ap_50_95": "AP 50–95",
    "dice": "Dice",
    "iou": "IoU",
    "f1_50": "F1",
    "panoptic_quality": "PQ",
    "mean_matched_iou": "IoU of matches",
    "boundary_f": "boundary F",
}
MEANINGS = {
    "ap_50": "objects found, of all objects in truth or prediction: TP / (TP + FP + FN); found means an overlap (IoU) "
    "of at least 0.5",
    "ap_75": "the same with an overlap of at least 0.75",
    "ap_50_95": "mean of the same at 0.50, 0.55, ..., 0.95",
    "panoptic_quality": "F1 at IoU 0.5 times the mean IoU of matches (Kirillov et al. 2019)",
    "precision_50": "predicted objects that are real",
    "recall_50": "real objects that are predicted",
    "f1_50": "harmonic mean of precision and recall",
    "mean_matched_iou": "how well the outlines of found objects fit",
    "splits": "real objects that are found in two or more parts",
    "merges": "predicted objects in which two or more real ones lie",
    "dice": "overlap of the pixels of all objects, 2 TP / (2 TP + FP + FN)",
    "iou": "overlap of the pixels of all objects, TP / (TP + FP + FN)",
    "accuracy": "pixels of the right class",
    "balanced_accuracy": "mean over the classes of the pixels that are found",
    "boundary_f": "outlines within 2 pixels of the true ones, and the reverse",
}
TILES = {
    "objects": ("ap_50", "ap_50_95", "panoptic_quality", "dice"),
    "foreground": ("dice", "iou", "boundary_f", "accuracy"),
    "classes": ("iou", "dice", "accuracy", "balanced_accuracy"),
}
"""Scores that are seen first, by what the values of a result are."""


def image_tiles(run: Run) -> Markup:
    """The scores that matter most, and those of the baseline without training.

    Parameters
    ----------
    run
        A run; nothing is shown before it is validated.
    """
    recipe, record = run.recipe, run.record
    baseline = record.validation.get("baseline", {})
    values = "classes" if recipe.named_classes else "foreground" if recipe.binary else "objects"
    return tiles(
        (
            record.scores.get(name),
            _score_name(name, recipe),
            f"without training {baseline[name]:.3f}" if baseline.get(name) is not None else "",
        )
        for name in TILES[values]
    )


def image_sections(run: Run) -> dict[str, list[Markup]]:
    """Learning, predictions, worst cases and scores of a network for pixels or objects.

    Parameters
    ----------
    run
        A run; what is not there yet is left out, or a sentence says so.
    """
    recipe, record, figures = run.recipe, run.record, run.figures
    validation = record.validation
    return {
        "Learning": [
            figure(
                figures / "curves.png", "Loss and metrics of training patches and validation images over the epochs."
            )
        ],
        "Predictions": [
            paragraph(
                "Validation images from good to bad, evenly spread over the ranking; the worst follow below. Of a "
                "large image the part with the most errors is shown."
            ),
            figure(figures / "samples.png", "Image, annotation and prediction."),
        ],
        "Worst cases": [figure(figures / "worst.png", "The validation images with the lowest scores.")],
        "Scores": [
            paragraph(
                "All scores are of the validation images, none of which was trained on. They chose the best epoch and "
                "the decoding thresholds, so the scores are slightly too good; for a publication run "
                "`kerazoo evaluate` on images that were never used."
            ),
            _scores(record.scores, validation, recipe),
            _thresholds(validation.get("average_precision", {})),
            _classes(validation.get("per_class", {})),
            _images(validation.get("per_image", []), recipe),
        ],
    }


def _scores(scores: Mapping[str, Any], validation: Mapping[str, Any], recipe: Recipe) -> Markup:
    mean, baseline = validation.get("mean_scores", {}), validation.get("baseline", {})
    header = ["score", "all together", "mean over images", *(["Otsu and watershed"] if baseline else []), "meaning"]
    rows = []
    for name, value in scores.items():
        meaning = MEANINGS.get(name, "")
        if name in ("dice", "iou") and recipe.named_classes:
            meaning = "mean over the classes"
        rows.append(
            [
                _score_name(name, recipe),
                value,
                mean.get(name),
                *([baseline.get(name)] if baseline else []),
                meaning,
            ]
        )
    note = (
        "All together: the counts of all images are added, then the score is taken, so that every object (or pixel) "
        "weighs the same. Mean over images: every image weighs the same."
    )
    if baseline:
        note += " Otsu and watershed: blur, threshold and watershed without any training, on the same images."
    return Markup(table(header, rows) + paragraph(note))


def _thresholds(average_precision: Mapping[str, Any]) -> Markup:
    if not average_precision:
        return Markup("")
    note = (
        "Objects found, of all objects in truth or prediction, where found means an overlap (IoU) of at least so much:"
    )
    return Markup(paragraph(note) + table(["IoU", *average_precision], [["AP", *average_precision.values()]]))


def _classes(per_class: Mapping[str, Mapping[str, Any]]) -> Markup:
    if not per_class:
        return Markup("")
    columns = list(next(iter(per_class.values())))
    rows = [[name, *(values[column] for column in columns)] for name, values in per_class.items()]
    return Markup("<h3>Classes</h3>" + table(["class", *(NAMES.get(name, name) for name in columns)], rows))


def _images(per_image: Sequence[Mapping[str, Any]], recipe: Recipe) -> Markup:
    if not per_image:
        return Markup("")
    by_id = {entry["id"]: entry for entry in per_image}
    order = ranking(per_image, recipe)
    order += [name for name in by_id if name not in set(order)]
    columns = [name for name in per_image[0] if name != "id"]
    rows = [[name, *(by_id[name][column] for column in columns)] for name in order[:ROWS]]
    left = f" The {ROWS} worst of {len(order)} are listed." if len(order) > ROWS else ""
    return Markup(
        f"<h3>Images</h3>{paragraph(f'Worst first; click on a heading to sort.{left}')}"
        + table(["image", *(_score_name(name, recipe, short=True) for name in columns)], rows, "sortable")
    )


def _score_name(name: str, recipe: Recipe, short: bool = False) -> str:
    if short:
        return SHORT.get(name, name.replace("_50", "").replace("_", " "))
    if name in ("dice", "iou"):
        return f"{'mean' if recipe.named_classes else 'foreground'} {NAMES[name]}"
    return NAMES.get(name, name)
