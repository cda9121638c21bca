"""Predicting image files: label images or class maps as TIFF files that Fiji opens."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from bmzpack.errors import UserError
from kerazoo.files.read import Stack, open_stack
from kerazoo.inference.class_results import ClassResults
from kerazoo.inference.image_results import ImageResults
from kerazoo.inference.load import load_predictor
from kerazoo.runs.run import Run


def predict(
    source: Run | str | os.PathLike[str],
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    probabilities: bool = False,
    tile: int | None = None,
    stride: int | None = None,
    diameter: float | None = None,
    mode: str | None = None,
    refine_with: Run | str | os.PathLike[str] | None = None,
    points: str | os.PathLike[str] | None = None,
    boxes: str | os.PathLike[str] | None = None,
    axes: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> list[Path]:
    """Predict image files with a trained network, or with what needs no training.

    Every image gives a TIFF file of the same name in the output folder: labels, class indices or a mask, as uint16, or
    as float32 where there are more than 65,535 objects (ImageJ has no larger integers; exact to 16,777,216). Stacks
    are predicted plane by plane, each plane with labels of its own; axes, pixel size, slice distance and frame
    interval are kept. An 8192 x 8192 image takes less than 2 GB beside the network's weights.

    A classifier of patches gives one table for all images, see `kerazoo.inference.class_results`, and a class map with
    one pixel per patch for every image that is larger than a patch.

    Parameters
    ----------
    source
        A run, its folder, a bundle, or `classical2d`.
    images
        TIFF, PNG or JPEG files, or one such file.
    output
        The folder for the results; it is made where it is missing.
    probabilities
        Whether to write ``NAME_probabilities.tif`` too, float32, one channel per class.
    tile
        Largest side of the tiles in pixels; by default as large as the memory allows. The result does not depend on
        it, unless the network sees the whole image (global pooling).
    stride
        Of a classifier's map: distance of the patches in pixels, by default their size.
    diameter
        Of networks to which images are rescaled: median diameter in pixels of the objects on these images, by default
        as on the training images.
    mode
        Of networks that answer prompts: `points` asks for the objects by points in what the network finds without; see
        `kerazoo.inference.refined.PointPredictor`.
    refine_with
        A run that answers prompts: it gives the masks for the boxes of the objects that are found, see
        `kerazoo.inference.refined.refined`.
    points, boxes
        Of networks that answer prompts: tables of prompts for the objects of one image, see
        `kerazoo.files.prompts.read_prompts`. Then only these objects are found, and `kerazoo.inference.prompted` tells
        what is written.
    axes
        The axes of the image files, such as ``CYX``, where their metadata do not state them.
    overwrite
        Whether existing results may be replaced.
    progress
        Whether to show a progress bar on the terminal.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    UserError
        Before anything is computed: no run or bundle; an image that is missing, damaged, ambiguous in its axes, not of
        the network's number of channels, or with NaN or infinite pixels; two images of one name; results that exist
        or would replace an image; a tile too small for the network, or an image that would be rescaled beyond measure;
        an option that is not of the source's task.
    """
    output = Path(output)
    images = [Path(image) for image in ([images] if isinstance(images, str | os.PathLike) else images)]
    if not images:
        raise UserError("There are no images to predict: name at least one file.")
    if points is not None or boxes is not None:
        if mode is not None or refine_with is not None:
            raise UserError("Points and boxes name the objects that are found: leave --mode and --refine-with out.")
        return _predict_prompted(source, images, output, points, boxes, axes, overwrite)
    predictor = load_predictor(source, tile=tile, diameter=diameter, mode=mode, refine_with=refine_with)
    classifies = predictor.recipe.task == "classification"
    if stride is not None and not (classifies and stride > 0):
        raise UserError("The stride is a distance in pixels of the patches of a classifier: leave --stride out.")
    if probabilities and not predictor.family.shows_probabilities:
        raise UserError(f"{source} gives no probabilities: leave --probabilities out.")
    if classifies:
        results = ClassResults(predictor, images, output, probabilities, overwrite, stride)
    else:
        results = ImageResults(predictor, images, output, probabilities, overwrite)
    stacks = [open_stack(image, axes, predictor.channels) for image in images]
    results.check(stacks)
    for stack in stacks:
        predictor.check(stack.plane_shape)
        if stack.dtype.kind == "f":
            for _ in stack.planes():
                pass

    made = not output.exists()
    try:
        with _shown(stacks, progress) as planes:
            return results.write(stacks, planes)
    finally:
        if made and output.is_dir() and not any(output.iterdir()):
            output.rmdir()


def _predict_prompted(
    source: Run | str | os.PathLike[str],
    images: list[Path],
    output: Path,
    points: str | os.PathLike[str] | None,
    boxes: str | os.PathLike[str] | None,
    axes: str | None,
    overwrite: bool,
) -> list[Path]:
    from kerazoo.inference.prompted import PromptedPredictor, predict_prompted

    if len(images) > 1:
        raise UserError(f"Prompts are for one image, but there are {len(images)}: predict them one by one.")
    predictor = PromptedPredictor(source)
    stack = open_stack(images[0], axes, predictor.recipe.channels)
    return predict_prompted(predictor, images[0], stack, output, points, boxes, overwrite)


@contextlib.contextmanager
def _shown(stacks: list[Stack], progress: bool) -> Iterator[Iterator[None]]:
    """An iterator to be advanced after every plane, which moves a progress bar."""
    if not progress:
        yield itertools.repeat(None)
        return
    from rich.progress import track

    count = sum(int(np.prod(stack.leading_shape)) for stack in stacks)
    yield (None for _ in track(range(count), "predicting", transient=True))
