"""Feeding the training with prompts: patches as for all networks for objects, and first prompts of some objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from kerazoo.config import Config
from kerazoo.data.feed import Feed
from kerazoo.models.sam.prompts import FIRST_CORNER, FOREGROUND, LAST_CORNER, PADDING

JITTER = 0.025
"""Largest displacement of a box's corners, as a part of its sides."""
SMALLEST = 10
"""Pixels: smaller parts of objects are not asked for."""


class PromptFeed:
    """Adds to the patches of another feed what to ask for; see `kerazoo.data.feed.Feed`.

    Its batches are inputs and targets of `kerazoo.models.sam.training.prompted`.

    Parameters
    ----------
    patches
        Their targets are those of `kerazoo.models.sam.targets.MapTarget`.
    objects, corrections
        Objects of every patch that are asked for, and corrections of each that are prepared.
    """

    def __init__(self, patches: Feed, objects: int, corrections: int) -> None:
        self._patches, self._objects, self._corrections = patches, objects, corrections
        self.steps, self.counts, self.about = patches.steps, patches.counts, patches.about

    def training(self, config: Config, step: int) -> tf.data.Dataset:
        return self._prompted(self._patches.training(config, step), step, config.training.seed)

    def validation(self) -> tf.data.Dataset:
        return self._prompted(self._patches.validation(), 0, 0)

    def of_features(self, encoder: Any) -> None:
        """See `kerazoo.data.feed.Feed`: random parts are others each time."""

    def _prompted(self, data: tf.data.Dataset, first: int, seed: int) -> tf.data.Dataset:
        count, corrections = self._objects, self._corrections
        shapes = ((count,), (count, 2, 2), (count, 2), (count, corrections, 2), (count,))

        def choose(labels: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, ...]:
            random = np.random.default_rng((seed, int(step), 1))
            parts = [prompts_of(patch, random, count, corrections) for patch in labels]
            return tuple(np.stack(arrays) for arrays in zip(*parts, strict=True))

        def add(batch: Any, step: Any) -> Any:
            inputs, targets = batch
            (target,) = targets.values()
            labels = target[..., 3]
            types = (tf.float32, tf.float32, tf.int32, tf.float32, tf.float32)
            arrays = tf.numpy_function(choose, [labels, step], types)
            for array, shape in zip(arrays, shapes, strict=True):
                array.set_shape((None, *shape))
            chosen, points, kinds, noise, weights = arrays
            asked = {"label_image": labels, "objects": chosen, "points": points, "labels": kinds, "noise": noise}
            return {**inputs, **asked}, {"maps": target, "prompts": weights}

        steps = tf.data.Dataset.range(first, np.iinfo(np.int64).max)
        options = tf.data.Options()
        options.autotune.enabled = False
        pairs = tf.data.Dataset.zip((data, steps))
        return pairs.map(add, num_parallel_calls=2, deterministic=True).prefetch(2).with_options(options)


def prompts_of(
    labels: np.ndarray, random: np.random.Generator, count: int, corrections: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Objects of a patch that are asked for, and the first prompt of each: a point in it, or a box around it.

    Parameters
    ----------
    labels
        Label image (y, x), float32.
    random
        Source of all that is random.
    count, corrections
        Objects, and corrections of each.

    Returns
    -------
    objects : numpy.ndarray
        float32 (object,): labels, each several times where the patch has few; -1 where it has none.
    points : numpy.ndarray
        float32 (object, 2, 2): a point and nothing, or two corners, x and y in pixels.
    kinds : numpy.ndarray
        int32 (object, 2): see `kerazoo.models.sam.prompts`.
    noise : numpy.ndarray
        float32 (object, correction, 2), between 0 and 1: which wrong pixel is pointed at, and whether the mask is a
        prompt.
    weights : numpy.ndarray
        float32 (object,): 1, or 0 where the patch has no object.
    """
    noise = random.random((count, corrections, 2), np.float32)
    points, kinds = np.zeros((count, 2, 2), np.float32), np.full((count, 2), PADDING, np.int32)
    numbers = labels.astype(np.int32)
    areas = np.bincount(np.maximum(numbers, 0).ravel())
    areas[0] = 0
    known = np.flatnonzero(areas >= SMALLEST)
    if not len(known):
        return np.full(count, -1, np.float32), points, kinds, noise, np.zeros(count, np.float32)
    chosen = np.concatenate([random.permutation(known) for _ in range(-(-count // len(known)))])[:count]
    for place, label in enumerate(chosen):
        y, x = np.nonzero(numbers == label)
        if random.random() < 0.5:
            pixel = random.integers(len(y))
            points[place, 0], kinds[place, 0] = (x[pixel], y[pixel]), FOREGROUND
        else:
            corners = np.array([[x.min(), y.min()], [x.max(), y.max()]], np.float32)
            change = random.uniform(-JITTER, JITTER, (2, 2)) * (corners[1] - corners[0] + 1)
            points[place], kinds[place] = corners + change, (FIRST_CORNER, LAST_CORNER)
    return chosen.astype(np.float32), points, kinds, noise, np.ones(count, np.float32)
