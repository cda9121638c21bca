"""What training would go through with and nobody would notice: refused before it begins."""

from __future__ import annotations

from collections.abc import Sequence

from bmzpack.errors import UserError
from kerazoo.config import Config
from kerazoo.data.mask_evidence import counted
from kerazoo.files.pairs import Sample
from kerazoo.runs.records import SplitRecord


def check_ignored(config: Config) -> None:
    """Refuse an ignored mask value that is a class: the network would have an output that it never learns.

    Raises
    ------
    UserError
        ``data.ignore`` is the value of one of ``data.classes``.
    """
    data = config.data
    if data.annotation != "classes" or data.ignore is None:
        return
    values = data.class_values or list(range(len(data.classes)))
    if data.ignore not in values:
        return
    name = data.classes[values.index(data.ignore)]
    raise UserError(
        f"data.ignore is {data.ignore}, the value of the class {name!r}, which would "
        "be an output that is never learned: take the name off data.classes, and say in data.class_values which mask "
        "value each of the others has."
    )


def check_annotated(train: Sequence[Sample], validation: Sequence[Sample], config: Config) -> None:
    """Refuse masks that teach nothing: no object on one side, no background to tell it from, or one class only.

    Parameters
    ----------
    train, validation
        The two sides.
    config
        Its ``data`` says what the masks mean.

    Raises
    ------
    UserError
        They are refused.
    """
    data = config.data
    if data.annotation == "image":
        return
    for what, side in (("train", train), ("validate", validation)):
        values: set[int] = set()
        for sample in side:
            values |= set(counted(sample.mask)[0].tolist())
        values.discard(-1 if data.ignored is None else data.ignored)
        if data.annotation == "classes":
            if len(values) < 2 and what == "train":
                only = data.classes[values.pop()] if values else "not annotated"
                raise UserError(
                    f"All pixels of the {len(side)} images to train are {only}: there is nothing to tell it from. "
                    "Correct data.class_values and data.ignore, or annotate other classes."
                )
        elif not values - {0}:
            raise UserError(
                f"None of the {len(side)} images to {what} has an object: choose another split.seed, a larger "
                "split.validation, or annotate more images."
            )
        elif 0 not in values:
            raise UserError(
                f"Every pixel of the {len(side)} images to {what} belongs to an object: there is no background to tell "
                "objects from. If one value of the masks is the background, set data.background to it."
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
