"""The image of which a bundle's test tensors are made."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from bmzpack.errors import UserError
from kerazoo.config import Config, DataConfig
from kerazoo.data.patches import Patch, patches_of_mask
from kerazoo.files.annotations.read import read_annotation
from kerazoo.files.pairs import load_pair
from kerazoo.files.read import open_stack, read_image
from kerazoo.models.registry import family_of_kind
from kerazoo.runs.run import Run


def sample_image(run: Run, config: Config) -> tuple[np.ndarray, dict[str, float] | None]:
    """A validation image with something on it, and its pixel size."""
    entries = run.split.validation
    if not entries:
        raise UserError(
            f"{run.path} has no validation images, of which the test tensors are made: name an image that the network "
            "is made for, with --image."
        )
    pairs = run.held_out()
    missing = [pair.image for pair in pairs if not pair.image.is_file()]
    if missing:
        raise UserError(
            f"{run.path}: the validation image {missing[0]} is gone: put it back, the test tensors are cut out of it."
        )
    data, recipe = config.data, run.recipe
    if recipe.patch is not None:
        return _mosaic(run, recipe.patch), pixel_size_of(pairs[0].image, data)
    for pair in pairs:
        image = read_image(pair.image, channels=data.channels, **data.reading())
        if pair.mask and pair.mask.exists():
            mask = read_annotation(pair.mask, data, pair.image.name, image.shape[:2])
            if np.ptp(mask) > 0:
                return image, pixel_size_of(pair.image, data)
    first = pairs[0].image
    return read_image(first, channels=data.channels, **data.reading()), pixel_size_of(first, data)


def pixel_size_of(image: str | os.PathLike[str], data: DataConfig) -> dict[str, float] | None:
    size = open_stack(Path(image), channels=data.channels, **data.reading()).pixel_size
    return size and {"y": size[0], "x": size[1]}


def _mosaic(run: Run, patch: Patch) -> np.ndarray:
    """Validation patches of all classes in turns, side by side, as large as the packed network's input."""
    config, grid = run.config, family_of_kind(run.recipe.targets).patches_per_side(run.recipe)
    by_class: dict[int, list[np.ndarray]] = {}
    for pair in run.held_out():
        sample = load_pair(pair, config.data)
        for y, x, category in patches_of_mask(sample.mask, patch, len(config.data.classes), config.data.ignored):
            by_class.setdefault(int(category), []).append(sample.image[y : y + patch.size, x : x + patch.size])
    random = np.random.default_rng(0)
    classes = sorted(by_class)
    chosen = [by_class[category][index] for category, index in _turns(classes, by_class, grid**2, random)]
    rows = [np.concatenate(chosen[row * grid : (row + 1) * grid], axis=1) for row in range(grid)]
    return np.concatenate(rows)


def _turns(
    classes: list[int], members: dict[int, list[np.ndarray]], count: int, random: np.random.Generator
) -> list[tuple[int, int]]:
    """Class and member of so many patches: classes in turns, members in a random order, all before one comes again."""
    orders = {category: random.permutation(len(members[category])) for category in classes}
    taken = [divmod(place, len(classes)) for place in range(count)]
    chosen = [(classes[slot], int(orders[classes[slot]][turn % len(orders[classes[slot]])])) for turn, slot in taken]
    return [chosen[place] for place in random.permutation(count)]
