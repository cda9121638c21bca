"""COCO: one JSON file that holds the objects of many images, as polygons or as run lengths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmzpack.errors import UserError
from kerazoo.files.annotations.regions import Region


def is_coco(content: Any) -> bool:
    """Whether a JSON file is of this kind."""
    return isinstance(content, dict) and "images" in content and "annotations" in content


def image_names(content: dict[str, Any]) -> list[str]:
    """The names of the images, without folders."""
    return [_name(image) for image in content["images"]]


def read_coco(content: dict[str, Any], image: str, path: Path) -> list[Region]:
    """The objects of one image.

    Parameters
    ----------
    content
        The file.
    image
        The name of the image's file, without folder.
    path
        The file, for messages.

    Raises
    ------
    UserError
        The image is not in the file, or a run length code does not fit its size.
    """
    found = [entry for entry in content["images"] if _name(entry) == image]
    if not found:
        raise UserError(f"{path} has no image of the name {image}: correct its `file_name`, or move the image away.")
    names = {category["id"]: category.get("name") for category in content.get("categories", [])}
    regions = []
    for annotation in content["annotations"]:
        if annotation["image_id"] != found[0]["id"] or not annotation.get("segmentation"):
            continue
        category, shape = names.get(annotation.get("category_id")), annotation["segmentation"]
        if isinstance(shape, dict):
            pixels = decode_run_lengths(shape["counts"], shape["size"], path)
            regions.append(Region(pictures=[(pixels, (0, 0))], category=category))
        else:
            regions.append(Region([[np.array(part, float).reshape(-1, 2)] for part in shape], category=category))
    return regions


def decode_run_lengths(counts: str | Sequence[int], size: Sequence[int], path: Path) -> np.ndarray:
    """The pixels of an object.

    Parameters
    ----------
    counts
        Lengths of runs of background and object by turns, along columns; or the same as the COCO tools compress it: in
        characters of five bits each, from the fourth number on as the difference to the last but one.
    size
        Rows and columns.
    path
        The file, for messages.

    Returns
    -------
    numpy.ndarray
        Bool (y, x).

    Raises
    ------
    UserError
        The lengths do not add up to the size.
    """
    lengths = _decompressed(counts) if isinstance(counts, str) else list(counts)
    if sum(lengths) != size[0] * size[1] or min(lengths, default=0) < 0:
        raise UserError(f"{path} has run lengths that do not add up to {size[1]} x {size[0]} pixels: export it again.")
    runs = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return runs.reshape(size[1], size[0]).T


def _decompressed(text: str) -> list[int]:
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    return lengths


def _name(image: dict[str, Any]) -> str:
    return str(image["file_name"]).replace("\\", "/").rsplit("/", 1)[-1]
