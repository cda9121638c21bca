"""Scoring label images and class maps: one of every annotated image."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from bmzpack.errors import UserError
from kerazoo.config import DataConfig
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
    ranking,
    recall,
    total,
)
from kerazoo.evaluation.thresholds import choose_decoding
from kerazoo.files.pairs import Pair, Sample, load_pair, separated
from kerazoo.inference.load import Applicable, load_network, load_predictor
from kerazoo.models.exchange import Outputs
from kerazoo.models.recipe import Recipe
from kerazoo.models.registry import baseline, decode
from kerazoo.runs.run import Run

TUNING_PIXELS = 4_000_000
"""So many pixels of validation images, at most, decide on the decoding."""
EXAMPLES = 4
"""Images in a figure."""


@dataclasses.dataclass(frozen=True)
class Example:
    """An image with its ground truth and its prediction."""

    id: str
    image: np.ndarray
    """(y, x, channel), any dtype."""
    truth: np.ndarray
    """(y, x), int32."""
    prediction: np.ndarray
    """(y, x), int32."""


@dataclasses.dataclass(frozen=True)
class ValidatedImages:
    """The validation images of a run after they have been scored."""

    recipe: Recipe
    samples: list[str]
    """Ids of images from good to bad, evenly spread over the ranking."""
    worst: list[str]
    """Ids of the images with the lowest scores."""
    example: Callable[[str], Example]
    """From an id to the image with its prediction."""


def score_images(predictor: Applicable, pairs: Iterable[Pair], data: DataConfig, masks: str) -> dict[str, Any]:
    """Predict annotated images and compare.

    Parameters
    ----------
    predictor
        What is applied.
    pairs
        The images.
    data
        How they are read.
    masks
        Where they are annotated, for messages.

    Returns
    -------
    dict
        As for `summary`.

    Raises
    ------
    UserError
        There is no object in any mask, or a file cannot be used.
    """
    samples = (load_truth(pair, data, predictor.recipe) for pair in pairs)
    return compared(((sample, predictor.result(sample.image)) for sample in samples), data, predictor.recipe, masks)


def compared(
    predictions: Iterable[tuple[Sample, np.ndarray]], data: DataConfig, recipe: Recipe, masks: str
) -> dict[str, Any]:
    """Compare what was found in annotated images with their masks.

    Parameters
    ----------
    predictions
        From `load_truth`, and what was found, int32 (y, x).
    data, masks
        As for `score_images`.
    recipe
        Its task and classes.

    Returns
    -------
    dict
        As for `summary`.

    Raises
    ------
    UserError
        There is no object in any mask.
    """
    counts, annotated = {}, data.annotation == "classes"
    for sample, prediction in predictions:
        annotated = annotated or bool(((sample.mask > 0) & (sample.mask != data.ignored)).any())
        counts[sample.id] = count(sample.mask, prediction, recipe)
    if not annotated:
        raise UserError(f"{masks}: all masks are empty, there is nothing to compare with; annotate some of the images.")
    return summary(counts, recipe)


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
    return separated(sample, data.ignored)


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


def validate_images(run: Run) -> ValidatedImages:
    """Choose the decoding on the validation images of a run, and score these.

    The thresholds go into recipe.json; the scores, those of each image and those of the untrained baseline (for
    instances) into record.json.

    Parameters
    ----------
    run
        A run with its best.keras, recipe.json, split.json and history.csv.
    """
    predictor, data = load_network(run), run.config.data
    recipe = run.recipe.model_copy(update={"decoding": run.config.decoding})
    pairs = run.held_out()

    predicted: dict[str, tuple[Sample, Outputs]] = {}
    for sample in _some(pairs, data, recipe, seed=run.config.split.seed):
        predicted[sample.id] = sample, predictor.outputs(sample.image)
    recipe = recipe.model_copy(update={"decoding": choose_decoding(list(predicted.values()), recipe)})
    run.write("recipe", recipe.model_dump(mode="json"))

    def result(pair: Pair) -> tuple[Sample, np.ndarray]:
        if pair.id in predicted:
            sample, outputs = predicted[pair.id]
        else:
            sample = load_truth(pair, data, recipe)
            outputs = predictor.outputs(sample.image)
        return sample, decode(outputs, recipe, sample.mask.shape)

    entry = baseline() if recipe.task == "instances" else None
    untrained = None if entry is None else load_predictor(entry.name)
    counts, counts_of_baseline = {}, {}
    for pair in pairs:
        sample, prediction = result(pair)
        counts[pair.id] = count(sample.mask, prediction, recipe)
        if untrained is not None:
            counts_of_baseline[pair.id] = count(sample.mask, untrained.result(sample.image), recipe)
    validation = summary(counts, recipe)
    if counts_of_baseline:
        validation["baseline"] = summary(counts_of_baseline, recipe)["scores"]
    run.update_record(scores=validation.pop("scores"), validation=validation)

    by_id = {pair.id: pair for pair in pairs}
    ranked = ranking(validation["per_image"], recipe)
    others = ranked[EXAMPLES:] if len(ranked) >= 2 * EXAMPLES else ranked

    def example(name: str) -> Example:
        sample, prediction = result(by_id[name])
        return Example(sample.id, sample.image, sample.mask, prediction)

    return ValidatedImages(recipe, spread(others, EXAMPLES), ranked[:EXAMPLES], example)


def spread(ranked: list[str], number: int) -> list[str]:
    """At most ``number`` entries from a ranking, evenly spread, the best one first."""
    places = np.linspace(len(ranked) - 1, 0, min(number, len(ranked))).round().astype(int)
    return [ranked[place] for place in places]


def _some(pairs: Sequence[Pair], data: DataConfig, recipe: Recipe, seed: int) -> Iterator[Sample]:
    """Samples in a seeded order until `TUNING_PIXELS` are reached, at least one."""
    pixels = 0
    for pair in random.Random(seed).sample(pairs, len(pairs)):
        if pixels >= TUNING_PIXELS:
            return
        sample = load_truth(pair, data, recipe)
        pixels += sample.mask.size
        yield sample
