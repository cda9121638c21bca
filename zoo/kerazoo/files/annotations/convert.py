"""Annotations of other programs as label images or class maps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bmzpack.errors import UserError
from bmzpack.files import new_file, refuse_existing
from kerazoo.files.annotations.read import holds_objects, read_objects
from kerazoo.files.annotations.regions import Objects
from kerazoo.files.folders import find_pairs
from kerazoo.files.legend import LEGEND, write_legend
from kerazoo.files.pair import Pair
from kerazoo.files.read import open_stack
from kerazoo.files.write import create_tiff, label_dtype


def convert_annotations(
    annotations: str | Path,
    output: str | Path,
    *,
    images: str | Path | None = None,
    classes: bool = False,
    overwrite: bool = False,
) -> Iterator[str]:
    """Write a TIFF file for every annotated image.

    Parameters
    ----------
    annotations
        A folder of files as `kerazoo.files.annotations.read.read_objects` reads them, or a COCO file.
    output
        The folder for the masks; it is made where it is missing.
    images
        The folder of the images, whose sizes are needed; by default that of the annotations.
    classes
        Whether to write a value for each class, from 1 on, and a table of them, instead of one for each object.
    overwrite
        Whether existing files may be replaced.

    Yields
    ------
    str
        A line for every file that is written: its path, and how many objects it holds.

    Raises
    ------
    UserError
        Images and annotations do not fit, an annotation is a mask already, a class is missing, or a file exists.
    """
    annotations, output = Path(annotations), Path(output)
    pairs = find_pairs(Path(images or (annotations.parent if annotations.is_file() else annotations)), annotations)
    targets = [output / f"{pair.id}.tif" for pair in pairs]
    for pair, target in zip(pairs, targets, strict=True):
        refuse_existing(target, overwrite)
        if pair.mask is None or not holds_objects(pair.mask):
            raise UserError(f"{pair.mask} is a mask already: kerazoo init takes it as it is.")
    names: list[str] = []
    if classes:
        refuse_existing(output / LEGEND, overwrite)
        categories = {name: pair for pair in pairs for name in _objects(pair).categories}
        if None in categories:
            raise UserError(f"{categories[None].mask} has objects without a class: name it, or leave --classes out.")
        names = ["background", *sorted(str(name) for name in categories)]
        write_legend(output / LEGEND, names, overwrite)
    for pair, target in zip(pairs, targets, strict=True):
        objects = _objects(pair)
        mask = objects.labels
        if classes:
            mask = np.array([0, *(names.index(str(name)) for name in objects.categories)])[mask]
        with new_file(target, overwrite) as path:
            dtype = label_dtype(int(mask.max()))
            create_tiff(path, "YX", mask.shape, dtype, open_stack(pair.image).pixel_size, None, names or None)[:] = mask
        hidden = f", the later one on top where they overlap ({objects.hidden} pixels)" if objects.hidden else ""
        yield f"{target}: {len(objects.categories)} objects{hidden}"


def _objects(pair: Pair) -> Objects:
    assert pair.mask is not None
    height, width, _ = open_stack(pair.image).plane_shape
    return read_objects(pair.mask, pair.image.name, (height, width))
