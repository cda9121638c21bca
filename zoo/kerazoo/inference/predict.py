"""Predicting image files: label images or class maps as TIFF files that Fiji opens."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from bmzpack.errors import UserError
from bmzpack.files import new_file, refuse_existing
from kerazoo.files.legend import LEGEND
from kerazoo.files.pairs import stem_of
from kerazoo.files.read import Stack, open_stack
from kerazoo.files.write import create_tiff, fill, label_dtype
from kerazoo.inference.classical import ClassicalPredictor
from kerazoo.inference.classifier import PatchClassifier
from kerazoo.inference.classify import TABLE, classify_stacks, has_map
from kerazoo.inference.load import load_predictor
from kerazoo.inference.objects import ObjectPredictor
from kerazoo.inference.predictor import Predictor
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
    axes: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> list[Path]:
    """Predict image files with a trained network, or with what needs no training.

    Every image gives a TIFF file of the same name in the output folder: labels, class indices or a mask, as uint16, or
    as float32 where there are more than 65,535 objects (ImageJ has no larger integers; exact to 16,777,216). Stacks
    are predicted plane by plane, each plane with labels of its own; axes, pixel size, slice distance and frame
    interval are kept. An 8192 x 8192 image takes less than 2 GB beside the network's weights.

    A classifier of patches gives one table for all images, see `kerazoo.inference.classify`, and a class map with one
    pixel per patch for every image that is larger than a patch.

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
    targets = _targets(images, output, probabilities)
    predictor = load_predictor(source, tile=tile, diameter=diameter)
    classifies = isinstance(predictor, PatchClassifier)
    if stride is not None and not (classifies and stride > 0):
        raise UserError("The stride is a distance in pixels of the patches of a classifier: leave --stride out.")
    if probabilities and isinstance(predictor, ClassicalPredictor | ObjectPredictor):
        raise UserError(f"{source} gives no probabilities: leave --probabilities out.")
    if classifies:
        refuse_existing(output / TABLE, overwrite)
    stacks = [open_stack(image, axes, predictor.channels) for image in images]
    mapped = [not isinstance(predictor, PatchClassifier) or has_map(predictor, stack) for stack in stacks]
    if classifies and any(mapped):
        refuse_existing(output / LEGEND, overwrite)
    _check_targets(images, list(itertools.compress(zip(images, targets, strict=True), mapped)), overwrite)
    for stack in stacks:
        if isinstance(predictor, Predictor):
            predictor.check(stack.plane_shape)
        if stack.dtype.kind == "f":
            for _ in stack.planes():
                pass

    made = not output.exists()
    try:
        with _shown(stacks, progress) as planes:
            if isinstance(predictor, PatchClassifier):
                return classify_stacks(predictor, stacks, targets, output / TABLE, stride, overwrite, planes)
            for stack, (labels, *others) in zip(stacks, targets, strict=True):
                _predict_stack(predictor, stack, labels, others[0] if others else None, overwrite, planes)
    finally:
        if made and output.is_dir() and not any(output.iterdir()):
            output.rmdir()
    return list(itertools.chain(*targets))


def _targets(images: list[Path], output: Path, probabilities: bool) -> list[list[Path]]:
    """The files for every image."""
    if not images:
        raise UserError("There are no images to predict: name at least one file.")
    suffixes = [".tif", "_probabilities.tif"] if probabilities else [".tif"]
    return [[output / (stem_of(image) + suffix) for suffix in suffixes] for image in images]


def _check_targets(images: list[Path], written: list[tuple[Path, list[Path]]], overwrite: bool) -> None:
    """Refuse files that exist, or that two images would be written to; of every image that any is written for."""
    sources = {image.resolve() for image in images}
    seen: dict[Path, Path] = {}
    for image, target in ((image, target) for image, files in written for target in files):
        if target in seen:
            raise UserError(f"{seen[target]} and {image} would both be written to {target}: predict them separately.")
        if target.resolve() in sources:
            raise UserError(f"{target} is an image to be predicted: choose another output folder with -o.")
        refuse_existing(target, overwrite)
        seen[target] = image


def _predict_stack(
    predictor: Predictor | ClassicalPredictor,
    stack: Stack,
    labels: Path,
    probabilities: Path | None,
    overwrite: bool,
    planes: Iterator[None],
) -> None:
    height, width, _ = stack.plane_shape
    leading = stack.axes[:-3]
    with contextlib.ExitStack() as files:
        kept = None
        if probabilities is not None:
            kept = create_tiff(
                files.enter_context(new_file(probabilities, overwrite)),
                leading + "YXC",
                (*stack.leading_shape, height, width, len(predictor.recipe.classes)),
                np.float32,
                stack.pixel_size,
                stack.metadata,
            )
        path = files.enter_context(new_file(labels, overwrite))
        written = None
        for index, plane in zip(np.ndindex(stack.leading_shape), stack.planes(), strict=True):
            more = () if kept is None else (kept[index],)
            result = predictor.result(plane, *more)
            dtype = label_dtype(int(result.max()))
            if written is None or np.result_type(written.dtype, dtype) != written.dtype:
                # The first plane, or the first with more objects than the file's type can count.
                earlier = None if written is None else np.array(written)
                written = None
                written = create_tiff(
                    path,
                    leading + "YX",
                    (*stack.leading_shape, height, width),
                    dtype,
                    stack.pixel_size,
                    stack.metadata,
                    predictor.recipe.classes if predictor.recipe.targets == "classes" else None,
                )
                if earlier is not None:
                    written[...] = earlier
            fill(written[index], result)
            next(planes)
        del kept, written


@contextlib.contextmanager
def _shown(stacks: list[Stack], progress: bool) -> Iterator[Iterator[None]]:
    """An iterator to be advanced after every plane, which moves a progress bar."""
    if not progress:
        yield itertools.repeat(None)
        return
    from rich.progress import track

    count = sum(int(np.prod(stack.leading_shape)) for stack in stacks)
    yield (None for _ in track(range(count), "predicting", transient=True))
