"""What the masks of a data set are: label images, binary masks or class masks, and how much they hold."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
import PIL.Image

from bmzpack.errors import UserError
from kerazoo.data.rescale import bounded_diameter, median_diameter
from kerazoo.files.pairs import Pair
from kerazoo.files.read import read_mask

_MOST_CLASSES = 32
_IGNORED = 255
"""The usual value of pixels without annotation beside class indices."""


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
    """Share of the pixels of every mask value, for classes; of background and foreground otherwise."""
    ignore: int | None = None
    """A value that seems to mean: not annotated."""
    objects: Objects | None = None
    """For labels and binary masks."""


def survey_masks(pairs: Sequence[Pair], masks: Sequence[np.ndarray]) -> MaskSurvey:
    """Measure masks.

    Parameters
    ----------
    pairs
        Their files.
    masks
        Of each pair, int (y, x), as `read_raw_mask` gives it.

    Raises
    ------
    UserError
        No mask has any object.
    """
    annotation, reason = _annotation(pairs, masks)
    pixels: Counter[int] = Counter()
    if annotation == "classes":
        for mask in masks:
            pixels.update(dict(zip(*(array.tolist() for array in np.unique(mask, return_counts=True)), strict=True)))
        ignore = _IGNORED if pixels.pop(_IGNORED, 0) else None
        return MaskSurvey(annotation, reason, _fractions(pixels), ignore)
    for mask in masks:
        foreground = int(np.count_nonzero(mask))
        pixels.update({0: mask.size - foreground, 1: foreground})
    areas = [_areas(mask, binary=annotation == "binary") for mask in masks]
    if not any(areas):
        raise UserError(f"{pairs[0].mask} and all other masks are empty: annotate at least some of the images.")
    return MaskSurvey(annotation, reason, _fractions(pixels), objects=_objects(areas, [mask.shape for mask in masks]))


def read_raw_mask(pair: Pair, shape: tuple[int, int]) -> np.ndarray:
    """The mask of an image with its values as they are, int (y, x).

    Raises
    ------
    UserError
        There is none, it has another size than the image, or negative values.
    """
    if pair.mask is None:
        raise UserError(f"{pair.image} has no mask: add one or remove the image.")
    mask = read_mask(pair.mask, "labels")
    if mask.shape != shape:
        raise UserError(
            f"{pair.mask} is {mask.shape[1]} x {mask.shape[0]} pixels, but its image {pair.image.name} is "
            f"{shape[1]} x {shape[0]}: export both at the same size."
        )
    if mask.min() < 0:
        raise UserError(f"{pair.mask} has negative values (down to {mask.min()}): save it without them.")
    return mask


def _annotation(
    pairs: Sequence[Pair], masks: Sequence[np.ndarray]
) -> tuple[Literal["labels", "classes", "binary"], str]:
    """Which kind of annotation the masks are, and why."""
    if any(_has_palette(pair) for pair in pairs):
        return "classes", "the masks are palette pictures"
    found = [np.unique(mask) for mask in masks]
    values = np.unique(np.concatenate(found))
    if len(values) <= 2 and values[0] == 0:
        return "binary", f"the masks have no values but {' and '.join(map(str, values))}"
    whole = [
        cv2.connectedComponents((mask == value).astype(np.uint8), connectivity=8)[0] == 2  # with the background
        for mask, present in list(zip(masks, found, strict=True))[:20]
        for value in present[present != 0][:50]
    ]
    share = float(np.mean(whole)) if whole else 1.0
    if share < 0.75 and len(values) <= _MOST_CLASSES:
        return "classes", f"the masks share {len(values)} values, and {1 - share:.0%} of them lie in several places"
    most = max(len(present[present != 0]) for present in found)
    return "labels", f"{share:.0%} of the values are in one piece, with up to {most} in a mask"


def _has_palette(pair: Pair) -> bool:
    if pair.mask is None or pair.mask.suffix.lower() != ".png":
        return False
    with PIL.Image.open(pair.mask) as image:
        return image.mode == "P"


def _areas(mask: np.ndarray, *, binary: bool) -> list[int]:
    if binary:
        statistics = cv2.connectedComponentsWithStats((mask != 0).astype(np.uint8), connectivity=8)[2]
        return statistics[1:, cv2.CC_STAT_AREA].tolist()
    return np.unique(mask[mask != 0], return_counts=True)[1].tolist()


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
