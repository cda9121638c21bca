"""The last step of a training: choose the decoding on the validation images, score them, and draw them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from kerazoo.config import DataConfig, DecodingConfig
from kerazoo.data.patches import patches_of_mask
from kerazoo.evaluation.classification_run import validate_classifier
from kerazoo.evaluation.evaluate import classify, load_truth, summary
from kerazoo.evaluation.scores import count, total
from kerazoo.files.pairs import Pair, Sample, load_pair
from kerazoo.models.classical.method import classical
from kerazoo.models.pixels.decoding import decode
from kerazoo.models.recipe import Recipe
from kerazoo.reports.figures import Example, draw_curves, draw_examples
from kerazoo.runs.run import Run

TUNING_PIXELS = 4_000_000
"""So many pixels of validation images, at most, decide on the decoding."""
EXAMPLES = 4
"""Images in a figure."""
THRESHOLDS = (0.5, 0.4, 0.6, 0.3, 0.7, 0.8, 0.9)
GRIDS: dict[str, dict[str, Sequence[float]]] = {
    "border": {
        "threshold": THRESHOLDS,
        "seed_threshold": (0.5, 0.4, 0.6, 0.3, 0.7, 0.8, 0.9),
        "neck": (0.8, 0.85, 0.75, 0.7, 0.6, 0.0),
    },
    "flows": {"threshold": THRESHOLDS, "flow_error": (0.4, 0.6, 0.8, 0.3, 0.2, 0.0)},
    "fields": {"distance": (0.0, 0.5, -0.5, 1.0, -1.0, 1.5, 2.0)},
}
"""Values of the decoding that are tried for each kind of target, the default first."""
SIZES = (1 / 32, 0, 1 / 64, 1 / 16, 1 / 8, 1 / 4)
"""Minimum sizes that are tried, as part of the median object's area."""


def validate(run: Run) -> None:
    """Choose the decoding thresholds, score and draw the validation images.

    The thresholds go into recipe.json; the scores, those of each image and those of the untrained baseline
    (`classical`, for instances) into record.json; curves.png, samples.png and worst.png into figures/. As the
    thresholds are chosen on the images that are scored here, these scores are slightly too good; `evaluate` on further
    images gives honest ones. For a classifier there is nothing to choose: its patches are scored and drawn.

    Parameters
    ----------
    run
        A run with its best.keras, recipe.json, split.json and history.csv.
    """
    from kerazoo.inference.load import load_predictor
    from kerazoo.inference.predictor import Predictor

    if run.recipe.task == "classification":
        _validate_classifier(run)
        return
    predictor, data = load_predictor(run), run.config.data
    assert isinstance(predictor, Predictor)
    recipe = run.recipe.model_copy(update={"decoding": run.config.decoding})
    pairs = validation_pairs(run)

    predicted = {}
    for sample in _some(pairs, data, recipe, seed=run.config.split.seed):
        predicted[sample.id] = sample, predictor.probabilities(sample.image)
    recipe = recipe.model_copy(update={"decoding": choose_decoding(list(predicted.values()), recipe)})
    run.write("recipe", recipe.model_dump(mode="json"))

    def result(pair: Pair) -> tuple[Sample, np.ndarray]:
        if pair.id in predicted:
            sample, probabilities = predicted[pair.id]
        else:
            sample = load_truth(pair, data, recipe)
            probabilities = predictor.probabilities(sample.image)
        return sample, decode(probabilities, recipe, sample.mask.shape)

    counts, baseline = {}, {}
    for pair in pairs:
        sample, prediction = result(pair)
        counts[pair.id] = count(sample.mask, prediction, recipe)
        if recipe.task == "instances":
            baseline[pair.id] = count(sample.mask, classical(sample.image), recipe)
    validation = summary(counts, recipe)
    if baseline:
        validation["baseline"] = summary(baseline, recipe)["scores"]
    run.update("record", scores=validation.pop("scores"), validation=validation)

    by_id = {pair.id: pair for pair in pairs}
    ranked = ranking(validation["per_image"], recipe)
    draw_curves(run.path / "history.csv", run.figures / "curves.png")
    others = ranked[EXAMPLES:] if len(ranked) >= 2 * EXAMPLES else ranked
    for name, ids in (("samples", spread(others, EXAMPLES)), ("worst", ranked[:EXAMPLES])):
        examples = (result(by_id[id]) for id in ids)
        drawn = [Example(sample.id, sample.image, sample.mask, prediction) for sample, prediction in examples]
        draw_examples(drawn, recipe, run.figures / f"{name}.png")


def validation_pairs(run: Run) -> list[Pair]:
    """The pairs that a run holds out."""
    return [
        Pair(
            id=entry["id"],
            image=Path(entry["image"]),
            mask=Path(entry["mask"]) if entry.get("mask") else None,
            category=entry.get("class"),
        )
        for entry in run.read("split")["validation"]
    ]


def _validate_classifier(run: Run) -> None:
    from kerazoo.inference.classifier import PatchClassifier

    classifier, data, pairs = PatchClassifier.load(run), run.config.data, validation_pairs(run)
    classified = classify(classifier, pairs, data)
    by_id = {pair.id: pair for pair in pairs}

    def pixels(index: int) -> np.ndarray:
        name = classified.ids[index]
        sample = load_pair(by_id[name], data)
        found = patches_of_mask(sample.mask, classifier.patch, len(classified.classes), data.ignore)
        y, x, _ = found[index - classified.ids.index(name)]
        return sample.image[y : y + classifier.patch.size, x : x + classifier.patch.size]

    validate_classifier(run, classified, pixels)


def choose_decoding(predicted: Sequence[tuple[Sample, np.ndarray]], recipe: Recipe) -> DecodingConfig:
    """The decoding of the best score: mean AP at IoU 0.5 to 0.95 for instances, Dice for a foreground; for polygons see
    `kerazoo.models.stardist.thresholds`.

    One value after the other is varied, the others held; where several are equally good, the one nearest to the default
    is taken. A value that is not the default has been set by the user, and is kept.

    Parameters
    ----------
    predicted
        Samples with the network's output (y, x, channel).
    recipe
        The recipe whose decoding is the start.

    Returns
    -------
    DecodingConfig
        That of the recipe where there is nothing to choose.
    """
    default = DecodingConfig()
    if recipe.targets == "stars":
        return recipe.decoding.model_copy(update=_star_thresholds(predicted, recipe, default))
    grid: dict[str, Sequence[float]] = {}
    if recipe.targets == "foreground":
        criterion, grid["threshold"] = "dice", THRESHOLDS
    elif recipe.targets in GRIDS:
        criterion, grid = "ap_50_95", dict(GRIDS[recipe.targets])
        area = np.concatenate([_areas(sample.mask, recipe.ignore) for sample, _ in predicted])
        if area.size:
            grid["minimum_size"] = [round(part * float(np.median(area))) for part in SIZES]
    else:
        return recipe.decoding

    grid = {name: values for name, values in grid.items() if getattr(recipe.decoding, name) == getattr(default, name)}

    def score(decoding: DecodingConfig) -> float:
        trial = recipe.model_copy(update={"decoding": decoding})
        counts = (
            count(sample.mask, decode(probabilities, trial, sample.mask.shape), trial)
            for sample, probabilities in predicted
        )
        return total(counts).scores()[criterion] or 0.0

    # Each search starts at the first value of those that come after it.
    best = recipe.decoding.model_copy(update={name: values[0] for name, values in grid.items()})
    for name, values in grid.items():
        trials = [best.model_copy(update={name: value}) for value in values]
        best = max(trials, key=score)
    return best


def _star_thresholds(
    predicted: Sequence[tuple[Sample, np.ndarray]], recipe: Recipe, default: DecodingConfig
) -> dict[str, float]:
    """The best thresholds of polygons, those left out that the user has set."""
    from kerazoo.models.stardist.thresholds import optimise_thresholds

    grid, truths = recipe.geometry.grid, [sample.mask for sample, _ in predicted]
    ignored = [truth == recipe.ignore for truth in truths]
    if not any((truth[~hidden] > 0).any() for truth, hidden in zip(truths, ignored, strict=True)):
        return {}
    found = optimise_thresholds([output for _, output in predicted], truths, (grid, grid), ignored)
    best = dict(zip(("threshold", "overlap"), found, strict=True))
    return {name: value for name, value in best.items() if getattr(recipe.decoding, name) == getattr(default, name)}


def ranking(per_image: Sequence[Mapping[str, float | str | None]], recipe: Recipe) -> list[str]:
    """Ids of the scored images, worst first."""
    name = "ap_50" if recipe.task == "instances" else "iou"
    scored = [entry for entry in per_image if entry[name] is not None]
    return [str(entry["id"]) for entry in sorted(scored, key=lambda entry: (entry[name], entry["id"]))]


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


def _areas(mask: np.ndarray, ignore: int | None) -> np.ndarray:
    values, area = np.unique(mask, return_counts=True)
    return area[(values != 0) & (values != (-1 if ignore is None else ignore))]
