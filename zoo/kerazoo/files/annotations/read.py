"""Annotations of every kind: which file is of which, and how each becomes a mask."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmzpack.errors import UserError
from kerazoo.config import DataConfig
from kerazoo.files.annotations.cellpose import read_seg
from kerazoo.files.annotations.coco import image_names, is_coco, read_coco
from kerazoo.files.annotations.geojson import read_geojson
from kerazoo.files.annotations.labelme import is_labelme, read_labelme
from kerazoo.files.annotations.regions import Objects, Region, drawn
from kerazoo.files.masks import interpreted, read_values
from kerazoo.files.pictures import decoding
from kerazoo.files.read import SUFFIXES

ANNOTATION_SUFFIXES = (".roi", ".zip", ".geojson", ".json", ".npy")
"""Suffixes of files that hold objects, not pixels: ImageJ, QuPath, COCO, LabelMe, Cellpose."""
MASK_SUFFIXES = (*SUFFIXES, *ANNOTATION_SUFFIXES)


def holds_objects(path: Path) -> bool:
    """Whether an annotation names single objects, instead of a value for every pixel: a file, or a folder of files."""
    return path.suffix.lower() in ANNOTATION_SUFFIXES or path.is_dir()


def read_objects(path: Path, image: str, shape: tuple[int, int]) -> Objects:
    """The objects of an image.

    Parameters
    ----------
    path
        A file of ImageJ (`.roi`, `.zip`), QuPath (`.geojson`), COCO or LabelMe (`.json`) or Cellpose (`_seg.npy`), or
        a folder with one picture per object.
    image
        The name of the image's file, without folder.
    shape
        Rows and columns of the image.

    Raises
    ------
    UserError
        The file is damaged, of no such kind, or fits the image in no way.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.name[0] != ".")
        return drawn([_region_of_picture(file, shape) for file in files], shape, path)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        labels = read_seg(path)
        if labels.shape != shape:
            raise sizes_differ(path, labels.shape, image, shape)
        values = np.unique(labels[labels > 0])
        numbered = np.where(labels > 0, np.searchsorted(values, labels) + 1, 0).astype(np.int32)
        return Objects(numbered, [None] * len(values))
    if suffix in (".roi", ".zip"):
        from kerazoo.files.annotations.imagej import read_rois

        return drawn(read_rois(path), shape, path)
    content = read_json(path)
    with decoding(path):
        return drawn(_regions(content, path, image), shape, path)


def read_annotation(path: Path, data: DataConfig, image: str, shape: tuple[int, int]) -> np.ndarray:
    """What was annotated on an image, whatever the file.

    Parameters
    ----------
    path
        A mask, or a file of objects, see `read_objects`.
    data
        What a mask means, see `kerazoo.files.masks.read_mask`. Of objects that have classes, ``data.annotation``
        `classes` makes a mask of ``data.classes``, of which the first is the background.
    image, shape
        As for `read_objects`.

    Returns
    -------
    np.ndarray
        Array (y, x), int32, see `kerazoo.files.masks.read_mask`.

    Raises
    ------
    UserError
        The annotation cannot be read, has another size than the image, or holds what ``data`` does not explain.
    """
    if not holds_objects(path):
        values = read_values(path, lossy=data.threshold is not None)
        if values.shape[:2] != shape:
            raise sizes_differ(path, values.shape, image, shape)
        return interpreted(values, data, path)
    objects = read_objects(path, image, shape)
    if data.annotation == "binary":
        return (objects.labels > 0).astype(np.int32)
    if data.annotation == "labels":
        return objects.labels
    for category in objects.categories:
        if category not in data.classes[1:]:
            named = "no class" if category is None else f"the class {category!r}"
            raise UserError(
                f"{path} has an object of {named}, but data.classes are {', '.join(data.classes) or 'not named'} (the "
                "first of them is the background): correct one of them, or take objects as they are, with --annotation "
                "labels (data.annotation)."
            )
    table = np.array([0, *(data.classes.index(str(category)) for category in objects.categories)], np.int32)
    return table[objects.labels]


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    with decoding(path):
        return _parsed(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _parsed(path: Path, changed: int) -> Any:
    """One file holds the objects of many images."""
    return json.loads(path.read_text(encoding="utf-8-sig"))


def names_in(path: Path) -> list[str] | None:
    """The names of the images of a COCO file; None for a file of another kind."""
    if path.suffix.lower() != ".json":
        return None
    content = read_json(path)
    with decoding(path):
        return image_names(content) if is_coco(content) else None


def sizes_differ(path: Path, found: Sequence[int], image: str, shape: tuple[int, int]) -> UserError:
    """What to say of a mask and an image of different size."""
    return UserError(
        f"{path} is {found[1]} x {found[0]} pixels, but its image {image} is {shape[1]} x {shape[0]}: export both at "
        "the same size."
    )


def _regions(content: Any, path: Path, image: str) -> list[Region]:
    if is_coco(content):
        return read_coco(content, image, path)
    if is_labelme(content):
        return read_labelme(content, path)
    if isinstance(content, list) or (isinstance(content, dict) and content.get("type", "").startswith("Feature")):
        return read_geojson(content, path)
    raise UserError(
        f"{path} is a JSON file, but not GeoJSON (QuPath), COCO or LabelMe: export the annotations as one of these."
    )


def _region_of_picture(path: Path, shape: tuple[int, int]) -> Region:
    values = read_values(path)
    if values.shape != shape:
        raise sizes_differ(path, values.shape, path.parent.name, shape)
    present = np.unique(values)
    if len(present) > 2 or present[0] != 0:
        raise UserError(
            f"{path} has the values {', '.join(map(str, present[:5]))}, but a picture of one object has 0 and one "
            "more: put the label images of several images into one folder, not into one for each."
        )
    return Region(pictures=[(values > 0, (0, 0))])
