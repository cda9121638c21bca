"""Scoring what another program makes of a bundle: its choice of weights, its tiles, its engine, its objects."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmzpack.bundle.contents import Contents, opened
from bmzpack.errors import UserError
from bmzpack.testing.fiji import axes_of, outputs_in_fiji
from kerazoo.config import DataConfig
from kerazoo.evaluation.imagej import labels_by_macro
from kerazoo.evaluation.images import compared, load_truth
from kerazoo.files.pairs import Pair, Sample
from kerazoo.models.recipe import Recipe
from kerazoo.models.registry import decode, family_of_kind

TOGETHER = 8
"""So many images are given to an engine that is started once."""

GRAPH = "the label image that the graph ends in"
MACRO = "the macro {} of the bundle, in ImageJ"
CLASSES = "the class with the largest output"


def score_in_fiji(bundle: Path, pairs: Iterable[Pair], data: DataConfig, recipe: Recipe, masks: str) -> dict[str, Any]:
    """Score annotated images as deepImageJ would show them.

    Parameters
    ----------
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
        As for `kerazoo.evaluation.images.summary`, and ``way``: what a user of Fiji does to see these results.

    Raises
    ------
    UserError
        Fiji cannot open the bundle or one of the images, its engine or ImageJ is not here, or no way leads from
        the bundle to objects.
    """
    with opened(bundle) as contents:
        way, finish = _way(contents, recipe)
        axes = axes_of(contents.rdf["inputs"][0])

        def predictions() -> Iterator[tuple[Sample, np.ndarray]]:
            for group in _groups(pairs):
                samples = [load_truth(pair, data, recipe) for pair in group]
                outputs = outputs_in_fiji(contents, [_in_order(sample.image, axes) for sample in samples])
                yield from zip(samples, finish([_as_image(output, contents) for output in outputs]), strict=True)

        return {"way": way} | compared(predictions(), data, recipe, masks)


def _groups(pairs: Iterable[Pair]) -> Iterable[list[Pair]]:
    remaining = iter(pairs)
    return iter(lambda: list(itertools.islice(remaining, TOGETHER)), [])


def _way(contents: Contents, recipe: Recipe) -> tuple[str, Callable[[Sequence[np.ndarray]], list[np.ndarray]]]:
    """From outputs (y, x, channel) to what is scored, in words and as a function."""
    (output, *others) = contents.rdf["outputs"]
    if others:
        raise UserError(f"This bundle has {len(others) + 1} outputs, which are not scored.")
    names = next((axis.get("channel_names") for axis in output["axes"] if axis["type"] == "channel"), None)
    if names == ["labels"]:
        return GRAPH, lambda outputs: [np.rint(image[..., 0]).astype(np.int32) for image in outputs]
    if recipe.task == "semantic":
        return CLASSES, lambda outputs: [decode({"output": image}, recipe, image.shape) for image in outputs]
    name = family_of_kind(recipe.targets).imagej_macro
    if name is not None and (contents.root / name).is_file():
        text = (contents.root / name).read_text(encoding="utf-8")
        return MACRO.format(name), lambda outputs: labels_by_macro(text, outputs)
    raise UserError(
        "Nothing of this bundle makes objects of its output in Fiji: export it with --form labels, and score that."
    )


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


PROGRAMS = {"fiji": score_in_fiji}
"""Programs whose results can be scored."""
