"""What the values of masks mean: taken from the configuration where it says so, else from how they look.

What is taken from looks is a guess, and what speaks against it is a warning; each names the option that overrules it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from bmzpack.errors import UserError
from kerazoo.config import DataConfig
from kerazoo.data.mask_evidence import WHOLE, Pieces, counted, whole_share

_MOST_CLASSES = 32
_IGNORED = 255
"""The usual value of pixels without annotation beside class indices."""
_LEAST_GREY = 16
"""Smaller values are numbers of classes or objects, no grey values."""
_NEAR = 0.12
"""Grey values count as black or white within this part of their range."""
_THIN = 0.1
"""Values of smooth edges have at most this part of their pixels within."""
_MOST_BROKEN = 0.25
"""Part of the labels that may lie in several pieces without a warning."""


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What the values of masks mean."""

    settings: dict[str, Any]
    """Values of `kerazoo.config.DataConfig` by name."""
    reason: str
    warnings: tuple[str, ...] = ()


def meaning_of(
    names: Sequence[str], masks: Sequence[np.ndarray], pieces: Sequence[Pieces], data: DataConfig
) -> Meaning:
    """Decide what masks are.

    Parameters
    ----------
    names
        Names of the masks' files, for messages.
    masks
        Integer or bool (y, x), as they are stored.
    pieces
        Pieces of some of the masks, the first ones.
    data
        What it sets itself is not guessed.

    Raises
    ------
    UserError
        The masks look like photographs, or cannot be told apart without an option, which is named.
    """
    given = data.model_fields_set
    counts = [counted(mask) for mask in masks]
    values = np.unique(np.concatenate([values for values, _ in counts]))
    if data.ignore is not None:
        values = values[values != data.ignore]
    if len(values) == 0:
        raise UserError(f"{names[0]} and all other masks have no value but {data.ignore}, which is ignored.")
    if len(values) == 1 and values[0] != data.background:
        raise UserError(
            f"Every pixel of {names[0]} and of all other masks has the value {values[0]}: an object that fills every "
            "image leaves nothing to tell it from. Annotate images that show background too, or larger ones."
        )
    if "class_values" in given and data.class_values:
        return _given_classes(values, data)
    if "annotation" not in given or data.annotation == "binary":
        grey = _grey(names, values, pieces, counts)
        if grey is not None:
            return grey
    if "annotation" in given and data.annotation == "binary":
        background, warnings = (data.background, ()) if "background" in given else _background(names, values, pieces)
        return Meaning({"annotation": "binary", "background": background}, "as --annotation says", warnings)
    if "annotation" in given and data.annotation == "classes":
        return _classes(values, data, "as --annotation says")
    if "annotation" not in given and len(values) <= 2 and "split_labels" not in given:
        background, warnings = (data.background, ()) if "background" in given else _background(names, values, pieces)
        shown = " and ".join(map(str, values))
        return Meaning({"annotation": "binary", "background": background}, f"no values but {shown}", warnings)
    share = whole_share(pieces, without=(data.background, *(() if data.ignore is None else (data.ignore,))))
    wrapped = _wrapped(pieces)
    if "annotation" not in given and share < 0.75 and len(values) <= _MOST_CLASSES:
        reason = f"the masks share {len(values)} values, and {1 - share:.0%} of them lie in several places"
        return _classes(values, data, reason)
    if "annotation" not in given and share < 0.5 and not wrapped and not data.split_labels:
        raise UserError(
            f"The masks have {len(values)} values, and {1 - share:.0%} of them lie in several places, such as "
            f"{_broken(names, pieces)}: they are neither single objects nor classes. If their edges were smoothed, "
            "scale them again without interpolation; else say what they are with --annotation labels or classes."
        )
    return _labels(names, values, pieces, counts, data, share, wrapped=wrapped)


def _given_classes(values: np.ndarray, data: DataConfig) -> Meaning:
    missing = [
        f"{name} ({value})"
        for name, value in zip(data.classes, data.class_values, strict=True)
        if isinstance(value, int) and value not in values
    ]
    warnings = (f"No mask has a pixel of {', '.join(missing)}: correct --class, or leave it out.",) if missing else ()
    return Meaning({"annotation": "classes"}, "as --class says", warnings)


def _classes(values: np.ndarray, data: DataConfig, reason: str) -> Meaning:
    settings: dict[str, Any] = {"annotation": "classes"}
    warnings = []
    least = values[values >= 0]
    if data.ignore is None and len(least) < len(values):
        return Meaning(
            settings | _class_values(values),
            reason,
            (f"A class has the negative value {values[0]}: if it means not annotated, add --ignore {values[0]}.",),
        )
    others = values[values != _IGNORED]
    if data.ignore is None and len(others) < len(values) and len(others) > 1 and others[-1] == len(others) - 1:
        settings["ignore"], values = _IGNORED, others
        warnings.append(
            f"{_IGNORED}, beside classes from 0 to {others[-1]}, is taken for not annotated: if it is a class, name "
            "all of them, with --class NAME=VALUE."
        )
    settings |= _class_values(values)
    if "class_values" in settings and len(values) < values[-1] - values[0] + 1 <= _MOST_CLASSES:
        absent = sorted(set(range(values[0], values[-1] + 1)) - set(values.tolist()))
        warnings.append(
            f"No mask has the value {', '.join(map(str, absent))}, between those of the classes: if one is missing, "
            "name all of them, with --class NAME=VALUE."
        )
    return Meaning(settings, reason, tuple(warnings))


def _class_values(values: np.ndarray) -> dict[str, Any]:
    """The classes of these values; nothing of the values where they count from 0."""
    if len(values) > 255:
        raise UserError(f"The masks have {len(values)} values, but at most 255 classes can be told apart.")
    names = [f"class{value}" for value in values]
    if values[0] == 0 and values[-1] == len(values) - 1:
        return {"classes": names}
    return {"classes": names, "class_values": values.tolist()}


def _labels(
    names: Sequence[str],
    values: np.ndarray,
    pieces: Sequence[Pieces],
    counts: Sequence[tuple[np.ndarray, np.ndarray]],
    data: DataConfig,
    share: float,
    *,
    wrapped: bool,
) -> Meaning:
    settings: dict[str, Any] = {"annotation": "labels"}
    warnings: list[str] = []
    given = data.model_fields_set
    if "background" not in given:
        _settle_background(names, values, pieces, settings, warnings, ignored=data.ignore)
    if wrapped and "split_labels" not in given:
        settings["split_labels"] = True
        warnings.append(
            f"The labels use all numbers up to {values[-1]}, and several lie in distant pieces, such as "
            f"{_broken(names, pieces)}: they seem to have begun anew after the largest number of their type. Every "
            "piece is taken for an object of its own; save label images with 16 or 32 bits, or overrule with "
            "--whole-labels."
        )
    elif not data.split_labels:
        broken = np.concatenate([mask.number[mask.values != 0] > 1 for mask in pieces])
        if len(broken) and (broken.mean() > _MOST_BROKEN or share < 1 - _MOST_BROKEN):
            warnings.append(
                f"{broken.mean():.0%} of the labels lie in several pieces, such as {_broken(names, pieces)}: stray "
                "pixels of a label belong to its object; where pieces are objects of their own, add "
                "--split-labels; where values are classes, --annotation classes."
            )
    background = settings.get("background", data.background)
    most = max(int((present != background).sum()) for present, _ in counts)
    return Meaning(
        settings, f"{share:.0%} of the values are in one piece, with up to {most} in a mask", tuple(warnings)
    )


def _settle_background(
    names: Sequence[str],
    values: np.ndarray,
    pieces: Sequence[Pieces],
    settings: dict[str, Any],
    warnings: list[str],
    *,
    ignored: int | None,
) -> None:
    """Find the value of the background of label images, and that of pixels without annotation if one is negative."""
    surrounding = _surrounding(pieces)
    if values[0] < 0 and ignored is None:
        low = int(values[0])
        if len(values) > 1 and values[1] < 0:
            raise UserError(
                f"The masks have negative values, {low} and {values[1]}: say which means background and which not "
                "annotated, with --background and --ignore."
            )
        if surrounding == 0:
            settings["ignore"] = low
            warnings.append(
                f"{low} is taken for not annotated, as 0 is the background: overrule with --background {low}."
            )
        else:
            settings["background"] = low
            objects = ", and 0 for an object" if 0 in values else ""
            warnings.append(f"{low} is taken for background{objects}: overrule with --ignore {low}.")
        return
    if surrounding in (None, 0):
        if 0 not in values:
            warnings.append(
                "No pixel of any mask is 0, so that there is no background: if one of the values is, name it with "
                "--background."
            )
        return
    name, mask, place = next(
        (name, mask, place)
        for name, mask in zip(names, pieces, strict=False)
        if (place := mask.of(surrounding)) is not None
    )
    part = mask.counts[place] / mask.counts.sum()
    seen = f"{surrounding} covers {part:.0%} of {name} and touches its borders"
    if 0 in values:
        warnings.append(
            f"{seen}, as a background does, but 0 is the background: if it is not, add --background {surrounding}."
        )
        return
    settings["background"] = surrounding
    warnings.append(f"No pixel is 0, and {seen}: it is taken for background; overrule with --background 0.")


def _surrounding(pieces: Sequence[Pieces]) -> int | None:
    """The value that covers most of most masks, and touches at least three of their sides; None where there is none."""
    found: dict[int, int] = {}
    for mask in pieces:
        place = int(mask.counts.argmax())
        if mask.sides[place] >= 3 and mask.counts[place] >= 0.4 * mask.counts.sum():
            value = int(mask.values[place])
            found[value] = found.get(value, 0) + 1
    value = max(found, key=found.__getitem__, default=None)
    return value if value is not None and found[value] > len(pieces) / 2 else None


def _background(names: Sequence[str], values: np.ndarray, pieces: Sequence[Pieces]) -> tuple[int, tuple[str, ...]]:
    """Which value of a binary mask is the background, and what speaks against it."""
    if len(values) > 2 or len(values) < 2:
        return 0, ()
    first, second = (int(value) for value in values)
    around = {
        value: sum(int(mask.sides[place]) for mask in pieces if (place := mask.of(value)) is not None)
        for value in (first, second)
    }
    if 0 in (first, second) and first >= 0:
        # The sides of the other value, in one piece, around a background in many
        single = np.mean([_is_single(mask, second) and not _is_single(mask, 0) for mask in pieces])
        if single > 0.5 and around[second] > around[0] and _surrounding(pieces) == second:
            return 0, (
                f"{second} surrounds the zeros and touches the borders, as a background does: if it is, add "
                f"--background {second}.",
            )
        return 0, ()
    surrounding = _surrounding(pieces)
    if surrounding is None:
        surrounding = max(around, key=around.__getitem__) if around[first] != around[second] else None
    if surrounding is None:
        raise UserError(
            f"The masks have no values but {first} and {second}: say which is the background, with --background "
            f"{first} or --background {second}."
        )
    other = second if surrounding == first else first
    return surrounding, (
        f"The masks have no values but {first} and {second}: {surrounding}, which touches more of the borders, is "
        f"taken for background; overrule with --background {other}, or name classes with --class NAME={first} --class "
        f"NAME={second}.",
    )


def _is_single(mask: Pieces, value: int) -> bool:
    place = mask.of(value)
    return place is not None and bool(mask.largest[place] >= WHOLE)


def _grey(
    names: Sequence[str],
    values: np.ndarray,
    pieces: Sequence[Pieces],
    counts: Sequence[tuple[np.ndarray, np.ndarray]],
) -> Meaning | None:
    """Black and white with grey edges, or a photograph; None for values that are numbers."""
    if len(values) < 4 or values[-1] < _LEAST_GREY or values[0] < 0:
        return None
    pixels = np.zeros(len(values), np.int64)
    for present, count in counts:
        places = np.searchsorted(values, present).clip(max=len(values) - 1)
        np.add.at(pixels, places, np.where(values[places] == present, count, 0))
    frequent = values[np.argsort(-pixels)[:2]]
    rest = [~np.isin(mask.values, frequent) for mask in pieces]
    edges = sum(int(mask.counts[keep].sum()) for mask, keep in zip(pieces, rest, strict=True))
    within = sum(float((mask.counts * mask.interior)[keep].sum()) for mask, keep in zip(pieces, rest, strict=True))
    if not edges or within > _THIN * edges or whole_share(pieces, without=frequent.tolist()) >= 0.5:
        return None
    low, high = int(values[0]), int(values[-1])
    black, white = values <= low + _NEAR * (high - low), values >= high - _NEAR * (high - low)
    number = next(number for number, keep in enumerate(rest) if keep.any())
    others = pieces[number].values[rest[number]]
    example = others[len(others) // 2]
    between, upper = int(pixels[~black & ~white].sum()), values > (low + high) / 2
    ends_prevail = black[pixels.argmax()] or white[pixels.argmax()]
    ends_prevail &= bool(white[np.where(upper, pixels, 0).argmax()] and black[np.where(upper, 0, pixels).argmax()])
    if not ends_prevail or min(pixels[white].sum(), pixels[black].sum()) < between / 4:
        if len(values) <= _MOST_CLASSES:
            return None
        raise UserError(
            f"The masks look like photographs: {len(values)} grey values, scattered over the image, such as {example} "
            f"in {names[number]}. Were images and masks swapped? If the values are what they should be, say so with "
            "--annotation, or with --threshold VALUE for black and white with soft edges."
        )
    threshold = (low + high) / 2
    warning = (
        f"The masks are black and white with grey values between, such as {example} in {names[number]} "
        f"({edges / sum(int(mask.counts.sum()) for mask in pieces):.1%} of the pixels), as scaling with interpolation "
        f"or JPEG leaves them: values above {threshold:g} are taken for foreground; overrule with --threshold or "
        "--annotation."
    )
    return Meaning(
        {"annotation": "binary", "threshold": threshold}, f"black and white with {len(values) - 2} greys", (warning,)
    )


def _wrapped(pieces: Sequence[Pieces]) -> bool:
    """Whether label numbers have begun anew after the largest of their type: all are used, some in distant pieces."""
    for mask in pieces:
        values = mask.values[mask.values != 0]
        full = len(values) and values[-1] in (255, 65535) and len(values) >= 0.97 * values[-1]
        if full and (mask.largest[mask.values != 0] < WHOLE).mean() > 0.03:
            return True
    return False


def _broken(names: Sequence[str], pieces: Sequence[Pieces]) -> str:
    """An example of a value in several pieces."""
    for name, mask in zip(names, pieces, strict=False):
        places = np.flatnonzero((mask.number > 1) & (mask.values != 0))
        if len(places):
            place = places[mask.largest[places].argmin()]
            return f"{mask.values[place]} in {name} ({mask.number[place]} pieces)"
    return "none"
