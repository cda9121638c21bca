"""What the report says about classified patches: tiles, sections, cautions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kerazoo.config import Config
from kerazoo.evaluation.classification import worst_first
from kerazoo.models.recipe import Recipe
from kerazoo.reports.page import Markup, figure, paragraph, points, table, tiles
from kerazoo.reports.score_texts import PATCH_SCORES, ScoreText
from kerazoo.reports.tables import classes_table, images_table
from kerazoo.runs.records import SplitRecord
from kerazoo.runs.run import Run

COLUMNS = {"support": "patches", "f1": "F1", "auc": "area under the ROC curve"}
NO_PROBABILITIES = (
    "The network gives scores, not probabilities: the highest one decides, but how sure it is cannot be read from it."
)
FEW_IMAGES, FEW_PATCHES = 20, 20
"""With fewer validation images, or patches of a class, there is a caution."""
UNEQUAL = 3.0
"""There is a caution where one class is so much more frequent than another."""
MISCALIBRATED = 0.05
"""There is a caution where mean probability and accuracy differ by more."""


def patch_tiles(run: Run) -> Markup:
    """The scores that matter most, and what is reached by chance or by always naming one class.

    Parameters
    ----------
    run
        A run; nothing is shown before it is validated.
    """
    record = run.record
    scores, validation = record.scores, record.validation
    if not validation:
        return tiles([])
    name, share = _most_frequent(validation["balance"])
    occurring = sum(entry["patches"] > 0 for entry in validation["balance"].values())
    notes = {
        "accuracy": f"always {name}: {share:.3f}",
        "balanced_accuracy": f"by chance {1 / occurring:.3f}",
        "auc": "by chance 0.500",
        "calibration_error": "perfect 0.000",
    }
    return tiles((scores.get(name), PATCH_SCORES[name].name, note) for name, note in notes.items())


def patch_sections(run: Run) -> dict[str, list[Markup]]:
    """Cautions, learning, predictions, confusions, certainty and scores of a classifier.

    Parameters
    ----------
    run
        A run; what is not there yet is left out, or a sentence says so.
    """
    record, figures = run.record, run.figures
    scores, validation = record.scores, record.validation
    learning = figure(figures / "curves.png", "Loss and metrics of training and validation patches over the epochs.")
    if not validation:
        return {"Learning": [learning, paragraph("The run is not validated yet.")]}
    are_probabilities = bool(validation["calibration"])
    score = "probability" if are_probabilities else "score"
    confusions = list(_confusions(validation["confusion"], list(validation["per_class"])))
    return {
        "Keep in mind": [points(cautions(run))],
        "Learning": [learning],
        "Predictions": [
            paragraph(
                f"Validation patches of every class, from the clearest to the worst. Below each is the predicted class "
                f"with its {score}; where that is wrong the frame is orange, and the true class stands below."
            ),
            figure(figures / "samples.png", f"Validation patches with predicted class and its {score}."),
        ],
        "Worst cases": _mistakes(figures / "worst.png")
        if confusions
        else [paragraph("No validation patch is classified wrongly.")],
        "Confusions": [
            paragraph(
                "Each row holds the patches of one true class, and what they are taken for; the diagonal is right."
            ),
            figure(figures / "confusion.png", "Confusion matrix, and the number of validation patches of each class."),
            points(confusions),
            classes_table(validation["per_class"], COLUMNS),
            paragraph(
                "Precision: of the patches that are taken for the class, how many are of it. Recall: of the patches of "
                "the class, how many are found. F1: the harmonic mean of both."
            ),
        ],
        "Certainty": [
            paragraph(
                "Whoever wants to find more patches of a class accepts more of other classes: each curve shows this "
                "for all thresholds of a class's score. The further it reaches into the upper left corner, the better "
                "the class is told apart from the rest."
            ),
            figure(figures / "roc.png", "ROC curves of each class against all others."),
            *(_calibration(figures / "calibration.png") if are_probabilities else [paragraph(NO_PROBABILITIES)]),
        ],
        "Scores": [
            paragraph(
                "All scores are of the validation images, none of which was trained on. They chose the best epoch, so "
                "the scores are slightly too good; for a publication run `kerazoo evaluate` on images that were never "
                "used."
            ),
            _scores(scores, validation),
            _images(validation["per_image"], score),
        ],
    }


def _mistakes(path: Path) -> list[Markup]:
    return [
        paragraph(
            "Mistakes, those first where the network is most sure. Look whether the annotation is right, and whether "
            "the patch shows more than one class."
        ),
        figure(path, "Wrongly classified validation patches."),
    ]


def _calibration(path: Path) -> list[Markup]:
    return [
        paragraph(
            "Can the probabilities be taken at their word? On the dashed line, of the patches with a probability of "
            "0.8 just 80 % are right. Below the line the network is too sure, above it too cautious. The vertical "
            "lines are 95 % intervals, and still too short where patches of one image resemble each other."
        ),
        figure(path, "Probability of the predicted class, and the part that is right."),
    ]


def cautions(run: Run) -> list[str]:
    """What limits the meaning of the scores: split, number of images, class balance and calibration.

    Parameters
    ----------
    run
        A validated run.
    """
    config, recipe, validation = run.config, run.recipe, run.record.validation
    return [
        *_about_split(config, run.split),
        *_about_images(validation["per_image"]),
        *_about_balance(validation["balance"]),
        *_about_purity(recipe),
        *_about_calibration(validation["calibration"]),
    ]


def _about_split(config: Config, split: SplitRecord) -> Iterator[str]:
    sides = [{entry.group for entry in side} - {None} for side in (split.train, split.validation)]
    if config.split.column is not None:
        yield (
            f"The column {config.split.column} of the table says which images are held out. Scores are honest only if "
            "images of one slide, animal or patient are on one side."
        )
    elif any(sides):
        by = config.split.group or "group"
        yield (
            f"Training and validation were divided by {by}: {len(sides[0])} to train, {len(sides[1])} to validate, and "
            "none on both sides."
        )
    else:
        yield (
            "Training and validation were divided image by image. If several images come from one slide, animal or "
            "patient, the network has seen neighbours of what it is asked, and the scores are too good for new slides: "
            "name slide or patient in a column of the table, and that column as `split.group`."
        )


def _about_images(images: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if len(images) < FEW_IMAGES:
        several = max(entry["patches"] for entry in images) > 1
        values = [entry["accuracy"] for entry in images]
        extent = (
            f" The accuracy of single images lies between {min(values):.2f} and {max(values):.2f}." if several else ""
        )
        yield (
            f"Only {len(images)} {'image is' if len(images) == 1 else 'images are'} validated: another choice of "
            f"images may give other scores.{extent} Train with several `split.seed` and see `kerazoo compare`."
        )


def _about_balance(balance: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    counts = {name: entry["patches"] for name, entry in balance.items()}
    absent = [name for name, count in counts.items() if not count]
    few = [f"{name} ({count})" for name, count in counts.items() if 0 < count < FEW_PATCHES]
    if absent:
        yield (
            f"No validation patch is of the class {', '.join(absent)}: how well it is recognised is not known. Choose "
            "another `split.seed`, or annotate more."
        )
    if few:
        yield f"Of some classes there are few validation patches: {', '.join(few)}. Their numbers are rough."
    present = [count for count in counts.values() if count]
    if max(present) > UNEQUAL * min(present):
        name, share = _most_frequent(balance)
        yield (
            f"The classes are not equally frequent. Always to answer {name} would give an accuracy of {share:.2f}: "
            "look at the balanced accuracy, and at each class."
        )


def _about_purity(recipe: Recipe) -> Iterator[str]:
    if recipe.patch is not None and recipe.annotation != "image":
        yield (
            f"Scored are patches of which one class covers at least {100 * recipe.patch.purity:.0f} %. Patches across "
            "a border between classes are harder, and left out."
        )


def _about_calibration(bins: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    filled = [entry for entry in bins if entry["patches"]]
    total = sum(entry["patches"] for entry in filled)
    if not total:
        return
    sure, right = (
        sum(entry["patches"] * entry[name] for entry in filled) / total for name in ("confidence", "accuracy")
    )
    if abs(sure - right) > MISCALIBRATED:
        yield (
            f"The network is too {'sure' if sure > right else 'cautious'}: its mean probability is {sure:.2f}, but "
            f"{right:.2f} of the patches are right. Its probabilities rank patches; they are no frequencies."
        )


def _most_frequent(balance: Mapping[str, Mapping[str, Any]]) -> tuple[str, float]:
    name = max(balance, key=lambda name: balance[name]["patches"])
    return name, balance[name]["fraction"]


def _confusions(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> Iterator[str]:
    """The three most frequent confusions, by their part of the true class; none without mistakes."""
    found = [
        (count / sum(row), count, sum(row), names[true], names[predicted])
        for true, row in enumerate(confusion)
        for predicted, count in enumerate(row)
        if count and predicted != true
    ]
    for part, count, support, true, predicted in sorted(found, reverse=True)[:3]:
        yield f"{true} is taken for {predicted} in {count} of {support} patches ({100 * part:.0f} %)."


def _scores(scores: Mapping[str, Any], validation: Mapping[str, Any]) -> Markup:
    several = any(entry["patches"] > 1 for entry in validation["per_image"])
    header = ["score", "all patches", *(["mean over images"] if several else []), "meaning"]
    rows = []
    for name, value in scores.items():
        text = PATCH_SCORES.get(name, ScoreText(name, ""))
        rows.append([text.name, value, *([validation["mean_scores"].get(name)] if several else []), text.meaning])
    return table(header, rows)


def _images(images: Sequence[Mapping[str, Any]], score: str) -> Markup:
    columns = {
        "patches": "patches",
        "accuracy": "accuracy",
        "truth": "true class",
        "prediction": "predicted class",
        "true_score": f"mean {score} of the truth",
    }
    remark = (
        "The predicted class of an image is that of the highest mean over its patches; an image whose patches differ "
        "has no true class."
    )
    return images_table(images, worst_first(images), columns, remark)
