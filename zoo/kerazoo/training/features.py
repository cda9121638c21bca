"""A classifier's head, trained on features that are computed once: a fixed encoder gives the same ones each epoch."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerazoo.config import Config
from kerazoo.data.patch_batches import Order, plain_patches
from kerazoo.data.patches import Patches
from kerazoo.data.pipeline import batches
from kerazoo.models.classifiers import FEATURES
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
        self._train, self._validation = feed.train_patches, feed.validation_patches
        self._train_features, self._validation_features = features(self._train), features(self._validation)
        self._batch = feed.config.training.batch_size

    def training(self, config: Config, step: int) -> tf.data.Dataset:
        """Batches of (features, class index) without end, from a global step on."""
        order = Order(self._train.category, config.targets.balance, config.training.seed)

        def make(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            chosen = order.batch(int(step), config.training.batch_size)
            return self._train_features[chosen], self._train.category[chosen, None].astype(np.uint8)

        shapes = self._train_features.shape[1:], (1,)
        return batches(tf.data.Dataset.range(step, np.iinfo(np.int64).max), make, shapes)

    def validation(self) -> tf.data.Dataset:
        """All that is held out, once."""

        def make(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            chosen = slice(int(step) * self._batch, (int(step) + 1) * self._batch)
            return self._validation_features[chosen].copy(), self._validation.category[chosen, None].astype(np.uint8)

        steps = math.ceil(len(self._validation) / self._batch)
        return batches(tf.data.Dataset.range(steps), make, (self._validation_features.shape[1:], (1,)))


def head_of(model: keras.Model, feed: PatchFeed) -> Head:
    """The head of a classifier with the features of all its patches.

    Parameters
    ----------
    model
        A network with a layer `kerazoo.models.classifiers.FEATURES`, behind which one layer follows the other.
    feed
        Without augmentation.
    """
    names = [layer.name for layer in model.layers]
    features = model.get_layer(FEATURES).output
    x = inputs = keras.Input(features.shape[1:], name=FEATURES)
    for name in names[names.index(FEATURES) + 1 :]:
        x = model.get_layer(name)(x)
    return Head(keras.Model(inputs, x), FeatureFeed(feed, keras.Model(model.inputs, features)))
