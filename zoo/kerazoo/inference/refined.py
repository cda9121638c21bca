"""Better objects by prompts: masks for the boxes of another network's objects, or for points that a network finds."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from bmzpack.errors import UserError
from kerazoo.files.prompts import Prompts
from kerazoo.inference.blocks import CONTEXT
from kerazoo.inference.predictor import Predictor
from kerazoo.inference.prompted import PromptedPredictor, draw
from kerazoo.runs.run import Run

if TYPE_CHECKING:
    from kerazoo.inference.load import Applicable

PROMPT_BLOCK = 1024
"""Side in pixels of the blocks of large images whose embedding is computed at once, with their surroundings."""


class PointPredictor(Predictor):
    """A network that finds all objects and answers prompts: points in what it finds, then the masks of these points.

    Parameters
    ----------
    source
        A run, or its folder.
    tile
        As for `Predictor`.

    Raises
    ------
    UserError
        There is no such run, its network does not answer prompts, or it sees images whole.
    """

    def __init__(self, source: Run | str | os.PathLike[str], *, tile: int | None = None) -> None:
        self._prompted = PromptedPredictor(source, "--mode points")
        if self._prompted.asked.window is None:
            raise UserError(f"{source} brings images to one size, which --mode points does not do yet: leave it out.")
        super().__init__(self._prompted.network, self._prompted.recipe, tile=tile)

    @property
    def block(self) -> int:
        """Side in pixels of the blocks of large images."""
        return PROMPT_BLOCK

    def result(self, image: np.ndarray, probabilities: np.ndarray | None = None) -> np.ndarray:
        """See `Predictor.result`."""
        outputs = self.outputs_of(image, probabilities)

        def objects(rows: slice, columns: slice) -> np.ndarray:
            embedding = self._prompted.embed(image, rows, columns)
            return self.family.objects_of_points(
                self._prompted.asked, embedding, outputs.part(rows, columns), self.recipe
            )

        return outputs.in_blocks(objects)


class RefinedPredictor:
    """Objects of any source, with the masks that a network gives for their boxes.

    Parameters
    ----------
    predictor
        Finds the objects.
    source
        A run that answers prompts, or its folder.

    Raises
    ------
    UserError
        There is no such run, its network does not answer prompts, or it takes other images than the predictor; or the
        predictor finds no objects.
    """

    def __init__(self, predictor: Applicable, source: Run | str | os.PathLike[str]) -> None:
        self._predictor, self._prompted = predictor, PromptedPredictor(source, "--refine-with")
        self.recipe, self.family = predictor.recipe, predictor.family
        self.channels = self._prompted.recipe.channels
        if self.recipe.task != "instances":
            raise UserError(f"{self.recipe.model} finds no single objects to be refined: leave --refine-with out.")
        if predictor.channels not in (None, self.channels):
            raise UserError(
                f"{source} takes images of {self.channels} channels, {self.recipe.model} of {predictor.channels}: "
                "refine with a run for the same images."
            )

    def check(self, shape: tuple[int, ...]) -> None:
        """See `Predictor.check`."""
        self._predictor.check(shape)

    def result(self, image: np.ndarray, probabilities: np.ndarray | None = None) -> np.ndarray:
        """The label image, int32 (y, x): every object has the number that it had, see `refined`."""
        labels = self._predictor.result(image, probabilities)
        return refined(labels, self._prompted, image)


def refined(labels: np.ndarray, prompted: PromptedPredictor, image: np.ndarray) -> np.ndarray:
    """A label image with the masks that a network gives for the boxes of its objects.

    Every object keeps its number. A pixel of several masks goes to the one with the best predicted score. An object
    keeps its own pixels, as far as no mask covers them, where its mask is empty or where it is larger than what the
    network sees for a prompt.

    Parameters
    ----------
    labels
        int32 (y, x).
    prompted
        The network of a run that answers prompts.
    image
        Raw image (y, x, channel).

    Returns
    -------
    numpy.ndarray
        int32 (y, x).
    """
    places = ndimage.find_objects(labels)
    result = np.zeros_like(labels)
    scores = np.full(labels.shape, -np.inf, np.float32)
    found = set()
    for rows, columns, members in _blocks(places, labels.shape, prompted.window):
        boxes = [_box(places[number], rows.start, columns.start) for number in members]
        masks = prompted.masks(prompted.embed(image, rows, columns), Prompts(boxes=np.array(boxes, np.float32)))
        for number, (mask,) in zip(members, masks, strict=True):
            if draw(mask, number + 1, result[rows, columns], scores[rows, columns]):
                found.add(number + 1)
    kept = ~np.isin(labels, [0, *found]) & (result == 0)
    result[kept] = labels[kept]
    return result


def _blocks(places: list[Any], shape: tuple[int, int], window: int | None) -> Iterator[tuple[slice, slice, list[int]]]:
    """Parts of the image, and the objects whose middle lies in the block within, which fit into a window."""
    middles = {
        number: tuple((along.start + along.stop) // 2 for along in place)
        for number, place in enumerate(places)
        if place is not None and (window is None or all(along.stop - along.start <= window for along in place))
    }
    for top, left in itertools.product(range(0, shape[0], PROMPT_BLOCK), range(0, shape[1], PROMPT_BLOCK)):
        members = [
            n for n, (y, x) in middles.items() if top <= y < top + PROMPT_BLOCK and left <= x < left + PROMPT_BLOCK
        ]
        if members:
            rows, columns = (
                slice(max(start - CONTEXT, 0), min(start + PROMPT_BLOCK + CONTEXT, side))
                for start, side in zip((top, left), shape, strict=True)
            )
            yield rows, columns, members


def _box(place: tuple[slice, slice], top: int, left: int) -> tuple[int, int, int, int]:
    """x and y of the first and of the last pixel."""
    y, x = place
    return x.start - left, y.start - top, x.stop - 1 - left, y.stop - 1 - top
