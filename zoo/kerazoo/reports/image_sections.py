"""What the report says about label images and class maps: tiles and sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kerazoo.evaluation.scores import ranking
from kerazoo.models.recipe import Recipe
from kerazoo.reports.page import Markup, figure, paragraph, table, tiles
from kerazoo.reports.score_texts import IMAGE_SCORES, ScoreText
from kerazoo.reports.tables import classes_table, images_table
from kerazoo.runs.run import Run

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
            _text(name, recipe).name,
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
    classes, images = validation.get("per_class", {}), validation.get("per_image", [])
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
            *([classes_table(classes, {"iou": "IoU", "dice": "Dice"})] if classes else []),
            *([_images(images, recipe)] if images else []),
        ],
    }


def _scores(scores: Mapping[str, Any], validation: Mapping[str, Any], recipe: Recipe) -> Markup:
    mean, baseline = validation.get("mean_scores", {}), validation.get("baseline", {})
    header = ["score", "all together", "mean over images", *(["Otsu and watershed"] if baseline else []), "meaning"]
    rows = []
    for name, value in scores.items():
        text = _text(name, recipe)
        rows.append([text.name, value, mean.get(name), *([baseline.get(name)] if baseline else []), text.meaning])
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


def _images(per_image: Sequence[Mapping[str, Any]], recipe: Recipe) -> Markup:
    ranked = ranking(per_image, recipe)
    unranked = [entry["id"] for entry in per_image if entry["id"] not in set(ranked)]
    columns = {name: _text(name, recipe).short for name in per_image[0] if name != "id"}
    return images_table(per_image, [*ranked, *unranked], columns)


def _text(name: str, recipe: Recipe) -> ScoreText:
    text = IMAGE_SCORES.get(name, ScoreText(name, "", name))
    if name not in ("dice", "iou"):
        return text
    if recipe.named_classes:
        return text._replace(name=f"mean {text.name}", meaning="mean over the classes")
    return text._replace(name=f"foreground {text.name}")
