"""The classes that images or patches have: how many of each, and whether the size of an image gives its class away."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from bmzpack.errors import UserError
from kerazoo.data.mask_survey import MaskSurvey
from kerazoo.data.patches import Patch, patches_of_mask
from kerazoo.files.pairs import Pair

PURITY = 0.85
SIDES = (224, 160, 128, 96, 64, 48, 32)
"""Sides of patches that are tried in annotated images, in pixels."""
ENOUGH = 20
"""So many patches of every class should be there, in at least two images."""


@dataclasses.dataclass(frozen=True)
class Categories:
    """The classes of a data set in which every image or patch has one."""

    names: list[str]
    counts: list[int]
    """Images of each class, or patches of annotated images."""
    side: int
    """Side of patches that suits the images, in pixels."""
    guessed: float = 0.0
    """Part of the images whose class follows from their size alone, see `guessed_by_size`; 0 of annotated images."""
    size_tells_class: bool = False
    """Whether it follows more often than by chance: a network may learn that instead. By a tenth of the images at
    least, and by two standard deviations of what chance gives."""

    @property
    def by_chance(self) -> float:
        """Part of the images whose class is guessed where all are taken for the most frequent one."""
        return max(self.counts) / sum(self.counts)


def categories_of_images(
    pairs: Sequence[Pair], measured: Sequence[Pair], shapes: Sequence[tuple[int, int]]
) -> Categories:
    """The classes of images that have one each.

    Parameters
    ----------
    pairs
        All images.
    measured, shapes
        Those that were read, and their sizes (y, x) in pixels.

    Raises
    ------
    UserError
        There are fewer than two classes.
    """
    counted = Counter(str(pair.category) for pair in pairs)
    names = sorted(counted)
    if len(names) < 2:
        raise UserError(f"All images are of the class {names[0]!r}: at least two classes are needed.")
    guessed = guessed_by_size(np.array(shapes), np.array([names.index(str(pair.category)) for pair in measured]))
    shortest = min(map(min, shapes))
    found = Categories(names, [counted[name] for name in names], shortest if shortest <= 256 else 224, guessed)
    spread = math.sqrt(found.by_chance * (1 - found.by_chance) / len(measured))
    return dataclasses.replace(found, size_tells_class=guessed >= found.by_chance + max(0.1, 2 * spread))


def categories_of_masks(masks: Sequence[np.ndarray], measured: MaskSurvey, shortest: int) -> Categories:
    """The classes of patches of annotated images, with the largest side of which there are enough of every class.

    Parameters
    ----------
    masks
        Class indices, int (y, x).
    measured
        What was measured on them.
    shortest
        Shortest side of an image in pixels.
    """
    names = measured.settings["classes"]
    count, present = len(names), sum(part > 0 for part in measured.fractions.values())
    best = np.zeros(count, int)
    side = shortest
    for side in [side for side in SIDES if side <= shortest] or [shortest]:
        cut = Patch(size=side, stride=max(1, side // 2), purity=PURITY)
        found = [np.bincount(patches_of_mask(mask, cut, count)[:, 2], minlength=count) for mask in masks]
        best, images = np.sum(found, axis=0), np.sum([part > 0 for part in found], axis=0)
        if ((best >= ENOUGH) & (images >= 2)).sum() == present:
            break
    return Categories(names, best.tolist(), side)


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
