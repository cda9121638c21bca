"""A classifier's head, trained on features that are computed once: a fixed encoder gives the same ones each epoch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerazoo.config import Config
from kerazoo.data.patch_batches import Order, plain_patches
from kerazoo.data.patches import Patches
from kerazoo.data.pipeline import batches
from kerazoo.models.patches.network import FEATURES
from kerazoo.training.feed import PatchFeed


@dataclasses.dataclass(frozen=True)
class Head:
    """The layers behind the features, shared with the network, and what they are fed with."""

    model: Any
    """From `features` (batch, feature) to the network's output."""
    feed: FeatureFeed


class FeatureFeed:
    """Features of the patches of a `PatchFeed`, in the same order.

    Parameters
    ----------
    feed
        Without augmentation.
    encoder
        From patches to features.
    """

    def __init__(self, feed: PatchFeed, encoder: keras.Model) -> None:
        patch = tf.TensorSpec((None, *encoder.inputs[0].shape[1:]), tf.float32)
        forward = tf.function(lambda x: tf.cast(encoder(x, training=False), tf.float32), input_signature=[patch])

        def features(patches: Patches) -> np.ndarray:
            return np.concatenate([forward(x).numpy() for x, _ in plain_patches(patches, feed.config)])

        self.steps, self.counts, self.about = feed.steps, feed.counts, feed.about
        self._train, self._validation = feed.train_patches.category, feed.validation_patches.category
        self._train_features, self._validation_features = (
            features(feed.train_patches),
            features(feed.validation_patches),
        )
        self._batch = feed.config.training.batch_size

    def training(self, config: Config, step: int) -> tf.data.Dataset:
        """Batches of (features, class index) without end, from a global step on."""
        size = config.training.batch_size
        order = Order(self._train, config.targets.balance, config.training.seed)
        steps = tf.data.Dataset.range(step, np.iinfo(np.int64).max)
        return _batches(steps, self._train_features, self._train, lambda step: order.batch(step, size))

    def validation(self) -> tf.data.Dataset:
        """All that is held out, once."""
        every, size = np.arange(len(self._validation)), self._batch
        steps = tf.data.Dataset.range(math.ceil(len(every) / size))
        return _batches(
            steps, self._validation_features, self._validation, lambda step: every[step * size : (step + 1) * size]
        )


def _batches(
    steps: tf.data.Dataset, features: np.ndarray, category: np.ndarray, chosen: Callable[[int], np.ndarray | list[int]]
) -> tf.data.Dataset:
    """Features and classes of the patches that are chosen for each step; copies, which TensorFlow may take over."""

    def make(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        places = chosen(int(step))
        return features[places], category[places, None].astype(np.uint8)

    return batches(steps, make, (features.shape[1:], (1,)))


def head_of(model: keras.Model, feed: PatchFeed) -> Head:
    """The head of a classifier with the features of all its patches.

    Parameters
    ----------
    model
        A network with a layer `kerazoo.models.patches.network.FEATURES`, behind which one layer follows the other.
    feed
        Without augmentation.
    """
    names = [layer.name for layer in model.layers]
    features = model.get_layer(FEATURES).output
    x = inputs = keras.Input(features.shape[1:], name=FEATURES)
    for name in names[names.index(FEATURES) + 1 :]:
        x = model.get_layer(name)(x)
    return Head(keras.Model(inputs, x), FeatureFeed(feed, keras.Model(model.inputs, features)))
