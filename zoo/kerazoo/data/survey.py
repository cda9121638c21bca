"""What a data set is like: measured for `kerazoo init`, so that a configuration starts from the data."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import Literal

import cv2
import numpy as np
import PIL.Image

from bmzpack.errors import UserError
from kerazoo.config import DataConfig
from kerazoo.data.rescale import bounded_diameter, median_diameter
from kerazoo.files.pairs import Pair, pairs_of
from kerazoo.files.read import open_stack, read_image, read_mask

Annotation = Literal["labels", "classes", "binary"]

_MOST_IMAGES = 500
"""Of a larger set so many images are measured, evenly spaced."""
_MOST_CLASSES = 32
_IGNORED = 255
"""The usual value of pixels without annotation beside class indices."""


@dataclasses.dataclass(frozen=True)
class Survey:
    """A data set in numbers."""

    images: int
    measured: int
    """How many of the images were read."""
    smallest: tuple[int, int]
    """(y, x) of the image with the shortest side."""
    largest: tuple[int, int]
    """(y, x) of the image with the longest side."""
    channels: int
    dtypes: tuple[str, ...]
    intensity: tuple[float, float]
    """Smallest and largest value of all images."""
    percentiles: tuple[float, float]
    """Medians over the images of their percentiles 1 and 99.8."""
    brightest: float
    """Largest of the images' percentiles 99.8: a few hot pixels do not count."""
    pixel_size: float | None
    """Micrometres, where all files state the same."""
    annotation: Annotation
    reason: str
    """Why the masks are taken for this kind of annotation."""
    objects: tuple[int, int, int] | None
    """Fewest, median and most objects per image; for labels and binary masks."""
    areas: tuple[float, float, float] | None
    """Percentiles 1, 50 and 99 of the objects' areas in pixels."""
    room: float | None
    """Shortest side of an image in diameters of its objects, as they count in `kerazoo.data.rescale`."""
    empty: int
    """Masks without an object."""
    fractions: dict[int, float]
    """Share of the pixels of every mask value, for classes; of background and foreground otherwise."""
    ignore: int | None
    """A value that seems to mean: not annotated."""

    @property
    def diameter(self) -> float | None:
        """Diameter in pixels of a disc of the objects' median area."""
        return None if self.areas is None else 2 * float(np.sqrt(self.areas[1] / np.pi))


def survey(data: DataConfig) -> Survey:
    """Measure a data set.

    Parameters
    ----------
    data
        Where images and masks are, and the axes where they are ambiguous; its other settings are what is measured.

    Returns
    -------
    Survey
        Of all images, or of 500 of them if there are more.

    Raises
    ------
    UserError
        A file cannot be used, the images have different numbers of channels, or no mask has any object.
    """
    pairs = pairs_of(data)
    chosen = [pairs[place] for place in np.unique(np.linspace(0, len(pairs) - 1, _MOST_IMAGES).round().astype(int))]
    images = _Images()
    masks: list[np.ndarray] = []
    for pair in chosen:
        shape = images.add(pair, data.axes)
        masks.append(_raw_mask(pair, shape))
    annotation, reason = _annotation(chosen, masks)

    values: dict[int, int] = defaultdict(int)
    objects: list[int] = []
    areas: list[int] = []
    diameters: list[float | None] = []
    for mask in masks:
        if annotation == "classes":
            for value, count in zip(*np.unique(mask, return_counts=True), strict=True):
                values[int(value)] += int(count)
            continue
        sizes = _object_areas(mask, annotation)
        objects.append(len(sizes))
        areas += sizes
        diameters.append(median_diameter(sizes))
        values[0] += int((mask == 0).sum())
        values[1] += int((mask != 0).sum())
    if annotation != "classes" and not areas:
        raise UserError(f"{chosen[0].mask} and all other masks are empty: annotate at least some of the images.")
    ignore = _IGNORED if annotation == "classes" and values.pop(_IGNORED, 0) else None
    total = sum(values.values())
    known = [own for own in diameters if own is not None]
    typical = float(np.median(known)) if known else None
    return Survey(
        images=len(pairs),
        measured=len(chosen),
        smallest=min(images.shapes, key=min),
        largest=max(images.shapes, key=max),
        channels=images.channels,
        dtypes=tuple(sorted(images.dtypes)),
        intensity=(min(images.low), max(images.high)),
        percentiles=(float(np.median(images.dark)), float(np.median(images.bright))),
        brightest=max(images.bright),
        pixel_size=images.pixel_sizes.pop() if len(images.pixel_sizes) == 1 else None,
        annotation=annotation,
        reason=reason,
        objects=(min(objects), int(np.median(objects)), max(objects)) if objects else None,
        areas=_three(np.percentile(areas, (1, 50, 99))) if areas else None,
        room=typical
        and min(
            min(shape) / bounded_diameter(own, typical) for shape, own in zip(images.shapes, diameters, strict=True)
        ),
        empty=objects.count(0),
        fractions={value: values[value] / total for value in sorted(values)},
        ignore=ignore,
    )


class _Images:
    """Collects the numbers of the images."""

    def __init__(self) -> None:
        self.channels = 0
        self.shapes: list[tuple[int, int]] = []
        self.dtypes: set[str] = set()
        self.low: list[float] = []
        self.high: list[float] = []
        self.dark: list[float] = []
        self.bright: list[float] = []
        self.pixel_sizes: set[float | None] = set()
        self._first: Pair | None = None

    def add(self, pair: Pair, axes: str | None) -> tuple[int, int]:
        size = open_stack(pair.image, axes).pixel_size
        image = read_image(pair.image, axes)
        self._first = self._first or pair
        self.channels = self.channels or image.shape[2]
        if image.shape[2] != self.channels:
            raise UserError(
                f"{pair.image} and {self._first.image.name} differ in the number of channels, {image.shape[2]} and "
                f"{self.channels}: convert them to the same."
            )
        self.shapes.append((image.shape[0], image.shape[1]))
        self.dtypes.add(str(image.dtype))
        low, dark, bright, high = np.percentile(image, (0, 1, 99.8, 100))
        if low == high:
            raise UserError(f"{pair.image} is constant (all pixels are {low:g}): export it again or remove it.")
        self.low.append(float(low))
        self.dark.append(float(dark))
        self.bright.append(float(bright))
        self.high.append(float(high))
        self.pixel_sizes.add(round(size[1], 4) if size is not None else None)
        return self.shapes[-1]


def _raw_mask(pair: Pair, shape: tuple[int, int]) -> np.ndarray:
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


def _annotation(pairs: list[Pair], masks: list[np.ndarray]) -> tuple[Annotation, str]:
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


def _object_areas(mask: np.ndarray, annotation: Annotation) -> list[int]:
    if annotation == "binary":
        statistics = cv2.connectedComponentsWithStats((mask != 0).astype(np.uint8), connectivity=8)[2]
        return statistics[1:, cv2.CC_STAT_AREA].tolist()
    counts = np.unique(mask[mask != 0], return_counts=True)[1]
    return counts.tolist()


def _three(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
