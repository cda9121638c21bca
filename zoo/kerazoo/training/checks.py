"""What training would go through with and nobody would notice: refused before it begins."""

from __future__ import annotations

from bmzpack.errors import UserError
from kerazoo.config import Config
from kerazoo.runs.records import SplitRecord


def check_ignored(config: Config) -> None:
    """Refuse an ignored mask value that is a class: the network would have an output that it never learns.

    Raises
    ------
    UserError
        ``data.ignore`` is the index of one of ``data.classes``.
    """
    data = config.data
    if data.annotation != "classes" or data.ignore is None or not 0 <= data.ignore < len(data.classes):
        return
    raise UserError(
        f"data.ignore is {data.ignore}, the value of the class {data.classes[data.ignore]!r}, which would be an output "
        "that is never learned: save the masks with 255 for what is not annotated and 0, 1, ... for the other classes, "
        "set data.ignore to 255, and take the name off data.classes."
    )


def check_normalisation(config: Config) -> None:
    """Refuse numbers of each image for images of one class: they are those of a patch there, of a slide in its map.

    Raises
    ------
    UserError
        Images have one class each, and ``normalisation`` measures every image.
    """
    normalisation = config.normalisation
    by_image = normalisation.method == "percentile" or (
        normalisation.method == "standardisation" and normalisation.scope == "image"
    )
    if config.data.annotation == "image" and by_image:
        raise UserError(
            f"normalisation.method {normalisation.method} measures every image, which is a patch in training, but a "
            "whole slide where a map is made: set it to scaling (with normalisation.maximum, unless images have 8 "
            "bits), or to standardisation with normalisation.scope dataset."
        )


def check_copies(split: SplitRecord) -> None:
    """Refuse images that are on both sides of the split, under whatever name.

    Parameters
    ----------
    split
        Both sides, with hashes.

    Raises
    ------
    UserError
        Two files are the same byte by byte.
    """
    trained = {entry.sha256["image"]: entry.image for entry in split.train}
    copies = [
        (trained[entry.sha256["image"]], entry.image) for entry in split.validation if entry.sha256["image"] in trained
    ]
    if copies:
        (first, second), *others = copies
        more = f" (and so are {len(others)} more)" if others else ""
        raise UserError(
            f"{first}, to train, and {second}, to validate, are the same image{more}, which makes scores too good: "
            "remove one of them, or keep them on one side by a column of a table, named as split.group."
        )
