"""Images and their annotations: named by a configuration, and loaded with every check that concerns files.

An image that has one class as a whole is treated as one whose pixels all have this class.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from bmzpack.errors import UserError
from kerazoo.config import Config, DataConfig
from kerazoo.files.annotations.read import read_annotation
from kerazoo.files.folders import find_classes, find_pairs
from kerazoo.files.masks import connected_parts
from kerazoo.files.pair import Pair as Pair
from kerazoo.files.read import read_image
from kerazoo.files.table import read_table


@dataclasses.dataclass(frozen=True)
class Sample:
    """An image and its annotation, in memory."""

    id: str
    image: np.ndarray
    """(y, x, channel), the file's dtype."""
    mask: np.ndarray
    """(y, x), int32: an object's number, a class index, or 0 and 1; and the ignored value."""
    path: Path | None = None
    """The image's file, for messages."""
    factor: float = 1.0
    """By which image and mask have been rescaled."""


def pairs_of(data: DataConfig) -> list[Pair]:
    """The pairs that a configuration names, by table or by folders.

    Raises
    ------
    UserError
        As for `read_table`, `find_pairs` and `find_classes`, or the configuration names none or several of them.
    """
    image = data.annotation == "image"
    given = [name for name in ("images", "masks", "folder", "table") if getattr(data, name) is not None]
    if data.table is not None:
        if len(given) > 1:
            raise UserError(
                f"The configuration names both data.table and {' and '.join(f'data.{name}' for name in given[:-1])}: "
                "keep one of them."
            )
        return read_table(data.table, ("file", "class") if image else ("image", "mask"))
    if image:
        if data.folder is None or len(given) > 1:
            raise UserError(
                "Images with one class each (data.annotation image) are named by data.folder, a folder with one folder "
                f"per class, or by data.table, but the configuration has {_listed(given)}."
            )
        return find_classes(data.folder)
    if data.folder is not None:
        raise UserError(
            "data.folder is for images with one class each: set data.annotation to image, or name data.images and "
            "data.masks instead."
        )
    if data.images is None or data.masks is None:
        if len(given) == 1:
            missing = "masks" if data.masks is None else "images"
            raise UserError(
                f"The {missing} are missing: name their folder with --{missing} (data.{missing}); images that have one "
                "class each are named with --folder, a list of files with --table."
            )
        raise UserError(
            "No data are named: give --images and --masks, --folder with one folder per class, or --table "
            "(data.images, data.masks, data.folder, data.table)."
        )
    return find_pairs(data.images, data.masks)


def _listed(names: list[str]) -> str:
    return " and ".join(f"data.{name}" for name in names) or "neither"


def load_pair(pair: Pair, data: DataConfig) -> Sample:
    """Read an image with its annotation and check both.

    An image with a class of its own may be constant (the glass beside a tissue); its mask has this class everywhere.

    Parameters
    ----------
    pair
        The files.
    data
        How they are read.

    Returns
    -------
    Sample
        Image (y, x, channel) of the file's dtype and mask (y, x) int32.

    Raises
    ------
    UserError
        As for `kerazoo.files.read.read_image` and `kerazoo.files.annotations.read.read_annotation`, or: the image is
        constant, the mask has no object or (for classes) a value that is no class, or the image's class is not among
        the configuration's.
    """
    image = read_image(pair.image, channels=data.channels, **data.reading())
    if pair.category is not None:
        if pair.category not in data.classes:
            raise UserError(
                f"{pair.image} has the class {pair.category!r}, but data.classes are {', '.join(data.classes)}: "
                "correct one of them."
            )
        whole = np.broadcast_to(np.int32(data.classes.index(pair.category)), image.shape[:2])
        return Sample(pair.id, image, whole, pair.image)
    if image.min() == image.max():
        raise UserError(f"{pair.image} is constant (all pixels are {image.flat[0]}): export it again or remove it.")
    if pair.mask is None or data.annotation == "image":
        raise UserError(f"{pair.image} has no mask: add one or remove the image.")
    mask = read_annotation(pair.mask, data, pair.image.name, image.shape[:2])
    _check_values(pair.mask, mask, data)
    return Sample(pair.id, image, mask, pair.image)


def check_image(sample: Sample, config: Config, needed: int, margin: int = 0) -> None:
    """Refuse an image that is smaller than ``needed`` pixels, or has other channels than the configuration says.

    Raises
    ------
    UserError
        It is refused; the message tells the patch size that would do.
    """
    height, width, channels = sample.image.shape
    if min(height, width) < needed:
        size = f"{width} x {height} pixels"
        if sample.factor != 1:
            size += f" when its objects are brought to the network's diameter (by a factor of {sample.factor:.2g})"
        raise UserError(
            f"{sample.path or sample.id} is {size}, less than the patches of {needed} pixels: "
            f"set training.patch_size to at most {min(height, width) + 2 * margin}, or remove the image."
        )
    if channels != config.data.channels:
        raise UserError(
            f"{sample.path or sample.id} has {channels} channels, but data.channels is {config.data.channels}: "
            "convert the image or correct data.channels."
        )


def separated(sample: Sample, ignored: int | None) -> Sample:
    """A sample whose binary mask has become labels: its connected parts, by their sides; the ignored value stays."""
    kept = sample.mask == ignored
    labels = connected_parts((sample.mask > 0) & ~kept)
    labels[labels > 0] += max(ignored or 0, 0)
    labels[kept] = sample.mask[kept]
    return dataclasses.replace(sample, mask=labels)


def sha256_of(path: Path) -> str:
    """The hash by which a file is known again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_values(path: Path, mask: np.ndarray, data: DataConfig) -> None:
    used = mask if data.ignored is None else mask[mask != data.ignored]
    if used.size == 0:
        raise UserError(f"{path} is empty: all its pixels have the ignored value {data.ignore}; remove the pair.")
    low, high = int(used.min()), int(used.max())
    if low < 0:
        raise UserError(f"{path} has negative values (down to {low}): name one as data.ignore, or save it without.")
    if data.annotation == "classes":
        if high >= len(data.classes):
            raise UserError(
                f"{path} has the value {high}, but data.classes names {len(data.classes)} classes "
                f"(0 to {len(data.classes) - 1}): name all of them, or set data.ignore to {high}."
            )
    elif high == 0 and not data.empty_masks:
        raise UserError(
            f"{path} is empty: no pixel belongs to an object; annotate it or remove the pair, or set "
            "data.empty_masks to true if there is really nothing on the image."
        )
