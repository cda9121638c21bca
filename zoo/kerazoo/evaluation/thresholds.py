"""Choosing the values by which outputs become objects or masks, on validation images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kerazoo.config import DecodingConfig
from kerazoo.evaluation.scores import count, total
from kerazoo.files.pairs import Sample
from kerazoo.models.exchange import Outputs
from kerazoo.models.recipe import Recipe
from kerazoo.models.registry import family_of_kind


def choose_decoding(predicted: Sequence[tuple[Sample, Outputs]], recipe: Recipe) -> DecodingConfig:
    """The decoding of the best score: mean AP at IoU 0.5 to 0.95 for instances, Dice for a foreground; or
    what the family's own way of tuning says.

    One value after the other is varied, the others held; where several are equally good, the one nearest to the default
    is taken. A value that is not the default has been set by the user, and is kept.

    Parameters
    ----------
    predicted
        Samples with the network's outputs.
    recipe
        The recipe whose decoding is the start.

    Returns
    -------
    DecodingConfig
        That of the recipe where there is nothing to choose.
    """
    family, default = family_of_kind(recipe.targets), DecodingConfig()

    def untouched(values: dict) -> dict:
        return {key: value for key, value in values.items() if getattr(recipe.decoding, key) == getattr(default, key)}

    truths = [sample.mask for sample, _ in predicted]
    found = family.tune(
        [outputs for _, outputs in predicted], truths, [mask == recipe.ignore for mask in truths], recipe
    )
    if found is not None:
        return recipe.decoding.model_copy(update=untouched(found))
    areas = np.concatenate([_areas(mask, recipe.ignore) for mask in truths])
    tuning = family.tuning(recipe, float(np.median(areas)) if areas.size else None)
    if tuning is None:
        return recipe.decoding
    criterion, grid = tuning[0], untouched(tuning[1])

    def score(decoding: DecodingConfig) -> float:
        trial = recipe.model_copy(update={"decoding": decoding})
        counts = (
            count(sample.mask, family.decode(outputs, trial, sample.mask.shape), trial) for sample, outputs in predicted
        )
        return total(counts).scores()[criterion] or 0.0

    # Each search starts at the first value of those that come after it.
    best = recipe.decoding.model_copy(update={name: values[0] for name, values in grid.items()})
    for name, values in grid.items():
        trials = [best.model_copy(update={name: value}) for value in values]
        best = max(trials, key=score)
    return best


def _areas(mask: np.ndarray, ignore: int | None) -> np.ndarray:
    values, area = np.unique(mask, return_counts=True)
    return area[(values != 0) & (values != (-1 if ignore is None else ignore))]
