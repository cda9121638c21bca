"""What a data set is like: measured for `kerazoo init`, so that a configuration starts from the data."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

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
    images, masks = _read(chosen, data.axes, whole=whole)
    shapes, categories = [image.shape for image in images], None
    if whole:
        found = MaskSurvey("image", "one class per image")
        categories = categories_of_images(pairs, chosen, shapes)
    else:
        found = survey_masks(chosen, masks)
        if data.annotation == "classes" and found.annotation != "labels":
            categories = categories_of_masks(pairs, found, min(map(min, shapes)))
            found = dataclasses.replace(found, annotation="classes", reason="one class per value of the masks")
    low, dark, bright, high = np.array([image.values for image in images]).T.tolist()
    pixel_sizes = {image.pixel_size for image in images}
    return Survey(
        images=len(pairs),
        measured=len(chosen),
        smallest=min(shapes, key=min),
        largest=max(shapes, key=max),
        channels=images[0].channels,
        dtypes=tuple(sorted({image.dtype for image in images})),
        intensity=(min(low), max(high)),
        percentiles=(float(np.median(dark)), float(np.median(bright))),
        brightest=max(bright),
        pixel_size=pixel_sizes.pop() if len(pixel_sizes) == 1 else None,
        categories=categories,
        **vars(found),
    )


class _Image(NamedTuple):
    """An image in numbers."""

    shape: tuple[int, int]
    channels: int
    dtype: str
    values: list[float]
    """Percentiles 0, 1, 99.8 and 100."""
    pixel_size: float | None
    """Micrometres."""


def _read(pairs: list[Pair], axes: str | None, *, whole: bool) -> tuple[list[_Image], list[np.ndarray]]:
    """The images, and their masks unless whole images have a class; such an image may be constant."""
    images, masks = [], []
    for pair in pairs:
        size, image = open_stack(pair.image, axes).pixel_size, read_image(pair.image, axes)
        (height, width, channels), first = image.shape, images[0].channels if images else image.shape[2]
        if channels != first:
            raise UserError(
                f"{pair.image} and {pairs[0].image.name} differ in the number of channels, {channels} and {first}: "
                "convert them to the same."
            )
        values = np.percentile(image, (0, 1, 99.8, 100)).tolist()
        pixel_size = None if size is None else round(size[1], 4)
        images.append(_Image((height, width), channels, str(image.dtype), values, pixel_size))
        if whole:
            continue
        if values[0] == values[-1]:
            raise UserError(f"{pair.image} is constant (all pixels are {values[0]:g}): export it again or remove it.")
        masks.append(read_raw_mask(pair, (height, width)))
    return images, masks
