"""Classifying image files: a table of all images, and a map of every image that is larger than a patch.

`predictions.csv` has one row per image, or per plane of a stack: `file`, its name, or its path where several images
have one name, `plane` (0 for a single one), `class`, the most probable one, and one column per class with the mean of
what the network gives for the patches of the image. With maps comes `classes.csv`, which class each of their values is;
the maps hold names and colours themselves as well.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bmzpack.files import cell, new_file, refuse_existing
from kerazoo.files.legend import LEGEND, write_legend
from kerazoo.files.read import Stack
from kerazoo.files.write import create_tiff, label_dtype
from kerazoo.inference.image_files import ImageFile
from kerazoo.inference.image_results import refuse_paths, result_paths
from kerazoo.inference.patch_predictor import PatchPredictor

TABLE = "predictions.csv"


class ClassResults:
    """The files for a prediction of one class per patch.

    Parameters
    ----------
    classifier
        What is applied.
    images, output, probabilities, overwrite
        As for `kerazoo.inference.image_results.ImageResults`. Maps are written for images with room for more than one
        patch: uint16 (plane, row, column), with the pixel size of the patches' distance.
    stride
        Distance of the map's patches in pixels, by default their size.
    """

    def __init__(
        self,
        classifier: PatchPredictor,
        images: Sequence[ImageFile],
        output: Path,
        probabilities: bool,
        overwrite: bool,
        stride: int | None,
    ) -> None:
        self._classifier, self._images = classifier, images
        self._overwrite, self._stride = overwrite, stride
        self.paths = result_paths(images, output, probabilities)
        self._table, self._legend = output / TABLE, output / LEGEND
        refuse_existing(self._table, overwrite)

    def check(self, stacks: Sequence[Stack]) -> None:
        """As for `kerazoo.inference.image_results.ImageResults`."""
        mapped = [has_map(self._classifier, stack) for stack in stacks]
        if any(mapped):
            refuse_existing(self._legend, self._overwrite)
        paths = [image.path for image in self._images]
        files = itertools.compress(zip(paths, self.paths, strict=True), mapped)
        refuse_paths(paths, list(files), self._overwrite)

    def write(self, stacks: Sequence[Stack], planes: Iterator[None]) -> list[Path]:
        """As for `kerazoo.inference.image_results.ImageResults`; the table is the first file."""
        written = [self._table]
        several = len({stack.path.name for stack in stacks}) < len(stacks)
        with new_file(self._table, self._overwrite) as path, path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["file", "plane", "class", *map(cell, self._classifier.recipe.classes)])
            for stack, paths in zip(stacks, self.paths, strict=True):
                file_name = stack.path.as_posix() if several else stack.path.name
                with contextlib.ExitStack() as files:
                    maps = None
                    if has_map(self._classifier, stack):
                        maps = _Maps(self._classifier, stack, paths, self._stride, self._overwrite, files)
                    indices = np.ndindex(stack.leading_shape)
                    for number, (index, plane) in enumerate(zip(indices, stack.planes(), strict=True)):
                        scores = self._classifier.whole(plane)
                        name = self._classifier.recipe.classes[int(scores.argmax())]
                        rows.writerow([cell(file_name), number, cell(name), *(f"{score:.6g}" for score in scores)])
                        if maps is not None:
                            maps.write(index, plane)
                        next(planes)
                    if maps is not None:
                        maps.close()
                        written += paths
        if len(written) > 1:
            write_legend(self._legend, self._classifier.recipe.classes, self._overwrite)
            written.append(self._legend)
        return written


def has_map(classifier: PatchPredictor, stack: Stack) -> bool:
    """Whether an image is larger than a patch."""
    return max(stack.plane_shape[:2]) > classifier.patch.size


class _Maps:
    """The maps of a stack, written plane by plane."""

    def __init__(
        self,
        classifier: PatchPredictor,
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
