"""Asking a trained network for the objects of an image, by points, boxes or masks."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bmzpack.errors import UserError
from bmzpack.files import new_file, refuse_existing
from kerazoo.files.pair import stem_of
from kerazoo.files.prompts import Prompts, read_prompts
from kerazoo.files.read import Stack
from kerazoo.files.write import create_tiff, label_dtype
from kerazoo.inference.source import open_source
from kerazoo.models.exchange import Embedding, Mask
from kerazoo.models.registry import family_of_kind
from kerazoo.runs.run import Run


class PromptedPredictor:
    """A trained network that answers prompts, for raw images.

    Parameters
    ----------
    source
        A run, or its folder.
    options
        Options of the command line that ask for prompts, for messages.

    Raises
    ------
    UserError
        There is no such run, or its network does not answer prompts.
    """

    def __init__(self, source: Run | str | os.PathLike[str], options: str = "--points and --boxes") -> None:
        self.network, self.recipe = open_source(source)
        self.family = family_of_kind(self.recipe.targets)
        if not self.family.answers_prompts:
            raise UserError(f"{source} ({self.recipe.model}) does not answer prompts: leave {options} out.")
        self.asked = self.network.prompted()

    @property
    def window(self) -> int | None:
        """Side in pixels of the part of an image that is seen for a prompt; None for the whole image."""
        return self.asked.window

    def embed(self, image: np.ndarray, rows: slice = slice(None), columns: slice = slice(None)) -> Embedding:
        """The embedding of a raw image (y, x, channel) or of a part of it, computed once and asked as often as needed.

        Returns
        -------
        kerazoo.models.exchange.Embedding
            It can be saved and loaded.
        """
        offset, scale = self.recipe.normalisation.offset_and_scale(image)
        return self.asked.embed(image[rows, columns], offset, scale)

    def masks(self, embedding: Embedding, prompts: Prompts, *, several: bool = False) -> list[Sequence[Mask]]:
        """Masks of the objects that are asked for, see `kerazoo.models.exchange.Mask`; one each, or three."""
        found = self.asked.masks(embedding, prompts.points, prompts.labels, prompts.boxes, several=several)
        return list(found)


def label_image_of(masks: Sequence[Mask], shape: tuple[int, int]) -> np.ndarray:
    """A label image of masks: object n is n + 1, and where objects overlap the one with the better score is seen.

    Parameters
    ----------
    masks
        One per object.
    shape
        Height and width of the image.

    Returns
    -------
    numpy.ndarray
        int32 (y, x).
    """
    labels, scores = np.zeros(shape, np.int32), np.full(shape, -np.inf, np.float32)
    for number, mask in enumerate(masks, start=1):
        draw(mask, number, labels, scores)
    return labels


def draw(mask: Mask, label: int, labels: np.ndarray, scores: np.ndarray) -> bool:
    """Draw a mask where no better one is.

    Parameters
    ----------
    mask
        What is drawn.
    label
        Its number.
    labels, scores
        Label image, int32 (y, x), and the score of what is drawn, float32 (y, x), -inf where there is nothing.

    Returns
    -------
    bool
        Whether the mask has any pixel.
    """
    better = mask.inside & (mask.score >= scores[mask.rows, mask.columns])
    labels[mask.rows, mask.columns][better] = label
    scores[mask.rows, mask.columns][better] = mask.score
    return bool(mask.inside.any())


def predict_prompted(
    predictor: PromptedPredictor,
    image: Path,
    stack: Stack,
    output: Path,
    points: str | os.PathLike[str] | None,
    boxes: str | os.PathLike[str] | None,
    overwrite: bool,
) -> list[Path]:
    """Write the objects of one image that prompts ask for.

    Parameters
    ----------
    predictor
        The network of a run.
    image, stack
        The file, opened; one plane.
    output
        Folder for the label image `NAME.tif`, in which the objects have the numbers of their prompts, and the table
        `NAME_objects.csv` with their predicted scores and areas in pixels.
    points, boxes
        Tables, see `kerazoo.files.prompts.read_prompts`.
    overwrite
        Whether existing results may be replaced.

    Raises
    ------
    UserError
        The image has several planes, a table cannot be used, or a result exists.
    """
    if stack.leading_shape:
        raise UserError(f"{image} has several planes; prompts are for one: save the plane as a file of its own.")
    size = stack.pixel_size[1] if stack.pixel_size else None
    prompts = read_prompts(points, boxes, stack.plane_shape[:2], size)
    written = [output / (stem_of(image) + suffix) for suffix in (".tif", "_objects.csv")]
    for path in written:
        if path.resolve() == image.resolve():
            raise UserError(f"{path} is the image to be predicted: choose another output folder with -o.")
        refuse_existing(path, overwrite)
    (plane,) = stack.planes()
    masks = [found for (found,) in predictor.masks(predictor.embed(plane), prompts)]
    labels = label_image_of(masks, plane.shape[:2])
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["object", "score", "area"])
    rows.writerows(
        [number, f"{mask.score:.4f}", np.count_nonzero(mask.inside)] for number, mask in enumerate(masks, start=1)
    )
    with new_file(written[0], overwrite) as first, new_file(written[1], overwrite) as second:
        dtype = label_dtype(int(labels.max()))
        create_tiff(first, "YX", labels.shape, dtype, stack.pixel_size, stack.metadata)[...] = labels
        second.write_text(table.getvalue(), encoding="utf-8")
    return written
