"""From patches in memory to batches: balanced, augmented, normalised, in parallel and in a fixed order.

As in `kerazoo.data.pipeline`, images stay in memory in their own type, and a training element depends on the seed, the
global step and its place in the batch only.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import tensorflow as tf

from kerazoo.config import Config
from kerazoo.data.augment import change_intensities, random_map
from kerazoo.data.patches import Patches
from kerazoo.data.pipeline import aligned, batches

_TURNS = 256
"""Turns of the classes whose order is drawn at once: a generator for each would take longer than a patch."""


def is_augmented(config: Config) -> bool:
    """Whether a patch is another one each time it is shown."""
    return any(config.augmentation.model_dump().values())


class Order:
    """Which patch is shown at which place of a training without end.

    Parameters
    ----------
    category
        Class index of each patch, int (patch,).
    balance
        Whether all classes take turns. Every patch (of a class) is shown once before one is shown again.
    seed
        Another one gives another order.
    """

    def __init__(self, category: np.ndarray, balance: bool, seed: int) -> None:
        self._groups = [np.flatnonzero(category == value) for value in np.unique(category)]
        if not balance:
            self._groups = [np.arange(len(category))]
        self._seed = seed
        self._permutation = functools.lru_cache(maxsize=64)(self._draw)
        self._turns = functools.lru_cache(maxsize=8)(self._draw_turns)

    def __getitem__(self, place: int) -> int:
        """The index of the patch."""
        turn, slot = divmod(place, len(self._groups))
        group = self._turns(turn // _TURNS)[turn % _TURNS, slot]
        members = self._groups[group]
        time, member = divmod(turn, len(members))
        return int(members[self._permutation(len(members), 1 + int(group), time)[member]])

    def batch(self, step: int, size: int) -> list[int]:
        """The indices of the patches of a step."""
        return [self[place] for place in range(step * size, (step + 1) * size)]

    def _draw(self, length: int, group: int, time: int) -> np.ndarray:
        return np.random.default_rng((self._seed, group, time)).permutation(length)

    def _draw_turns(self, time: int) -> np.ndarray:
        groups = np.tile(np.arange(len(self._groups)), (_TURNS, 1))
        return np.random.default_rng((self._seed, 0, time)).permuted(groups, axis=1)


def training_patches(patches: Patches, config: Config, start_step: int = 0) -> tf.data.Dataset:
    """Augmented patches without end, in the order of `Order`.

    Parameters
    ----------
    patches
        The training patches, at least one.
    config
        Its ``training``, ``augmentation`` and ``targets.balance`` are used.
    start_step
        The global step of the first batch.

    Returns
    -------
    tf.data.Dataset
        Of (x, y): normalised patches (batch, patch, patch, channel) float32, and class indices (batch, 1) uint8.
    """
    batch, seed = config.training.batch_size, config.training.seed
    shapes = _shapes(patches, config)
    order = Order(patches.category, config.targets.balance, seed)
    augmented = is_augmented(config)

    def make(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = aligned((batch, *shapes[0]), np.float32), aligned((batch, 1), np.uint8)
        random = np.random.default_rng((seed, int(step), 0))
        for position, index in enumerate(order.batch(int(step), batch)):
            y[position] = patches.category[index]
            if augmented:
                _augment(patches, index, config, random, out=x[position])
            else:
                x[position] = patches.normalised(index)
        return x, y

    return batches(tf.data.Dataset.range(start_step, np.iinfo(np.int64).max), make, shapes)


def plain_patches(patches: Patches, config: Config) -> tf.data.Dataset:
    """All patches once, in their order, without augmentation; the last batch may be smaller.

    Parameters
    ----------
    patches, config
        As for `training_patches`.

    Returns
    -------
    tf.data.Dataset
        Of (x, y) as `training_patches`, finite and always the same.
    """
    batch, shapes = config.training.batch_size, _shapes(patches, config)

    def make(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chosen = range(int(step) * batch, min((int(step) + 1) * batch, len(patches)))
        x, y = aligned((len(chosen), *shapes[0]), np.float32), aligned((len(chosen), 1), np.uint8)
        for position, index in enumerate(chosen):
            x[position], y[position] = patches.normalised(index), patches.category[index]
        return x, y

    return batches(tf.data.Dataset.range(math.ceil(len(patches) / batch)), make, shapes)


def _augment(patches: Patches, index: int, config: Config, random: np.random.Generator, out: np.ndarray) -> None:
    source, (top, left) = patches.source[index], patches.corner[index].tolist()
    image = patches.samples[source].image
    changes = config.augmentation
    place = random_map(random, changes, image.shape[:2], patches.size, corner=(top, left), shift=changes.shift)
    change_intensities(random, changes, place.resample_image(image), patches.intensities[source], out)


def _shapes(patches: Patches, config: Config) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (patches.size, patches.size, config.data.channels), (1,)
