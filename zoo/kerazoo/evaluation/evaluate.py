"""Scoring a trained network, a bundle of one, or what needs no training, on annotated images."""

from __future__ import annotations

import json as json_module
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bmzpack.errors import UserError
from bmzpack.files import new_file
from kerazoo.config import DataConfig
from kerazoo.data.survey import survey
from kerazoo.evaluation.prompts import score_prompts
from kerazoo.evaluation.tasks import SCORING
from kerazoo.evaluation.through import PROGRAMS, score_through
from kerazoo.files.pairs import Pair, pairs_of, sha256_of
from kerazoo.files.table import annotation_of
from kerazoo.inference.bundle import recipe_of_bundle
from kerazoo.inference.load import load_predictor
from kerazoo.inference.prompted import PromptedPredictor
from kerazoo.inference.without_network import is_without_network
from kerazoo.models.recipe import Recipe
from kerazoo.runs.run import Run
from kerazoo.runs.trained import find_run


def evaluate(
    source: Run | str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    masks: str | os.PathLike[str] | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    table: str | os.PathLike[str] | None = None,
    axes: str | None = None,
    refine_with: Run | str | os.PathLike[str] | None = None,
    through: Sequence[str] = (),
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
    refine_with
        As for `kerazoo.predict`.
    through
        Programs, of `bmzpack.testing.programs.PROGRAMS`, whose results with a bundle are scored as well.
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
        that is not defined is None. ``warnings``: what was taken for granted of masks where no run says what they are.
        For a classifier see `kerazoo.evaluation.classification.class_summary`; patches are cut out of annotated images
        as in its training; for a run that answers prompts ``prompts``, see
        `kerazoo.evaluation.prompts.score_prompts`, and ``with_points``, the scores with the mode `points` of
        `kerazoo.predict`; ``through``, by program what `kerazoo.evaluation.through.score_through` returns: all that
        there is, but for ``task``, of bundles that end in labels; ``smaller_than_patch``: how many images were
        mirrored beyond their edges, as in prediction; ``without_patch``: of how many no patch has one class.

    Raises
    ------
    UserError
        No run or bundle, files that cannot be paired or read, no object in any mask, or ``json`` exists.
    """
    if json is not None and not overwrite and Path(json).exists():
        raise UserError(f"{json} exists already: choose another name with --json, or replace it with --overwrite.")
    given = {
        name: Path(value)
        for name, value in (("images", images), ("masks", masks), ("folder", folder), ("table", table))
        if value is not None
    }
    if not given:
        raise UserError("There is nothing to evaluate on: name images and masks, a folder of classes, or a table.")
    if not is_without_network(source):
        source = find_run(source) or source
    bundle = None if isinstance(source, Run) or is_without_network(source) else Path(source)
    if through and bundle is None:
        name = source.path if isinstance(source, Run) else source
        raise UserError(f"{name} is no bundle, which other programs need: leave --through out, or export it first.")
    if unknown := set(through) - set(PROGRAMS):
        raise UserError(f"{' and '.join(sorted(unknown))} cannot be scored: choose from {', '.join(PROGRAMS)}.")
    recipe, is_applicable = recipe_of_bundle(bundle) if through and bundle is not None else (None, True)
    predictor = load_predictor(source, refine_with=refine_with) if is_applicable else None
    recipe = recipe if predictor is None else predictor.recipe
    assert recipe is not None
    data, warnings = _data_of(source, recipe, given, axes)
    pairs = pairs_of(data)
    scoring = SCORING[recipe.task]
    result: dict[str, Any] = {"task": recipe.task}
    if predictor is not None:
        result = scoring.score(predictor, _shown(pairs, progress), data, str(masks or table))
    if bundle is not None and through:
        result["through"] = _through(
            through,
            lambda program: score_through(program, bundle, _shown(pairs, progress), data, recipe, str(masks or table)),
        )
    if isinstance(source, Run) and predictor is not None and predictor.family.answers_prompts and refine_with is None:
        prompted = PromptedPredictor(source)
        result["prompts"] = score_prompts(prompted, _shown(pairs, progress), data)
        if prompted.asked.window is not None:
            by_points = load_predictor(source, mode="points")
            scored = scoring.score(by_points, _shown(pairs, progress), data, str(masks or table))
            result["with_points"] = scored["scores"]
    if warnings:
        result["warnings"] = list(warnings)
    result["trained_on"] = _trained_on(source, pairs) if isinstance(source, Run) else None
    if json is not None:
        with new_file(json, overwrite=overwrite) as path:
            path.write_text(json_module.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _through(programs: Sequence[str], score: Callable[[str], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Results by program; of one among several that cannot use the bundle the reason."""
    found: dict[str, dict[str, Any]] = {}
    for program in programs:
        try:
            found[program] = score(program)
        except UserError as error:
            if len(programs) == 1:
                raise
            found[program] = {"error": str(error)}
    return found


def remarks(result: dict[str, Any]) -> list[str]:
    """What must be known to judge the scores, in sentences.

    Parameters
    ----------
    result
        As `evaluate` returns it.
    """
    trained, smaller, unused = (result.get(name) for name in ("trained_on", "smaller_than_patch", "without_patch"))
    sentences = [f"Warning: {warning}" for warning in result.get("warnings", ())]
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
    known = {entry.sha256.get("image") for entry in run.split.train} - {None}
    return sum(sha256_of(pair.image) in known for pair in pairs) if known else None


def _data_of(
    source: Run | str | os.PathLike[str], recipe: Recipe, given: dict[str, Path], axes: str | None
) -> tuple[DataConfig, tuple[str, ...]]:
    """How the annotated images are read: as those of the training, else as they look, with what speaks against that."""
    # a mask without objects may be the truth of one image, though not of all
    common: dict[str, Any] = {"images": None, "masks": None, "folder": None, "table": None, "empty_masks": True}
    common |= given | ({"axes": axes} if axes else {})
    if recipe.task == "classification":
        common["annotation"] = annotation_of(given)
    if isinstance(source, Run):
        return source.config.data.model_copy(update=common), ()
    if is_without_network(source):
        measured = survey(DataConfig(**common))
        if measured.annotation == "classes":
            raise UserError(f"{recipe.model} finds objects, but the masks are of classes: {measured.reason}.")
        data = DataConfig(channels=measured.channels, annotation=measured.annotation, **measured.settings, **common)
        return data, measured.warnings
    own = {
        "channels": recipe.channels,
        "annotation": recipe.annotation,
        "classes": recipe.classes if recipe.annotation in ("classes", "image") else [],
        "axes": recipe.axes,
        "ignore": recipe.ignore,
    }
    return DataConfig(**own | common), ()


def _shown(pairs: list[Any], progress: bool) -> Iterable[Any]:
    if not progress:
        return pairs
    from rich.progress import track

    return track(pairs, "evaluating", transient=True)
