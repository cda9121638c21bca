"""Scoring classes of patches, which are cut out of annotated images as in the training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from bmzpack.errors import UserError
from kerazoo.config import DataConfig
from kerazoo.data.patches import patches_of_mask
from kerazoo.evaluation.classification import Classified, class_summary
from kerazoo.files.pairs import Pair, load_pair
from kerazoo.inference.load import load_classifier
from kerazoo.inference.patch_predictor import PatchPredictor
from kerazoo.runs.run import Run


@dataclasses.dataclass(frozen=True)
class ValidatedPatches:
    """The validation patches of a run after they have been scored."""

    classified: Classified
    pixels: Callable[[int], np.ndarray]
    """From the index of a patch to its raw pixels (y, x, channel), any dtype."""


def score_patches(classifier: PatchPredictor, pairs: Iterable[Pair], data: DataConfig, masks: str) -> dict[str, Any]:
    """Classify patches of annotated images and compare.

    Parameters
    ----------
    classifier
        What is applied.
    pairs
        The images.
    data
        How they are read.
    masks
        Not used.

    Returns
    -------
    dict
        As for `kerazoo.evaluation.classification.class_summary`, with how many images are smaller than a patch, or
        have none of one class.

    Raises
    ------
    UserError
        As for `classify`.
    """
    classified = classify(classifier, pairs, data)
    return class_summary(classified) | {
        "smaller_than_patch": classified.smaller,
        "without_patch": classified.unused,
    }


def classify(classifier: PatchPredictor, pairs: Iterable[Pair], data: DataConfig) -> Classified:
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
        found = patches_of_mask(mask, classifier.patch, classes, data.ignored)
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


def validate_patches(run: Run) -> ValidatedPatches:
    """Score the validation patches of a run; there is nothing to choose.

    The scores, and all else of `class_summary` as ``validation``, go into record.json.

    Parameters
    ----------
    run
        A run with its best.keras, recipe.json, split.json and history.csv.
    """
    classifier, data, pairs = load_classifier(run), run.config.data, run.held_out()
    classified = classify(classifier, pairs, data)
    validation = class_summary(classified)
    run.update_record(scores=validation.pop("scores"), validation=validation)
    by_id = {pair.id: pair for pair in pairs}

    def pixels(index: int) -> np.ndarray:
        name = classified.ids[index]
        sample = load_pair(by_id[name], data)
        found = patches_of_mask(sample.mask, classifier.patch, len(classified.classes), data.ignored)
        y, x, _ = found[index - classified.ids.index(name)]
        return sample.image[y : y + classifier.patch.size, x : x + classifier.patch.size]

    return ValidatedPatches(classified, pixels)
