"""Patches with one class each, cut out of annotated images.

Images that have a class of their own are annotated with it everywhere, so that both kinds of data are one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from bmzpack.errors import UserError
from bmzpack.settings import Section
from kerazoo.config import Config
from kerazoo.data.augment import Intensities, affine, intensities_of
from kerazoo.data.normalise import Normalisation
from kerazoo.files.pairs import Sample, check_image


class Patch(Section):
    """How patches are cut out of images, in pixels."""

    size: int
    """Side of the patches."""
    stride: int
    """Distance of those that are cut out of annotated images."""
    purity: float
    """Part of a patch that one class has to cover."""


@dataclasses.dataclass(frozen=True)
class Patches:
    """Patches of a set of images, in the order of the images, by row and column."""

    samples: list[Sample]
    intensities: list[Intensities]
    size: int
    """Side in pixels."""
    source: np.ndarray
    """Index of each patch's image, int (patch,)."""
    corner: np.ndarray
    """First pixel (y, x) of each patch, int (patch, 2)."""
    category: np.ndarray
    """Class index of each patch, int (patch,)."""

    def __len__(self) -> int:
        return len(self.source)

    def raw(self, index: int) -> np.ndarray:
        """The pixels of a patch as they were read, (y, x, channel)."""
        (y, x), image = self.corner[index], self.samples[self.source[index]].image
        return image[y : y + self.size, x : x + self.size]

    def normalised(self, index: int) -> np.ndarray:
        """A patch as the network takes it, (y, x, channel), float32."""
        numbers = self.intensities[self.source[index]]
        gain = 1 / numbers.scale
        # In float32 large offsets would not cancel where an image is constant.
        patch = self.raw(index).astype(np.float64, order="C")
        affine(patch, gain, -numbers.offset * gain, out=patch)
        return patch.astype(np.float32)


def patch_of(config: Config) -> Patch:
    """How a configuration wants patches cut."""
    size, targets = config.training.patch_size, config.targets
    return Patch(size=size, stride=targets.stride or max(1, size // 2), purity=targets.purity)


def cut_patches(samples: Sequence[Sample], config: Config, normalisation: Normalisation) -> Patches:
    """Cut all patches of which one class covers enough.

    Parameters
    ----------
    samples
        Images with their class masks.
    config
        Its ``training.patch_size``, ``targets`` and ``data`` are used.
    normalisation
        As fitted on the training images; its numbers are those of each whole image.

    Returns
    -------
    Patches
        May be none.

    Raises
    ------
    UserError
        An image is smaller than the patches or has another number of channels.
    """
    patch = patch_of(config)
    for sample in samples:
        check_image(sample, config, patch.size)
    found = [patches_of_mask(sample.mask, patch, len(config.data.classes), config.data.ignored) for sample in samples]
    return Patches(
        samples=list(samples),
        intensities=[intensities_of(sample.image, normalisation) for sample in samples],
        size=patch.size,
        source=np.repeat(np.arange(len(samples)), [len(part) for part in found]),
        corner=np.concatenate([part[:, :2] for part in found]),
        category=np.concatenate([part[:, 2] for part in found]),
    )


def patches_of_mask(mask: np.ndarray, patch: Patch, classes: int, ignore: int | None = None) -> np.ndarray:
    """Places of the patches of a class mask of which one class covers enough.

    Parameters
    ----------
    mask
        Class indices, int (y, x).
    patch
        Size, stride and purity. Beside the places at multiples of the stride, those at the right and lower edge are
        tried.
    classes
        Number of classes.
    ignore
        A mask value that is no class.

    Returns
    -------
    np.ndarray
        Rows of y, x of the first pixel, and the class that covers most, int (patch, 3).
    """
    rows, columns = (places(length, patch.size, patch.stride) for length in mask.shape)
    if mask.strides == (0, 0):  # an image with one class
        covered = np.zeros((classes, len(rows), len(columns)))
        covered[int(mask[0, 0])] = patch.size**2
    else:
        covered = np.stack([_covered(mask == value, rows, columns, patch.size) for value in range(classes)])
        if ignore is not None and ignore < classes:
            covered[ignore] = 0
    largest = covered.argmax(axis=0)
    pure = np.take_along_axis(covered, largest[None], axis=0)[0] >= patch.purity * patch.size**2
    y, x = np.nonzero(pure)
    return np.stack([rows[y], columns[x], largest[pure]], axis=1)


def places(length: int, size: int, stride: int) -> np.ndarray:
    """First pixels of the patches along an axis of so many pixels: every stride, and one at the end."""
    if length < size:
        return np.zeros(0, int)
    return np.unique(np.append(np.arange(0, length - size + 1, stride), length - size))


def _covered(of_class: np.ndarray, rows: np.ndarray, columns: np.ndarray, size: int) -> np.ndarray:
    """Pixels of a class in every patch (row, column)."""
    total = cv2.integral(of_class.astype(np.uint8))
    bottom, right = rows[:, None] + size, columns[None] + size
    top, left = rows[:, None], columns[None]
    return total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]


def check_patches(patches: Patches, config: Config, side: str) -> None:
    """Refuse a side of the split that lacks patches.

    Raises
    ------
    UserError
        There is none at all, or on the training side a class has none.
    """
    patch, present = patch_of(config), set(patches.category.tolist())
    absent = [name for index, name in enumerate(config.data.classes) if index not in present]
    if present and not (side == "train" and absent):
        return
    if config.data.annotation == "image" and present:
        raise UserError(
            f"No image to train is of the class {' or '.join(map(repr, absent))}, which would never be learned: add "
            "images, or take the name off data.classes."
        )
    of = f" of the class {' or '.join(map(repr, absent))}" if present else ""
    raise UserError(
        f"The images to {side} have no patch{of} of {patch.size} pixels of which one class covers at least "
        f"{patch.purity:.0%}: lower training.patch_size or targets.purity, annotate larger regions, or choose another "
        "split.seed; a class that is in no mask has no place in data.classes."
    )
