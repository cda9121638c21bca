"""A classifier's head, trained on features that are computed once: a fixed encoder gives the same ones each epoch."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerazoo.config import Config
from kerazoo.data.patch_batches import Order, plain_patches
from kerazoo.data.patches import Patches
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
        forward = tf.function(lambda x: tf.cast(encoder(x, training=False), tf.float32), reduce_retracing=True)

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

        def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            x, y = tf.numpy_function(make, [step], (tf.float32, tf.uint8))
            x.set_shape((config.training.batch_size, self._train_features.shape[1]))
            y.set_shape((config.training.batch_size, 1))
            return x, y

        return tf.data.Dataset.range(step, np.iinfo(np.int64).max).map(batch).prefetch(tf.data.AUTOTUNE)

    def validation(self) -> tf.data.Dataset:
        """All that is held out, once."""
        arrays = self._validation_features, self._validation.category[:, None].astype(np.uint8)
        return tf.data.Dataset.from_tensor_slices(arrays).batch(self._batch)


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
