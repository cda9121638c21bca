"""Scoring what another program makes of a bundle: its choice of weights, its tiles, its engine, its objects."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from skimage.measure import label

from bmzpack.bundle.contents import Contents, opened
from bmzpack.errors import UserError
from bmzpack.testing.programs import PROGRAMS, axes_of
from kerazoo.config import DataConfig
from kerazoo.data.rescale import rescaled
from kerazoo.evaluation.imagej import labels_by_macro
from kerazoo.evaluation.images import compared, load_truth
from kerazoo.files.pairs import Pair, Sample
from kerazoo.models.recipe import Recipe
from kerazoo.models.registry import decode, family_of_kind

TOGETHER = 8
"""So many images are given to an engine that is started once."""

LABELS = "the label image that the bundle ends in"
MACRO = "the macro {} of the bundle, in ImageJ"
CLASSES = "the class with the largest output"
AREAS = "connected areas above 0.5"
CHANNEL = "connected areas of the channel {}, where it is the largest"

Finish = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""From outputs (y, x, channel) to what is scored, int32 (y, x)."""


def score_through(
    program: str, bundle: Path, pairs: Iterable[Pair], data: DataConfig, recipe: Recipe, masks: str
) -> dict[str, Any]:
    """Score annotated images as another program would show them.

    Parameters
    ----------
    program
        A key of `bmzpack.testing.programs.PROGRAMS`.
    bundle
        A zip file, its unpacked folder, or the rdf.yaml in it.
    pairs, data
        The images, and how they are read.
    recipe
        That of the bundle.
    masks
        Where they are annotated, for messages.

    Returns
    -------
    dict
        As for `kerazoo.evaluation.images.summary`, and ``way``: what a user of the program does to see these results.

    Raises
    ------
    UserError
        The program cannot open the bundle or one of the images, its engine or ImageJ is not here, or no way leads from
        the bundle to objects.
    """
    with opened(bundle) as contents:
        way, finish = _way(program, contents, recipe)
        axes = axes_of(contents.rdf["inputs"][0])
        factor = recipe.scale.network / recipe.scale.images if recipe.scale else 1.0
        if recipe.scale:
            way = f"images rescaled by {factor:.2f}, and the result back; {way}"

        def predictions() -> Iterator[tuple[Sample, np.ndarray]]:
            for group in _groups(pairs):
                samples = [load_truth(pair, data, recipe) for pair in group]
                images = [rescaled(sample.image, factor) if recipe.scale else sample.image for sample in samples]
                outputs = PROGRAMS[program](contents, [_in_order(image, axes) for image in images])
                found = finish([_as_image(output, contents) for output in outputs])
                for sample, labels in zip(samples, found, strict=True):
                    yield sample, _resized(labels, sample.mask.shape) if recipe.scale else labels

        return {"way": way} | compared(predictions(), data, recipe, masks)


def _groups(pairs: Iterable[Pair]) -> Iterable[list[Pair]]:
    remaining = iter(pairs)
    return iter(lambda: list(itertools.islice(remaining, TOGETHER)), [])


def _way(program: str, contents: Contents, recipe: Recipe) -> tuple[str, Finish]:
    """What a user does, in words and as a function."""
    (output, *others) = contents.rdf["outputs"]
    if others:
        raise UserError(f"This bundle has {len(others) + 1} outputs, which are not scored.")
    names = next((axis.get("channel_names") for axis in output["axes"] if axis["type"] == "channel"), None)
    if names == ["objects"] or (names == ["labels"] and program == "qupath"):  # QuPath takes it for a probability
        return AREAS, _each(lambda image: _areas(image[..., 0] > 0.5))
    if names == ["labels"]:
        return LABELS, _each(lambda image: np.rint(image[..., 0]))
    if recipe.task == "semantic":
        return CLASSES, _each(lambda image: decode({"output": image}, recipe, image.shape))
    family = family_of_kind(recipe.targets)
    macro, channel = family.imagej_macro, family.object_channel
    if program == "fiji" and macro is not None and (contents.root / macro).is_file():
        text = (contents.root / macro).read_text(encoding="utf-8")
        return MACRO.format(macro), lambda outputs: labels_by_macro(text, outputs)
    if program in ("ilastik", "qupath") and names is not None and channel in names:
        number = names.index(channel)
        return CHANNEL.format(channel), _each(lambda image: _areas(image.argmax(-1) == number))
    raise UserError(
        f"Nothing of this bundle makes objects of its output in {program}: export it with --form labels, and score "
        "that."
    )


def _areas(mask: np.ndarray) -> np.ndarray:
    """Labels of the areas of a mask that are connected along its axes."""
    return np.asarray(label(mask, connectivity=1))


def _each(find: Callable[[np.ndarray], np.ndarray]) -> Finish:
    return lambda outputs: [find(image).astype(np.int32) for image in outputs]


def _resized(labels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A label image of another size, by its nearest pixels."""
    places = [(2 * np.arange(size) + 1) * old // (2 * size) for size, old in zip(shape, labels.shape, strict=True)]
    return labels[np.ix_(*places)]


def _in_order(image: np.ndarray, axes: Sequence[str]) -> np.ndarray:
    """An image (y, x, channel) in the order of an input's axes."""
    places = {"batch": 0, "y": 1, "x": 2, "channel": 3}
    if sorted(axes) != sorted(places):
        raise UserError(f"This bundle has the axes {', '.join(axes)}: only batch, y, x, channel can be scored.")
    return image[None].transpose([places[axis] for axis in axes])


def _as_image(outputs: dict[str, np.ndarray], contents: Contents) -> np.ndarray:
    """The only output as (y, x, channel)."""
    (output,), axes = outputs.values(), axes_of(contents.rdf["outputs"][0])
    return output.transpose([axes.index(name) for name in ("batch", "y", "x", "channel")])[0]
