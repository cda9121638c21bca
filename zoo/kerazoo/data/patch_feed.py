"""Feeding with patches that have one class each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from kerazoo.config import Config
from kerazoo.data import patch_batches
from kerazoo.data.feed import Named, named
from kerazoo.data.normalise import Normalisation
from kerazoo.data.patches import Patches, check_patches, cut_patches
from kerazoo.data.pipeline import batches, steps_per_epoch
from kerazoo.files.pairs import Sample


class PatchFeed:
    """Patches with a class index each; see `kerazoo.data.feed.Feed`.

    Parameters
    ----------
    train, validation, config, normalisation, inputs, targets
        As for `kerazoo.data.pixel_feed.PixelFeed`.

    Raises
    ------
    UserError
        An image does not fit, or one side lacks patches.
    """

    def __init__(
        self,
        train: Sequence[Sample],
        validation: Sequence[Sample],
        config: Config,
        normalisation: Normalisation,
        inputs: Named,
        targets: Named,
    ) -> None:
        self.config, self._inputs, self._targets = config, inputs, targets
        self.train_patches = cut_patches(train, config, normalisation)
        self.validation_patches = cut_patches(validation, config, normalisation)
        check_patches(self.train_patches, config, "train")
        check_patches(self.validation_patches, config, "validate")
        self.steps = steps_per_epoch(len(self.train_patches), config)
        self.counts = np.bincount(self.train_patches.category, minlength=len(config.data.classes))
        self.about = (
            f"{len(self.train_patches):,} patches of {len(train)} images to train and "
            f"{len(self.validation_patches):,} of {len(validation)} to validate"
        )

    def training(self, config: Config, step: int) -> tf.data.Dataset:
        data = patch_batches.training_patches(self.train_patches, config, start_step=step)
        return named(data, self._inputs, self._targets)

    def validation(self) -> tf.data.Dataset:
        return named(patch_batches.plain_patches(self.validation_patches, self.config), self._inputs, self._targets)

    def of_features(self, encoder: Any) -> FeatureFeed | None:
        """See `kerazoo.data.feed.Feed`: a fixed encoder gives the same features each epoch, if nothing is augmented."""
        return None if patch_batches.is_augmented(self.config) else FeatureFeed(self, encoder, self._targets)


class FeatureFeed:
    """Features of the patches of a `PatchFeed`, in the same order.

    Parameters
    ----------
    feed
        Without augmentation.
    encoder
        From patches to features, a `keras.Model`; its output's name is the input's name here.
    targets
        As for `PatchFeed`.
    """

    def __init__(self, feed: PatchFeed, encoder: Any, targets: Named) -> None:
        (image,), (self._name,) = encoder.inputs, encoder.output_names
        patch = tf.TensorSpec((None, *image.shape[1:]), tf.float32)
        forward = tf.function(lambda x: tf.cast(encoder(x, training=False), tf.float32), input_signature=[patch])

        def features(patches: Patches) -> np.ndarray:
            data = patch_batches.plain_patches(patches, feed.config)
            return np.concatenate([forward(x).numpy() for x, _ in data])

        self.steps, self.counts, self.about = feed.steps, feed.counts, feed.about
        self._train, self._validation = feed.train_patches.category, feed.validation_patches.category
        self._train_features, self._validation_features = (
            features(feed.train_patches),
            features(feed.validation_patches),
        )
        self._batch, self._targets = feed.config.training.batch_size, targets

    def training(self, config: Config, step: int) -> tf.data.Dataset:
        """Batches of (features, class index) without end, from a global step on."""
        size = config.training.batch_size
        order = patch_batches.Order(self._train, config.targets.balance, config.training.seed)
        steps = tf.data.Dataset.range(step, np.iinfo(np.int64).max)
        return self._batches(steps, self._train_features, self._train, lambda step: order.batch(step, size))

    def validation(self) -> tf.data.Dataset:
        """All that is held out, once."""
        every, size = np.arange(len(self._validation)), self._batch
        steps = tf.data.Dataset.range(math.ceil(len(every) / size))
        return self._batches(
            steps, self._validation_features, self._validation, lambda step: every[step * size : (step + 1) * size]
        )

    def of_features(self, encoder: Any) -> None:
        return None

    def _batches(
        self,
        steps: tf.data.Dataset,
        features: np.ndarray,
        category: np.ndarray,
        chosen: Callable[[int], np.ndarray | list[int]],
    ) -> tf.data.Dataset:
        """Features and classes of the patches that are chosen for each step; copies, which TensorFlow may take over."""

        def make(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            places = chosen(int(step))
            return features[places], category[places, None].astype(np.uint8)

        data = batches(steps, make, (features.shape[1:], (1,)))
        return named(data, lambda x: {self._name: x}, self._targets)
