"""Images and their annotations: found by name, by folder or by table, and loaded with every check that concerns files.

An image that has one class as a whole is treated as one whose pixels all have this class.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from bmzpack.errors import UserError
from kerazoo.config import Config, DataConfig
from kerazoo.files.read import SUFFIXES, read_image, read_mask

MASK_ENDINGS = ("_cp_masks", "_masks", "_mask", "_labels", "_label", "_instances", "_seg", "_gt")
"""What a mask's stem may have more than its image's."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """An image file and its annotation file."""

    id: str
    """The image's stem; unique in its set."""
    image: Path
    mask: Path | None = None
    group: str | None = None
    """Images of one group stay on one side of the split."""
    columns: dict[str, str] = dataclasses.field(default_factory=dict, repr=False, compare=False)
    """All columns of the pair's row, where it comes from a table."""
    category: str | None = None
    """The class of the whole image, where it has one instead of a mask."""


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


def find_pairs(images: Path, masks: Path) -> list[Pair]:
    """Pair the files of two folders by stem.

    A mask has its image's stem, alone or followed by one of `MASK_ENDINGS`; the suffixes may differ. Both folders
    may be the same one; then every mask needs such an ending.

    Parameters
    ----------
    images, masks
        The folders; files that are neither TIFF, PNG nor JPEG are passed over.

    Returns
    -------
    list of Pair
        Sorted by id.

    Raises
    ------
    UserError
        A folder is missing or empty, an image has no mask or more than one, or a mask has no image.
    """
    image_files, mask_files = _files(images, "images"), _files(masks, "masks")
    if images.resolve() == masks.resolve():
        image_files = [path for path in image_files if not stem_of(path).endswith(MASK_ENDINGS)]
        mask_files = [path for path in mask_files if stem_of(path).endswith(MASK_ENDINGS)]
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for path in mask_files:
        by_stem[stem_of(path)].append(path)

    pairs: dict[str, Pair] = {}
    without_mask = []
    for image in image_files:
        stem = stem_of(image)
        if stem in pairs:
            raise UserError(f"{image} and {pairs[stem].image.name} have the same stem: remove or rename one of them.")
        found = [path for ending in ("", *MASK_ENDINGS) for path in by_stem.pop(stem + ending, [])]
        if len(found) > 1:
            names = " and ".join(path.name for path in found)
            raise UserError(f"{image} has {len(found)} masks in {masks}, {names}: remove or rename all but one.")
        if found:
            pairs[stem] = Pair(stem, image, found[0])
        else:
            without_mask.append(image)
    if without_mask:
        raise UserError(
            f"{without_mask[0]} has no mask in {masks}{_and_more(without_mask, 'images')}: "
            "give the mask the image's name, or move the image away."
        )
    without_image = [path for paths in by_stem.values() for path in paths]
    if without_image:
        raise UserError(
            f"{without_image[0]} has no image in {images}{_and_more(without_image, 'masks')}: "
            "give the mask the image's name, or move it away."
        )
    return sorted(pairs.values(), key=lambda pair: pair.id)


def find_classes(folder: Path) -> list[Pair]:
    """Images sorted into one folder per class.

    Parameters
    ----------
    folder
        Its folders are the classes; files in them that are neither TIFF, PNG nor JPEG, and folders whose names begin
        with a dot, are passed over.

    Returns
    -------
    list of Pair
        Sorted by id, which is `class/stem`.

    Raises
    ------
    UserError
        There is no such folder, it has no folders, one of them holds no images, or two images of one class have the
        same stem.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}: name the one that holds one folder of images per class.")
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    if not classes:
        raise UserError(f"{folder} holds no folders: make one per class, and put the images of the class into it.")
    pairs: dict[str, Pair] = {}
    for place in classes:
        for path in _files(place, "images"):
            name = f"{place.name}/{stem_of(path)}"
            if name in pairs:
                raise UserError(
                    f"{path} and {pairs[name].image.name} have the same stem: remove or rename one of them."
                )
            pairs[name] = Pair(name, path, category=place.name)
    return [pairs[name] for name in sorted(pairs)]


def read_table(table: Path, columns: tuple[str, str] = ("image", "mask")) -> list[Pair]:
    """Pairs of a CSV file.

    Cells may be separated by commas, semicolons (as Excel writes them in many countries) or tabs, and be quoted; spaces
    around them do not count.

    Parameters
    ----------
    table
        The file; relative paths in it are taken from its folder.
    columns
        `image` and `mask`, or `file` and `class`; a column `group` may be there too.

    Returns
    -------
    list of Pair
        In the table's order.

    Raises
    ------
    UserError
        The table or a file of it is missing, a column is missing or there twice, a line has more cells than the first
        one, or an image is named twice.
    """
    first, second = columns
    if not table.is_file():
        raise UserError(f"There is no table {table}: write a CSV file with the columns {first}, {second}.")
    (_, present), *rows = _cells(table) or [(1, [])]
    for column in columns:
        if column not in present:
            wanted = "file, class (one class per image)" if "class" in columns else "image, mask"
            other = " or, of images with one class each, file, class" if "mask" in columns else ""
            raise UserError(
                f"{table} has no column {column!r} (it has {', '.join(present) or 'none'}): name the columns "
                f"{wanted}{other} in its first line."
            )
        if present.count(column) > 1:
            raise UserError(f"{table} has {present.count(column)} columns {column!r}: rename all but one.")
    if not rows:
        raise UserError(f"{table} has no rows: add one line per image.")
    return list(_pairs_of_rows(table, columns, present, rows).values())


def _pairs_of_rows(
    table: Path, columns: tuple[str, str], present: list[str], rows: list[tuple[int, list[str]]]
) -> dict[str, Pair]:
    first = columns[0]
    for line, cells in rows:
        if len(cells) > len(present):
            raise UserError(
                f"{table}, line {line}: there are {len(cells)} cells, but the first line names {len(present)} columns; "
                "put names with a separator in them in quotes."
            )
    named = [(line, dict.fromkeys(present, "") | dict(zip(present, cells, strict=False))) for line, cells in rows]
    stems = [stem_of(Path(row[first])) for _, row in named]
    unique = len(set(stems)) == len(stems)
    pairs: dict[str, Pair] = {}
    for stem, (line, row) in zip(stems, named, strict=True):
        files = {}
        for column in columns:
            if not row[column]:
                raise UserError(f"{table}, line {line}: the column {column!r} is empty; fill it or remove the line.")
            if column != "class":
                files[column] = table.parent / row[column]
                if not files[column].is_file():
                    raise UserError(
                        f"{table}, line {line}: there is no file {files[column]}; correct or remove the line."
                    )
        name = stem if unique else row[first]
        if name in pairs:
            raise UserError(f"{table}, line {line}: {row[first]} is named twice; remove one of the lines.")
        category = row["class"] if "class" in columns else None
        pairs[name] = Pair(name, files[first], files.get("mask"), row.get("group") or None, row, category)
    return pairs


def _cells(table: Path) -> list[tuple[int, list[str]]]:
    """The lines of a CSV file that are not empty: their numbers and their cells, without spaces around them."""
    try:
        text = table.read_text(encoding="utf-8-sig")
        heading = text.lstrip().partition("\n")[0]
        # That which makes most of the first line; csv.Sniffer guesses at names with spaces and underscores too.
        separator = max(",;\t", key=lambda mark: len(next(csv.reader([heading], delimiter=mark), [])))
        reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table} is not a CSV file in UTF-8 ({error}): save it as one.") from error
    return [(line, cells) for line, cells in rows if any(cells)]


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
        raise UserError("The configuration names no data: set data.images and data.masks, or data.table.")
    return find_pairs(data.images, data.masks)


def annotation_of(places: Mapping[str, Path]) -> Literal["image", "classes"]:
    """Whether images have one class each (`image`), or masks (`classes`): by what is named, or by a table's columns.

    Parameters
    ----------
    places
        Of `images`, `masks`, `folder`, `table` those that are given.
    """
    if "folder" in places:
        return "image"
    if "table" in places and places["table"].is_file():
        columns = next(iter(_cells(places["table"])), (1, []))[1]
        return "image" if "class" in columns or ("file" in columns and "mask" not in columns) else "classes"
    return "classes"


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
        As for `read_image` and `read_mask`, or: the image is constant, the mask has another size, no object or
        (for classes) a value that is no class, or the image's class is not among the configuration's.
    """
    image = read_image(pair.image, axes=data.axes, channels=data.channels)
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
    mask = read_mask(pair.mask, data.annotation, ignore=data.ignore)
    if mask.shape != image.shape[:2]:
        raise UserError(
            f"{pair.mask} is {_size(mask)} pixels, but its image {pair.image.name} is {_size(image)}: "
            "export both at the same size."
        )
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
    _, parts = cv2.connectedComponents(((sample.mask > 0) & ~kept).astype(np.uint8), connectivity=4)
    labels = np.asarray(parts, np.int32)
    labels[labels > 0] += max(ignored or 0, 0)
    labels[kept] = sample.mask[kept]
    return dataclasses.replace(sample, mask=labels)


def stem_of(path: Path) -> str:
    """The name without suffix, and without the `.ome` before it."""
    return path.stem.removesuffix(".ome")


def sha256_of(path: Path) -> str:
    """The hash by which a file is known again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_values(path: Path, mask: np.ndarray, data: DataConfig) -> None:
    used = mask if data.ignore is None else mask[mask != data.ignore]
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


def _files(folder: Path, what: str) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}: state where the {what} are.")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
    if not files:
        raise UserError(f"{folder} holds no {what}: it needs files ending in {', '.join(SUFFIXES)}.")
    return files


def _and_more(paths: Iterable[Path], what: str) -> str:
    further = len(list(paths)) - 1
    return f" (nor have {further} more {what})" if further else ""


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"
