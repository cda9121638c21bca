"""What images with classes are like: measured for `kerazoo init`, so that a classifier's configuration starts there."""

from __future__ import annotations

import collections
import dataclasses
import math

import numpy as np

from bmzpack.errors import UserError
from kerazoo.config import DataConfig
from kerazoo.data.patches import Patch, patches_of_mask
from kerazoo.data.survey import survey
from kerazoo.files.pairs import pairs_of
from kerazoo.files.read import open_stack, read_image, read_mask

PURITY = 0.85
SIZES = (224, 160, 128, 96, 64, 48, 32)
"""Sides of patches that are tried in annotated images, in pixels."""
ENOUGH = 20
"""So many patches of every class are wanted, in at least two images."""
_MOST_IMAGES = 500
"""Of a larger set so many images are read, evenly spaced; all are counted."""


@dataclasses.dataclass(frozen=True)
class ClassSurvey:
    """A data set of a classifier in numbers."""

    images: int
    measured: int
    """How many of the images were read."""
    classes: list[str]
    counts: list[int]
    """Images of each class, or patches of annotated images."""
    smallest: tuple[int, int]
    """(y, x) of the image with the shortest side."""
    largest: tuple[int, int]
    """(y, x) of the image with the longest side."""
    told_by_size: float
    """Part of the images whose class their size alone tells, see `guessed_by_size`; 0 for annotated images."""
    channels: int
    dtypes: tuple[str, ...]
    intensity: tuple[float, float]
    """Smallest and largest value of all images."""
    brightest: float
    """Largest of the images' percentiles 99.8: a few hot pixels do not count."""
    pixel_size: float | None
    """Micrometres, where all files state the same."""
    patch: int
    """A side that suits the images, in pixels."""
    ignore: int | None = None
    """A mask value that seems to mean: not annotated."""

    @property
    def by_chance(self) -> float:
        """Part of the images whose class is guessed where all are taken for the most frequent one."""
        return max(self.counts) / sum(self.counts)

    @property
    def size_tells_class(self) -> bool:
        """Whether the size of an image tells its class more often than chance: a network may learn that instead.

        By a tenth of the images at least, and by two standard deviations of what chance gives.
        """
        spread = math.sqrt(self.by_chance * (1 - self.by_chance) / self.measured)
        return self.told_by_size >= self.by_chance + max(0.1, 2 * spread)


def guessed_by_size(sizes: np.ndarray, categories: np.ndarray) -> float:
    """Part of the images whose class is that of most others of the same size, or of the nearest size where none has it.

    Parameters
    ----------
    sizes
        Int (image, 2), in pixels.
    categories
        Class indices, int (image,).

    Returns
    -------
    float
        Every image is left out where its own class is guessed; where several classes are equally frequent, it counts
        in part.
    """
    present, size = np.unique(sizes, axis=0, return_inverse=True)
    size = size.reshape(-1)
    counts = np.zeros((len(present), categories.max() + 1), int)
    np.add.at(counts, (size, categories), 1)
    others = counts[size]
    others[np.arange(len(others)), categories] -= 1
    if len(present) > 1:
        alone = others.sum(axis=1) == 0
        apart = ((sizes[alone, None] - present) ** 2).sum(axis=2).astype(float)
        apart[np.arange(len(apart)), size[alone]] = np.inf
        nearest = apart == apart.min(axis=1, keepdims=True)
        others[alone] = nearest.astype(int) @ counts
    best = others == others.max(axis=1, keepdims=True)
    return float((best[np.arange(len(best)), categories] / best.sum(axis=1)).mean())


def survey_classes(data: DataConfig) -> ClassSurvey:
    """Measure a data set of a classifier.

    Parameters
    ----------
    data
        Where images and classes are, and the axes where they are ambiguous.

    Returns
    -------
    ClassSurvey
        Of all images, or of 500 of them if there are more.

    Raises
    ------
    UserError
        A file cannot be used, the images have different numbers of channels, there are fewer than two classes, or the
        masks are not of classes.
    """
    return _of_images(data) if data.annotation == "image" else _of_masks(data)


def _of_images(data: DataConfig) -> ClassSurvey:
    pairs = pairs_of(data)
    counted = collections.Counter(str(pair.category) for pair in pairs)
    classes = sorted(counted)
    if len(classes) < 2:
        raise UserError(f"All images are of the class {classes[0]!r}: at least two classes are needed.")
    places = np.unique(np.linspace(0, len(pairs) - 1, _MOST_IMAGES).round().astype(int))
    shapes, dtypes, low, bright, high = [], set(), [], [], []
    pixel_sizes: set[float | None] = set()
    channels = 0
    for pair in (pairs[place] for place in places):
        image = read_image(pair.image, data.axes)
        channels = channels or image.shape[2]
        if image.shape[2] != channels:
            raise UserError(
                f"{pair.image} has {image.shape[2]} channels, {pairs[0].image.name} has {channels}: convert them "
                "to the same."
            )
        shapes.append(image.shape[:2])
        dtypes.add(str(image.dtype))
        low.append(float(image.min()))
        bright.append(float(np.percentile(image, 99.8)))
        high.append(float(image.max()))
        size = open_stack(pair.image, data.axes).pixel_size
        pixel_sizes.add(round(size[1], 4) if size is not None else None)
    shortest = min(map(min, shapes))
    return ClassSurvey(
        images=len(pairs),
        measured=len(places),
        classes=classes,
        counts=[counted[name] for name in classes],
        smallest=min(shapes, key=min),
        largest=max(shapes, key=max),
        told_by_size=guessed_by_size(
            np.array(shapes), np.array([classes.index(str(pairs[place].category)) for place in places])
        ),
        channels=channels,
        dtypes=tuple(sorted(dtypes)),
        intensity=(min(low), max(high)),
        brightest=max(bright),
        pixel_size=pixel_sizes.pop() if len(pixel_sizes) == 1 else None,
        patch=shortest if shortest <= 256 else 224,
    )


def _of_masks(data: DataConfig) -> ClassSurvey:
    measured = survey(data.model_copy(update={"annotation": "labels", "classes": []}))
    if measured.annotation == "labels":
        raise UserError(
            f"A classifier needs class masks, but these are of objects: {measured.reason}. Use unet2d, or masks with "
            "one value per class."
        )
    pairs = pairs_of(data)
    count = max(measured.fractions) + 1
    masks = [read_mask(pair.mask, "labels") for pair in pairs if pair.mask is not None]
    shortest = min(measured.smallest)
    sizes = [size for size in SIZES if size <= shortest] or [shortest]
    best = np.zeros(count, int)
    patch = sizes[-1]
    for patch in sizes:
        cut = Patch(size=patch, stride=max(1, patch // 2), purity=PURITY)
        found = [
            np.bincount(patches_of_mask(mask, cut, count, measured.ignore)[:, 2], minlength=count) for mask in masks
        ]
        best, images = np.sum(found, axis=0), np.sum([part > 0 for part in found], axis=0)
        enough = (best >= ENOUGH) & (images >= 2)
        if enough.sum() == len(measured.fractions):
            break
    return ClassSurvey(
        images=measured.images,
        measured=measured.measured,
        classes=[f"class{value}" for value in range(count)],
        counts=best.tolist(),
        smallest=measured.smallest,
        largest=measured.largest,
        told_by_size=0.0,
        channels=measured.channels,
        dtypes=measured.dtypes,
        intensity=measured.intensity,
        brightest=measured.brightest,
        pixel_size=measured.pixel_size,
        patch=patch,
        ignore=measured.ignore,
    )
