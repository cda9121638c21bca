"""What a data set is like: measured for `kerazoo init`, so that a configuration starts from the data."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from bmzpack.errors import UserError
from kerazoo.config import DataConfig
from kerazoo.data.class_survey import Categories, categories_of_images, categories_of_masks
from kerazoo.data.mask_survey import MaskSurvey, RawMask, survey_masks
from kerazoo.files.pairs import Pair, pairs_of
from kerazoo.files.read import is_grey, open_stack, read_image

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
    grey: int
    """How many of the images are stored as colour, but are grey and read as one channel."""
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


def survey(data: DataConfig, *, patches: bool = False) -> Survey:
    """Measure a data set.

    Parameters
    ----------
    data
        Where images and annotations are, how images are opened, and what is known of the masks: what it sets itself is
        not measured. Its annotation is `image` where every image has one class.
    patches
        Whether patches of class masks have one class each.

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
    images, raw = _read(chosen, data, whole=whole)
    shapes, categories = [image.shape for image in images], None
    if whole:
        found = MaskSurvey("image", "one class per image")
        categories = categories_of_images(pairs, chosen, shapes)
    else:
        found, masks = survey_masks(raw, data, patches=patches)
        if patches and found.annotation == "classes":
            categories = categories_of_masks(masks, found, min(map(min, shapes)))
            found = dataclasses.replace(found, reason="one class per value of the masks")
    low, dark, bright, high = np.array([image.values for image in images]).T.tolist()
    pixel_sizes = {image.pixel_size for image in images}
    return Survey(
        images=len(pairs),
        measured=len(chosen),
        smallest=min(shapes, key=min),
        largest=max(shapes, key=max),
        channels=images[0].channels,
        grey=sum(image.grey and image.channels == 1 for image in images),
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
    grey: bool
    """Whether it is stored as colour, with the same red, green and blue."""
    dtype: str
    values: list[float]
    """Percentiles 0, 1, 99.8 and 100."""
    pixel_size: float | None
    """Micrometres."""


def _read(pairs: list[Pair], data: DataConfig, *, whole: bool) -> tuple[list[_Image], list[RawMask]]:
    """The images, and their masks unless whole images have a class; such an image may be constant."""
    images, masks, coloured = [], [], None
    for pair in pairs:
        image, size = read_image(pair.image, **data.reading()), open_stack(pair.image, **data.reading()).pixel_size
        height, width, channels = image.shape
        grey = channels == 3 and is_grey(image)
        if channels == 3 and not grey:
            coloured = coloured or pair
        values = np.percentile(image, (0, 1, 99.8, 100)).tolist()
        pixel_size = None if size is None else round(size[1], 4)
        images.append(_Image((height, width), channels, grey, str(image.dtype), values, pixel_size))
        if whole:
            continue
        if values[0] == values[-1]:
            raise UserError(f"{pair.image} is constant (all pixels are {values[0]:g}): export it again or remove it.")
        masks.append(RawMask(pair, (height, width), data))
    if coloured is None:
        images = [image._replace(channels=1) if image.grey else image for image in images]
    for pair, image in zip(pairs, images, strict=True):
        if image.channels != images[0].channels:
            raise UserError(
                f"{pair.image} and {pairs[0].image.name} differ in the number of channels, {image.channels} and "
                f"{images[0].channels}: convert them to the same, or pick those that all have with --channel "
                "(data.channel)."
            )
    return images, masks
