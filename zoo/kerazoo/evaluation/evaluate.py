"""Scoring a trained network, a bundle of one, or what needs no training, on annotated images."""

from __future__ import annotations

import json as json_module
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bmzpack.errors import UserError
from bmzpack.files import new_file, refuse_existing
from kerazoo.config import DataConfig
from kerazoo.data.patches import patches_of_mask
from kerazoo.data.survey import survey
from kerazoo.evaluation.classification import Classified, class_summary
from kerazoo.evaluation.scores import (
    THRESHOLDS,
    ClassCounts,
    Counts,
    InstanceCounts,
    count,
    dice,
    iou,
    mean_scores,
    precision,
    recall,
    total,
)
from kerazoo.files.pairs import Pair, Sample, annotation_of, load_pair, pairs_of, separated, sha256_of
from kerazoo.models.recipe import Recipe
from kerazoo.runs.run import Run

if TYPE_CHECKING:
    from kerazoo.inference.classical import ClassicalPredictor
    from kerazoo.inference.classifier import PatchClassifier
    from kerazoo.inference.predictor import Predictor


def evaluate(
    source: Run | str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    masks: str | os.PathLike[str] | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    table: str | os.PathLike[str] | None = None,
    axes: str | None = None,
    json: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Predict annotated images and compare.

    Parameters
    ----------
    source
        A run, its folder, a bundle, or `classical2d`.
    images, masks
        Folders of images and annotations, paired by stem.
    folder
        Instead, for a classifier: a folder that holds one folder of images per class.
    table
        Instead: a CSV file with the columns `image`, `mask`, or for a classifier `file`, `class`.
    axes
        The axes of the image files, such as ``CYX``; by default those of the training images.
    json
        Where to write the result as JSON as well.
    overwrite
        Whether that file may be replaced.
    progress
        Whether to show a progress bar on the terminal.

    Returns
    -------
    dict
        ``task``; ``scores`` of all images together (see `kerazoo.evaluation.scores` for the names and how they are
        pooled); ``mean_scores`` over images; ``per_class`` for classes; ``average_precision`` of objects at every IoU
        from 0.50 to 0.95; ``per_image``: ``id`` and scores of every
        image; ``trained_on``: how many of the images a run was trained on, None for what keeps no list of them. A score
        that is not defined is None. For a classifier see `kerazoo.evaluation.classification.class_summary`; patches are
        cut out of annotated images as in its training; ``smaller_than_patch``: how many images were mirrored beyond
        their edges, as in prediction; ``without_patch``: of how many no patch has one class.

    Raises
    ------
    UserError
        No run or bundle, files that cannot be paired or read, no object in any mask, or ``json`` exists.
    """
    from kerazoo.inference.classifier import PatchClassifier
    from kerazoo.inference.load import is_classical, load_predictor

    if json is not None:
        refuse_existing(Path(json), overwrite)
    given = {
        name: Path(value)
        for name, value in (("images", images), ("masks", masks), ("folder", folder), ("table", table))
        if value is not None
    }
    if not given:
        raise UserError("There is nothing to evaluate on: name images and masks, a folder of classes, or a table.")
    if not isinstance(source, Run) and not is_classical(source) and (Path(source) / "config.yaml").is_file():
        source = Run.open(source)
    predictor = load_predictor(source)
    data = _data_of(source, predictor.recipe, given, axes)
    pairs = pairs_of(data)
    if isinstance(predictor, PatchClassifier):
        classified = classify(predictor, _shown(pairs, progress), data)
        result = class_summary(classified)
        result |= {"smaller_than_patch": classified.smaller, "without_patch": classified.unused}
    else:
        result = _evaluate_pixels(predictor, _shown(pairs, progress), data, str(masks or table))
    result["trained_on"] = _trained_on(source, pairs) if isinstance(source, Run) else None
    if json is not None:
        with new_file(json, overwrite=overwrite) as path:
            path.write_text(json_module.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def remarks(result: dict[str, Any]) -> list[str]:
    """What must be known to judge the scores, in sentences.

    Parameters
    ----------
    result
        As `evaluate` returns it.
    """
    trained, smaller, unused = (result.get(name) for name in ("trained_on", "smaller_than_patch", "without_patch"))
    sentences = []
    if trained:
        sentences.append(
            f"Warning: the network was trained on {trained} of these images, the same byte by byte. The scores are too "
            "good: evaluate on images that it has not seen."
        )
    if smaller:
        sentences.append(f"Images smaller than a patch, mirrored beyond their edges: {smaller}.")
    if unused:
        sentences.append(f"Images that are not scored, as no patch has enough of one class: {unused}.")
    return sentences


def _trained_on(run: Run, pairs: Iterable[Pair]) -> int | None:
    known = {entry.get("sha256", {}).get("image") for entry in run.read("split").get("train", [])} - {None}
    return sum(sha256_of(pair.image) in known for pair in pairs) if known else None


def _data_of(
    source: Run | str | os.PathLike[str], recipe: Recipe, given: dict[str, Path], axes: str | None
) -> DataConfig:
    """How the annotated images are read: as those of the training, whatever form the annotations have here."""
    # a mask without objects may be the truth of one image, though not of all
    common: dict[str, Any] = {"images": None, "masks": None, "folder": None, "table": None, "empty_masks": True}
    common |= given | ({"axes": axes} if axes else {})
    if recipe.task == "classification":
        common["annotation"] = annotation_of(given)
    if isinstance(source, Run):
        return source.config.data.model_copy(update=common)
    if recipe.model == "classical2d":
        measured = survey(DataConfig(**{name: value for name, value in common.items() if name != "empty_masks"}))
        if measured.annotation == "classes":
            raise UserError(f"{recipe.model} finds objects, but the masks are of classes: {measured.reason}.")
        return DataConfig(channels=measured.channels, annotation=measured.annotation, **common)
    own = {
        "channels": recipe.channels,
        "annotation": recipe.annotation,
        "classes": recipe.classes if recipe.annotation in ("classes", "image") else [],
        "axes": recipe.axes,
        "ignore": recipe.ignore,
    }
    return DataConfig(**own | common)


def classify(classifier: PatchClassifier, pairs: Iterable[Pair], data: DataConfig) -> Classified:
    """Classify the patches of annotated images, cut as in the training.

    Images smaller than a patch, which the training refuses, are mirrored beyond their lower and right edge.

    Parameters
    ----------
    classifier
        The classifier.
    pairs
        The images.
    data
        How they are read.

    Returns
    -------
    Classified
        The patches in the order of the images, by row and column.

    Raises
    ------
    UserError
        No image has a patch of which one class covers enough, or a file cannot be used.
    """
    recipe, classes = classifier.recipe, len(classifier.recipe.classes)
    truth, scores, ids = [], [], []
    smaller = unused = 0
    for pair in pairs:
        sample = load_pair(pair, data)
        beyond = [(0, max(0, classifier.patch.size - length)) for length in sample.mask.shape]
        is_smaller = any(after for _, after in beyond)
        mask = np.pad(sample.mask, beyond, mode="reflect") if is_smaller else sample.mask
        found = patches_of_mask(mask, classifier.patch, classes, data.ignore)
        smaller += is_smaller
        unused += not len(found)
        truth.append(found[:, 2])
        scores.append(classifier.scores(sample.image, found[:, :2]))
        ids += [sample.id] * len(found)
    if not ids:
        raise UserError(
            f"No image has a patch of {classifier.patch.size} pixels of which one class covers at least "
            f"{classifier.patch.purity:.0%}: choose larger images, or annotate larger regions."
        )
    return Classified(np.concatenate(truth), np.concatenate(scores), ids, recipe.classes, smaller, unused)


def _evaluate_pixels(
    predictor: Predictor | ClassicalPredictor, pairs: Iterable[Pair], data: DataConfig, masks: str
) -> dict[str, Any]:
    counts, annotated = {}, False
    for pair in pairs:
        sample = load_truth(pair, data, predictor.recipe)
        annotated = (
            annotated or data.annotation == "classes" or bool(((sample.mask > 0) & (sample.mask != data.ignore)).any())
        )
        counts[pair.id] = count(sample.mask, predictor.result(sample.image), predictor.recipe)
    if not annotated:
        raise UserError(f"{masks}: all masks are empty, there is nothing to compare with; annotate some of the images.")
    return summary(counts, predictor.recipe)


def load_truth(pair: Pair, data: DataConfig, recipe: Recipe) -> Sample:
    """Read a pair with its mask as it is scored: where objects are asked for, those of a binary mask are its parts.

    Parameters
    ----------
    pair
        The files.
    data
        How they are read.
    recipe
        Its task decides whether objects are asked for.

    Returns
    -------
    Sample
        As `kerazoo.files.pairs.load_pair` gives it, but for the mask.
    """
    sample = load_pair(pair, data)
    if recipe.task == "semantic" or data.annotation != "binary":
        return sample
    return separated(sample, data.ignore)


def summary(counts: dict[str, Counts], recipe: Recipe) -> dict[str, Any]:
    """What `evaluate` returns.

    Parameters
    ----------
    counts
        The counts of every image by its id, at least one.
    recipe
        Its task and classes.

    Returns
    -------
    dict
        As for `evaluate`.
    """
    together = total(counts.values())
    per_image = [image.scores() for image in counts.values()]
    result: dict[str, Any] = {
        "task": recipe.task,
        "scores": together.scores(),
        "mean_scores": mean_scores(per_image),
        "per_image": [{"id": name} | scores for name, scores in zip(counts, per_image, strict=True)],
    }
    if isinstance(together, InstanceCounts):
        by_threshold = zip(THRESHOLDS, together.average_precision(), strict=True)
        result["average_precision"] = {f"{threshold:.2f}": value for threshold, value in by_threshold}
    if isinstance(together, ClassCounts):
        columns = [function(together.confusion) for function in (iou, dice, precision, recall)]
        result["per_class"] = {
            name: dict(zip(("iou", "dice", "precision", "recall"), values, strict=True))
            for name, *values in zip(recipe.classes, *columns, strict=True)
        }
    return result


def _shown(pairs: list[Any], progress: bool) -> Iterable[Any]:
    if not progress:
        return pairs
    from rich.progress import track

    return track(pairs, "evaluating", transient=True)
