"""Results of networks for pixels and objects: a label image or class map as TIFF for every image."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bmzpack.errors import UserError
from bmzpack.files import new_file, refuse_existing
from kerazoo.files.pair import stem_of
from kerazoo.files.read import Stack
from kerazoo.files.write import create_tiff, fill, label_dtype
from kerazoo.inference.load import Applicable


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
    overwrite
        Whether existing results may be replaced.
    """

    def __init__(
        self, predictor: Applicable, images: Sequence[Path], output: Path, probabilities: bool, overwrite: bool
    ) -> None:
        self._predictor, self._images, self._overwrite = predictor, images, overwrite
        self.paths = result_paths(images, output, probabilities)

    def check(self, stacks: Sequence[Stack]) -> None:
        """Refuse files that exist, or that two images would be written to.

        Raises
        ------
        UserError
            They are refused.
        """
        refuse_paths(self._images, list(zip(self._images, self.paths, strict=True)), self._overwrite)

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
            The files that were written.
        """
        for stack, (labels, *others) in zip(stacks, self.paths, strict=True):
            _predict_stack(self._predictor, stack, labels, others[0] if others else None, self._overwrite, planes)
        return list(itertools.chain(*self.paths))


def result_paths(images: Sequence[Path], output: Path, probabilities: bool) -> list[list[Path]]:
    """The files for every image."""
    suffixes = [".tif", "_probabilities.tif"] if probabilities else [".tif"]
    return [[output / (stem_of(image) + suffix) for suffix in suffixes] for image in images]


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
            next(planes)
        del kept, written
