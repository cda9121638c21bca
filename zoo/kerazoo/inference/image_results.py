"""Results of networks for pixels and objects: a label image or class map for every image, and what is drawn from it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import PIL.Image

from bmzpack.errors import UserError
from bmzpack.files import new_file, refuse_existing
from kerazoo.files.read import Stack
from kerazoo.files.write import create_tiff, fill, label_dtype
from kerazoo.inference.image_files import ImageFile
from kerazoo.inference.load import Applicable
from kerazoo.inference.object_files import TABLE, ObjectFiles, ObjectTable, check_overlay
from kerazoo.inference.overlay import overlay

Found = Callable[[int, np.ndarray, np.ndarray], None]
"""Called with number, pixels (y, x, channel) and result (y, x) of every plane."""


class ImageResults:
    """The files for a prediction of images.

    Parameters
    ----------
    predictor
        What is applied.
    images
        The files to be predicted.
    output
        The folder for the results.
    probabilities
        Whether the network's outputs are written too.
    extras
        Which further files are written: of `rois`, `geojson`, `overlay`.
    overwrite
        Whether existing results may be replaced.
    show
        Called with a line about every image.

    Raises
    ------
    UserError
        The table exists, or there are no objects of which ROIs or GeoJSON could be made.
    """

    def __init__(
        self,
        predictor: Applicable,
        images: Sequence[ImageFile],
        output: Path,
        probabilities: bool,
        extras: Sequence[str],
        overwrite: bool,
        show: Callable[[str], None],
    ) -> None:
        self._predictor, self._images, self._overwrite, self._show = predictor, images, overwrite, show
        self._objects, self._extras = predictor.recipe.task == "instances", extras
        if not self._objects and (outlines := set(extras) - {"overlay"}):
            raise UserError(
                f"{predictor.recipe.model} finds no single objects here: leave --{' and --'.join(sorted(outlines))} "
                "out."
            )
        self._table = output / TABLE
        if self._objects:
            refuse_existing(self._table, overwrite)
        self._endings = {"rois": "_rois.zip", "geojson": ".geojson", "overlay": "_overlay.png"}
        self.paths = result_paths(images, output, probabilities, [self._endings[name] for name in extras])

    def check(self, stacks: Sequence[Stack]) -> None:
        """Refuse files that exist, or that two images would be written to.

        Raises
        ------
        UserError
            They are refused, or a stack should become one picture.
        """
        if "overlay" in self._extras:
            check_overlay(stacks)
        paths = [image.path for image in self._images]
        refuse_paths(paths, list(zip(paths, self.paths, strict=True)), self._overwrite)

    def write(self, stacks: Sequence[Stack], planes: Iterator[None]) -> list[Path]:
        """Predict all images.

        Parameters
        ----------
        stacks
            The opened images.
        planes
            Advanced after every plane.

        Returns
        -------
        list of Path
            The files that were written, the table last.
        """
        written = list(itertools.chain(*self.paths))
        with contextlib.ExitStack() as files:
            table = None
            if self._objects:
                channels = max(stack.plane_shape[2] for stack in stacks)
                names = self._predictor.recipe.channel_names
                if len(names) != channels:
                    names = [f"channel{number}" for number in range(channels)]
                table = ObjectTable(files.enter_context(new_file(self._table, self._overwrite)), names, files)
                written.append(self._table)
            for image, stack, paths in zip(self._images, stacks, self.paths, strict=True):
                self._write(image, stack, paths, table, planes)
        return written

    def _write(
        self, image: ImageFile, stack: Stack, paths: Sequence[Path], table: ObjectTable | None, planes: Iterator[None]
    ) -> None:
        by_ending = dict(zip(self._extras, paths[len(paths) - len(self._extras) :], strict=True))
        probabilities = paths[1] if len(paths) - len(self._extras) > 1 else None
        rois, geojson, picture = (by_ending.get(name) for name in self._endings)
        drawn = ObjectFiles(rois, geojson, picture, self._overwrite)
        areas: list[np.ndarray] = []

        def found(number: int, pixels: np.ndarray, labels: np.ndarray) -> None:
            if table is not None:
                name = (
                    image.path.name if image.name.parent == Path() else (image.name.parent / image.path.name).as_posix()
                )
                areas.append(table.add(name, number, pixels, labels, stack.pixel_size)["area"])
                drawn.add(stack, number, pixels, labels)
            elif "overlay" in by_ending:
                with new_file(by_ending["overlay"], self._overwrite) as path:
                    classes = max(2, len(self._predictor.recipe.named_classes or ()))
                    PIL.Image.fromarray(overlay(pixels, labels, classes)).save(path, compress_level=1)

        _predict_stack(self._predictor, stack, paths[0], probabilities, self._overwrite, planes, found)
        if table is not None:
            drawn.write()
            self._show(_summary(image.path.name, np.concatenate(areas), stack))


def result_paths(
    images: Sequence[ImageFile], output: Path, probabilities: bool, endings: Sequence[str] = ()
) -> list[list[Path]]:
    """The files for every image."""
    suffixes = [".tif", *(["_probabilities.tif"] if probabilities else []), *endings]
    return [[output / image.name.with_name(image.name.name + suffix) for suffix in suffixes] for image in images]


def _summary(name: str, areas: np.ndarray, stack: Stack) -> str:
    """A line about the objects of an image."""
    if not len(areas):
        return f"{name}: no objects"
    median = float(np.median(areas))
    text = f"{name}: {len(areas)} object{'s' * (len(areas) > 1)}, median area {median:g} pixels"
    if stack.pixel_size is not None:
        text += f" ({median * stack.pixel_size[0] * stack.pixel_size[1]:.4g} square micrometres)"
    return text


def refuse_paths(images: Sequence[Path], written: Sequence[tuple[Path, list[Path]]], overwrite: bool) -> None:
    """Refuse results that exist, that two images would be written to, or that would replace an image.

    Parameters
    ----------
    images
        All images to be predicted.
    written
        The images for which files are written, with these files.
    overwrite
        Whether existing results may be replaced.

    Raises
    ------
    UserError
        They are refused.
    """
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
    predictor: Applicable,
    stack: Stack,
    labels: Path,
    probabilities: Path | None,
    overwrite: bool,
    planes: Iterator[None],
    found: Found,
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
        for number, (index, plane) in enumerate(zip(np.ndindex(stack.leading_shape), stack.planes(), strict=True)):
            result = predictor.result(plane, *(() if kept is None else (kept[index],)))
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
                    predictor.recipe.named_classes,
                )
                if earlier is not None:
                    written[...] = earlier
            fill(written[index], result)
            found(number, plane, result)
            next(planes)
        del kept, written
