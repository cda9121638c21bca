"""Scoring a trained network, or a bundle of one, on annotated images."""

from __future__ import annotations

import dataclasses
import json as json_module
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bmzpack.errors import UserError
from bmzpack.files import new_file, refuse_existing
from kerazoo.config import DataConfig
from kerazoo.data.pairs import Pair, Sample, load_pair, pairs_of
from kerazoo.decoding.watershed import components
from kerazoo.evaluation.scores import ClassCounts, Counts, count, dice, iou, mean_scores, precision, recall, total
from kerazoo.recipe import Recipe
from kerazoo.training.run import Run


def evaluate(
    source: Run | str | os.PathLike[str],
    images: str | os.PathLike[str],
    masks: str | os.PathLike[str],
    *,
    axes: str | None = None,
    json: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Predict annotated images and compare.

    Parameters
    ----------
    source
        A run, its folder, or a bundle.
    images, masks
        Folders of images and annotations, paired by stem.
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
        pooled); ``mean_scores`` over images; ``per_class`` for classes; ``per_image``: ``id`` and scores of every
        image. A score that is not defined is None.

    Raises
    ------
    UserError
        No run or bundle, files that cannot be paired or read, no object in any mask, or ``json`` exists.
    """
    from kerazoo.inference.predictor import Predictor

    if json is not None:
        refuse_existing(Path(json), overwrite)
    source = source if isinstance(source, Run) else Path(source)
    if isinstance(source, Path) and (source / "config.yaml").is_file():
        source = Run.open(source)
    # a mask without objects may be the truth of one image, though not of all
    given: dict[str, Any] = {"images": Path(images), "masks": Path(masks), "table": None, "empty_masks": True}
    given |= {"axes": axes} if axes else {}
    if isinstance(source, Run):
        data = source.config.data.model_copy(update=given)
        pairs = pairs_of(data)
        predictor = Predictor.load(source)
    else:
        predictor = Predictor.load(source)
        recipe = predictor.recipe
        data = DataConfig(
            **{
                "channels": recipe.channels,
                "annotation": recipe.annotation,
                "classes": recipe.classes if recipe.annotation == "classes" else [],
                "axes": recipe.axes,
                "ignore": recipe.ignore,
            }
            | given
        )
        pairs = pairs_of(data)

    counts, annotated = {}, False
    for pair in _shown(pairs, progress):
        sample = load_truth(pair, data, predictor.recipe)
        annotated = (
            annotated or data.annotation == "classes" or bool(((sample.mask > 0) & (sample.mask != data.ignore)).any())
        )
        counts[pair.id] = count(sample.mask, predictor.result(sample.image), predictor.recipe)
    if not annotated:
        raise UserError(f"{masks}: all masks are empty, there is nothing to compare with; annotate some of the images.")
    result = summary(counts, predictor.recipe)
    if json is not None:
        with new_file(json, overwrite=overwrite) as path:
            path.write_text(json_module.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


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
        As `kerazoo.data.pairs.load_pair` gives it, but for the mask.
    """
    sample = load_pair(pair, data)
    if recipe.task == "semantic" or data.annotation != "binary":
        return sample
    ignored = sample.mask == data.ignore
    _, labels = components((sample.mask > 0) & ~ignored, connectivity=4)
    labels[labels > 0] += max(data.ignore or 0, 0)
    labels[ignored] = sample.mask[ignored]
    return dataclasses.replace(sample, mask=labels)


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
