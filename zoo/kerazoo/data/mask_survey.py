"""What the masks of a data set are: label images, binary masks or class masks, and how much they hold."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from bmzpack.errors import UserError
from kerazoo.config import DataConfig
from kerazoo.data.mask_evidence import counted, pieces_of
from kerazoo.data.mask_meaning import Meaning, meaning_of
from kerazoo.data.rescale import bounded_diameter, median_diameter
from kerazoo.files.annotations.read import holds_objects, read_objects, sizes_differ
from kerazoo.files.annotations.regions import Objects as Drawn
from kerazoo.files.masks import colours_of, interpreted, read_values, refuse_colours, whole_numbers
from kerazoo.files.pair import Pair

_LOOKED_AT = 20
"""So many masks are looked at closely."""
_FULL = 0.98
"""Objects on more of the pixels leave hardly any background."""


@dataclasses.dataclass(frozen=True)
class Objects:
    """The objects of label images or binary masks."""

    counts: tuple[int, int, int]
    """Fewest, median and most objects per image."""
    areas: tuple[float, float, float]
    """Percentiles 1, 50 and 99 of the objects' areas in pixels."""
    room: float
    """Shortest side of an image in diameters of its objects, as they count in `kerazoo.data.rescale`."""
    empty: int
    """Masks without an object."""

    @property
    def diameter(self) -> float:
        """Diameter in pixels of a disc of the objects' median area."""
        return 2 * float(np.sqrt(self.areas[1] / np.pi))


@dataclasses.dataclass(frozen=True)
class MaskSurvey:
    """The masks of a data set in numbers."""

    annotation: Literal["labels", "classes", "binary", "image"]
    """What the values mean; `image`: there are no masks."""
    reason: str
    """Why they are taken for this kind of annotation."""
    fractions: dict[int, float] = dataclasses.field(default_factory=dict)
    """Share of the pixels of every class index; of background and foreground otherwise."""
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What the masks are read with, beside ``annotation``: settings of `kerazoo.config.DataConfig`."""
    objects: Objects | None = None
    """For labels and binary masks."""
    example: str = ""
    """A value, where it is found, and how much of it."""
    warnings: tuple[str, ...] = ()
    """What speaks against it, with the option that overrules it."""


class RawMask:
    """An annotation as it is stored: values, or the objects of a file.

    Parameters
    ----------
    pair
        The image and its annotation.
    shape
        Rows and columns of the image.
    data
        Where a threshold is set, JPEG masks are read too.

    Raises
    ------
    UserError
        There is none, it cannot be read, or has another size than the image.
    """

    def __init__(self, pair: Pair, shape: tuple[int, int], data: DataConfig) -> None:
        if pair.mask is None:
            raise UserError(f"{pair.image} has no mask: add one or remove the image.")
        self.path: Path = pair.mask
        self.objects: Drawn | None = None
        if holds_objects(pair.mask):
            self.objects = read_objects(pair.mask, pair.image.name, shape)
            self.values = self.objects.labels
            return
        self.values = read_values(pair.mask, lossy=data.threshold is not None)
        if self.values.shape[:2] != shape:
            raise sizes_differ(pair.mask, self.values.shape, pair.image.name, shape)
        if self.values.ndim == 2 and data.threshold is None:
            self.values = whole_numbers(self.values, pair.mask)

    @property
    def name(self) -> str:
        """The file's name; a folder's with that of the one around it."""
        return f"{self.path.parent.name}/{self.path.name}" if self.path.is_dir() else self.path.name


def survey_masks(
    raw: Sequence[RawMask], data: DataConfig, *, patches: bool = False
) -> tuple[MaskSurvey, list[np.ndarray]]:
    """Measure masks.

    Parameters
    ----------
    raw
        The annotations; their stored values are let go.
    data
        What it sets itself of the meaning of their values is not guessed.
    patches
        Whether patches have one class each, also where masks are black and white.

    Returns
    -------
    tuple of MaskSurvey and list of numpy.ndarray
        The masks, int32 (y, x), as `kerazoo.files.annotations.read.read_annotation` gives them.

    Raises
    ------
    UserError
        No mask has any object, or it cannot be told what they are.
    """
    meaning = _meaning(raw, data)
    if patches and meaning.settings["annotation"] == "binary":
        data = data.model_copy(update={"annotation": "classes"})
        meaning = _meaning(raw, data)
    read = data.model_copy(update=meaning.settings)
    masks = []
    for mask in raw:
        mask.values = _read(mask, read)
        masks.append(mask.values)
    settings = {name: value for name, value in meaning.settings.items() if name != "annotation"}
    for name in ("background", "ignore", "threshold", "class_values", "split_labels", "classes"):
        if name in data.model_fields_set:
            settings[name] = getattr(data, name)
    found = MaskSurvey(read.annotation, meaning.reason, settings=settings, warnings=meaning.warnings)
    if read.annotation == "classes":
        return _classes(found, raw, masks, read), masks
    return _objects_of(found, raw, masks, read), masks


def _meaning(raw: Sequence[RawMask], data: DataConfig) -> Meaning:
    files = [mask.objects for mask in raw if mask.objects is not None]
    if files:
        return _meaning_of_objects(files, data)
    if data.threshold is not None:
        return Meaning({"annotation": "binary"}, f"values above {data.threshold:g} are foreground")
    coloured = [mask for mask in raw if mask.values.ndim == 3]
    if coloured:
        if data.class_values:
            return Meaning({"annotation": "classes"}, "as --class says")
        colours: Counter[str] = Counter()
        for mask in coloured:
            colours.update(colours_of(mask.values))
        raise refuse_colours(coloured[0].path, [colour for colour, _ in colours.most_common()])
    places = np.unique(np.linspace(0, len(raw) - 1, _LOOKED_AT).round().astype(int)).tolist()
    chosen = [raw[place] for place in places]
    ordered = [*chosen, *(mask for number, mask in enumerate(raw) if number not in set(places))]
    return meaning_of(
        [mask.name for mask in ordered],
        [mask.values for mask in ordered],
        [pieces_of(mask.values) for mask in chosen],
        data,
    )


def _meaning_of_objects(files: Sequence[Drawn], data: DataConfig) -> Meaning:
    annotation = data.annotation if "annotation" in data.model_fields_set else "labels"
    count = sum(len(objects.categories) for objects in files)
    categories = sorted({name for objects in files for name in objects.categories if name is not None})
    warnings = []
    if hidden := sum(objects.hidden for objects in files):
        warnings.append(f"Objects overlap on {hidden} pixels, which belong to the later one in the file.")
    settings: dict[str, Any] = {"annotation": annotation}
    if annotation == "classes" and not data.classes:
        if any(name is None for objects in files for name in objects.categories):
            raise UserError("Some of the annotated objects have no class: give them one, or add --annotation labels.")
        settings["classes"] = ["background", *categories]
    elif annotation != "classes" and len(categories) > 1:
        warnings.append(
            f"The objects have the classes {', '.join(categories)}, which are not learned: add --annotation classes "
            "for a network that tells classes."
        )
    return Meaning(settings, f"{count} objects in the annotation files", tuple(warnings))


def _read(mask: RawMask, data: DataConfig) -> np.ndarray:
    if mask.objects is None:
        return interpreted(mask.values, data, mask.path)
    if data.annotation == "classes":
        table = [0, *(data.classes.index(str(name)) for name in mask.objects.categories)]
        return np.array(table, np.int32)[mask.values]
    return (mask.values > 0).astype(np.int32) if data.annotation == "binary" else mask.values


def _classes(found: MaskSurvey, raw: Sequence[RawMask], masks: Sequence[np.ndarray], data: DataConfig) -> MaskSurvey:
    pixels: Counter[int] = Counter(dict.fromkeys(range(len(data.classes)), 0))
    for mask in masks:
        pixels.update(dict(zip(*(array.tolist() for array in counted(mask)), strict=True)))
    if data.ignored is not None:
        pixels.pop(data.ignored, None)
    if not pixels.total():
        raise UserError(f"{raw[0].path} and all other masks have no value but {data.ignore}, which is ignored.")
    if max(pixels) >= len(data.classes):
        classes = [f"class{value}" for value in range(max(pixels) + 1)]
        raise UserError(
            f"The masks have the value {max(pixels)}, but {len(data.classes)} classes are named: name all, such as "
            f"{' '.join(f'--class {name}={value}' for value, name in enumerate(classes[:3]))}."
        )
    last = len(data.classes) - 1
    number = next((number for number, mask in enumerate(masks) if (mask == last).any()), 0)
    value = data.class_values[last] if data.class_values else last
    part = np.count_nonzero(masks[number] == last) / masks[number].size
    return dataclasses.replace(
        found, fractions=_fractions(pixels), example=f"{value} on {part:.1%} of {raw[number].name}"
    )


def _objects_of(found: MaskSurvey, raw: Sequence[RawMask], masks: Sequence[np.ndarray], data: DataConfig) -> MaskSurvey:
    pixels: Counter[int] = Counter()
    annotated = [np.where(mask == data.ignored, 0, mask) if data.ignored is not None else mask for mask in masks]
    for mask in annotated:
        foreground = int(np.count_nonzero(mask))
        pixels.update({0: mask.size - foreground, 1: foreground})
    areas = [_areas(mask, binary=data.annotation == "binary") for mask in annotated]
    if not any(areas):
        raise UserError(f"{raw[0].path} and all other masks are empty: annotate at least some of the images.")
    warnings = found.warnings
    if pixels[1] > _FULL * pixels.total():
        warnings += (
            f"Objects cover {pixels[1] / pixels.total():.1%} of the pixels: hardly any background is left to tell them "
            "from. Are they what was drawn?",
        )
    number = next(number for number, part in enumerate(areas) if part)
    label = int(annotated[number].max())
    if data.annotation == "labels":
        example = f"{label} in {raw[number].name}: {np.count_nonzero(annotated[number] == label)} pixels"
    else:
        example = f"{len(areas[number])} objects in {raw[number].name}"
    return dataclasses.replace(
        found,
        fractions=_fractions(pixels),
        objects=_objects(areas, [mask.shape for mask in masks]),
        example=example,
        warnings=warnings,
    )


def _areas(mask: np.ndarray, *, binary: bool) -> list[int]:
    if binary:
        statistics = cv2.connectedComponentsWithStats((mask != 0).astype(np.uint8), connectivity=8)[2]
        return statistics[1:, cv2.CC_STAT_AREA].tolist()
    values, counts = counted(mask)
    return counts[values != 0].tolist()


def _objects(areas: list[list[int]], shapes: list[tuple[int, ...]]) -> Objects:
    """The objects of images, from the areas in each of them."""
    counts = [len(part) for part in areas]
    diameters = [median_diameter(part) for part in areas]
    typical = float(np.median([own for own in diameters if own is not None]))
    small, usual, large = np.percentile([area for part in areas for area in part], (1, 50, 99)).tolist()
    return Objects(
        counts=(min(counts), int(np.median(counts)), max(counts)),
        areas=(small, usual, large),
        room=min(min(shape) / bounded_diameter(own, typical) for shape, own in zip(shapes, diameters, strict=True)),
        empty=counts.count(0),
    )


def _fractions(pixels: Counter[int]) -> dict[int, float]:
    return {value: pixels[value] / pixels.total() for value in sorted(pixels)}
