"""Predicting image files: label images or class maps as TIFF files that Fiji opens."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmzpack.errors import UserError
from kerazoo.files.read import Stack, open_stack
from kerazoo.inference.class_results import ClassResults
from kerazoo.inference.image_files import image_files
from kerazoo.inference.image_results import ImageResults
from kerazoo.inference.load import load_predictor
from kerazoo.inference.options import ResultOptions
from kerazoo.inference.patch_predictor import PatchPredictor
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
    rois: bool = False,
    geojson: bool = False,
    overlay: bool = False,
    recursive: bool = False,
    axes: str | None = None,
    channel: Sequence[int] = (),
    series: int | None = None,
    fill: float | None = None,
    overwrite: bool = False,
    progress: bool = False,
    show: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Predict image files with a trained network, or with what needs no training.

    Every image gives a TIFF file of the same name in the output folder: labels, class indices or a mask, as uint16, or
    as float32 where there are more than 65,535 objects (ImageJ has no larger integers; exact to 16,777,216). Stacks
    are predicted plane by plane, each plane with labels of its own; axes, pixel size, slice distance and frame
    interval are kept. An 8192 x 8192 image takes less than 2 GB beside the network's weights.

    Where single objects are found, one table `objects.csv` tells of those of all images, see
    `kerazoo.inference.object_files`.

    A classifier of patches gives one table for all images, see `kerazoo.inference.class_results`, and a class map with
    one pixel per patch for every image that is larger than a patch.

    Parameters
    ----------
    source
        A run, its folder, a bundle, or `classical2d`.
    images
        TIFF, PNG, JPEG or BMP files, folders of them, patterns such as ``day1/*.tif``, or one of these.
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
    rois, geojson, overlay
        Whether to write ``NAME_rois.zip`` for ImageJ, ``NAME.geojson`` for QuPath, and ``NAME_overlay.png``, a picture
        of the image with the outlines of its objects or the colours of its classes.
    recursive
        Whether folders within folders are looked into; the results lie in folders of the same names.
    axes, channel, series, fill
        How the files are opened, see `kerazoo.files.read.open_stack`.
    overwrite
        Whether existing results may be replaced.
    progress
        Whether to show a progress bar on the terminal.
    show
        Called with a line about the objects of every image.

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
    given = [images] if isinstance(images, str | os.PathLike) else images
    options = ResultOptions(probabilities, stride, mode, refine_with, points, boxes, rois, geojson, overlay)
    options.check()
    reading = {"channel": channel, "series": series, "fill": fill}
    if options.has_prompts:
        return _predict_prompted(
            source, [Path(image) for image in given], output, points, boxes, axes, reading, overwrite
        )
    files = image_files(given, output, recursive=recursive)
    predictor = load_predictor(source, tile=tile, diameter=diameter, mode=mode, refine_with=refine_with)
    options.check_for(predictor, source)
    if isinstance(predictor, PatchPredictor):
        results = ClassResults(predictor, files, output, probabilities, overwrite, stride)
    else:
        results = ImageResults(predictor, files, output, probabilities, options.files_of_objects, overwrite, show)
    stacks = [open_stack(file.path, axes, predictor.channels, **reading) for file in files]
    results.check(stacks)
    for stack in stacks:
        predictor.check(stack.plane_shape)
        if stack.is_checked_by_reading:
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
    reading: dict[str, Any],
    overwrite: bool,
) -> list[Path]:
    from kerazoo.inference.prompted import PromptedPredictor, predict_prompted

    if len(images) > 1:
        raise UserError(f"Prompts are for one image, but there are {len(images)}: predict them one by one.")
    predictor = PromptedPredictor(source)
    stack = open_stack(images[0], axes, predictor.recipe.channels, **reading)
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
