"""What a data set is like: measured for `kerazoo init`, so that a configuration starts from the data."""

from __future__ import annotations

import dataclasses

import numpy as np

from bmzpack.errors import UserError
from kerazoo.config import DataConfig
from kerazoo.data.class_survey import Categories, categories_of_images, categories_of_masks
from kerazoo.data.mask_survey import MaskSurvey, read_raw_mask, survey_masks
from kerazoo.files.pairs import Pair, pairs_of
from kerazoo.files.read import open_stack, read_image

_MOST_IMAGES = 500
"""So many images of a larger set are read, evenly spaced; all are counted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Survey(MaskSurvey):
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
    categories: Categories | None
    """Where every image, or every patch of it, has one class."""

    @property
    def sizes(self) -> str:
        """The sizes of the images, in words."""
        (height, width), (most_height, most_width) = self.smallest, self.largest
        if self.smallest == self.largest:
            return f"{width} x {height} pixels"
        return f"{width} x {height} to {most_width} x {most_height} pixels"


def survey(data: DataConfig) -> Survey:
    """Measure a data set.

    Parameters
    ----------
    data
        Where images and annotations are, and the axes where they are ambiguous. Its annotation is `image` where every
        image has one class, and `classes` where patches of class masks have; otherwise it is measured what the masks
        are. Its other settings are measured.

    Returns
    -------
    Survey
        All images, or 500 of them if there are more.

    Raises
    ------
    UserError
        A file cannot be used, the images have different numbers of channels, no mask has any object, or there are
        fewer than two classes of images.
    """
    pairs = pairs_of(data)
    chosen = [pairs[place] for place in np.unique(np.linspace(0, len(pairs) - 1, _MOST_IMAGES).round().astype(int))]
    whole = data.annotation == "image"
    images, masks, categories = _Images(), [], None
    for pair in chosen:
        shape = images.add(pair, data.axes, constant=whole)
        if not whole:
            masks.append(read_raw_mask(pair, shape))
    if whole:
        found = MaskSurvey("image", "one class per image")
        categories = categories_of_images(pairs, chosen, images.shapes)
    else:
        found = survey_masks(chosen, masks)
        if data.annotation == "classes" and found.annotation != "labels":
            categories = categories_of_masks(pairs, found, min(map(min, images.shapes)))
            found = dataclasses.replace(found, annotation="classes", reason="one class per value of the masks")
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
        categories=categories,
        **vars(found),
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

    def add(self, pair: Pair, axes: str | None, *, constant: bool) -> tuple[int, int]:
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
        if low == high and not constant:
            raise UserError(f"{pair.image} is constant (all pixels are {low:g}): export it again or remove it.")
        self.low.append(float(low))
        self.dark.append(float(dark))
        self.bright.append(float(bright))
        self.high.append(float(high))
        self.pixel_sizes.add(round(size[1], 4) if size is not None else None)
        return self.shapes[-1]
