"""Classifying image files: a table of all images, and a map of every image that is larger than a patch.

`predictions.csv` has one row per image, or per plane of a stack: `file`, its name, or its path where several images
have one name, `plane` (0 for a single one), `class`, the most probable one, and one column per class with the mean of
what the network gives for the patches of the image. With maps comes `classes.csv`, which class each of their values is;
the maps hold names and colours themselves as well.
"""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bmzpack.files import new_file
from kerazoo.files.legend import LEGEND, write_legend
from kerazoo.files.read import Stack
from kerazoo.files.write import create_tiff, label_dtype
from kerazoo.inference.classifier import PatchClassifier

TABLE = "predictions.csv"


def classify_stacks(
    classifier: PatchClassifier,
    stacks: Sequence[Stack],
    targets: Sequence[Sequence[Path]],
    table: Path,
    stride: int | None,
    overwrite: bool,
    planes: Iterator[None],
) -> list[Path]:
    """Classify image files.

    Parameters
    ----------
    classifier
        The classifier.
    stacks
        The images.
    targets
        For each of them the file for the class map, and that for the network's output, if it is wanted. They are
        written for images with room for more than one patch: uint16 (plane, row, column), with the pixel size of the
        patches' distance.
    table
        The CSV file; the legend of the maps is written beside it.
    stride
        Distance of the map's patches in pixels, by default their size.
    overwrite
        Whether existing files may be replaced.
    planes
        Advanced after every plane.

    Returns
    -------
    list of Path
        The files that were written, the table first.
    """
    written, legend = [table], table.with_name(LEGEND)
    several = len({stack.path.name for stack in stacks}) < len(stacks)
    with new_file(table, overwrite) as path, path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "plane", "class", *classifier.recipe.classes])
        for stack, paths in zip(stacks, targets, strict=True):
            file_name = stack.path.as_posix() if several else stack.path.name
            with contextlib.ExitStack() as files:
                maps = None
                if has_map(classifier, stack):
                    maps = _Maps(classifier, stack, paths, stride, overwrite, files)
                indices = np.ndindex(stack.leading_shape)
                for number, (index, plane) in enumerate(zip(indices, stack.planes(), strict=True)):
                    scores = classifier.whole(plane)
                    name = classifier.recipe.classes[int(scores.argmax())]
                    rows.writerow([file_name, number, name, *(f"{score:.6g}" for score in scores)])
                    if maps is not None:
                        maps.write(index, plane)
                    next(planes)
                if maps is not None:
                    maps.close()
                    written += paths
    if len(written) > 1:
        write_legend(legend, classifier.recipe.classes, overwrite)
        written.append(legend)
    return written


def has_map(classifier: PatchClassifier, stack: Stack) -> bool:
    """Whether an image is larger than a patch."""
    return max(stack.plane_shape[:2]) > classifier.patch.size


class _Maps:
    """The maps of a stack, written plane by plane."""

    def __init__(
        self,
        classifier: PatchClassifier,
        stack: Stack,
        paths: Sequence[Path],
        stride: int | None,
        overwrite: bool,
        files: contextlib.ExitStack,
    ) -> None:
        self._classifier, self._stride = classifier, stride
        distance, size = stride or classifier.patch.size, classifier.patch.size
        shape = [-(-max(0, length - size) // distance) + 1 for length in stack.plane_shape[:2]]
        pixel_size = stack.pixel_size and (stack.pixel_size[0] * distance, stack.pixel_size[1] * distance)
        classes = classifier.recipe.classes
        kinds = [("YX", (), label_dtype(len(classes)), classes), ("YXC", (len(classes),), np.float32, None)]
        self._arrays = [
            create_tiff(
                files.enter_context(new_file(path, overwrite)),
                stack.axes[:-3] + axes,
                (*stack.leading_shape, *shape, *inner),
                dtype,
                pixel_size,
                stack.metadata,
                names,
            )
            for path, (axes, inner, dtype, names) in zip(paths, kinds, strict=False)
        ]

    def write(self, index: tuple[int, ...], plane: np.ndarray) -> None:
        """Write the maps of a plane."""
        output = self._classifier.map(plane, self._stride)
        for array, values in zip(self._arrays, (output.argmax(axis=2), output), strict=False):
            array[index] = values

    def close(self) -> None:
        """Complete the files."""
        self._arrays.clear()
