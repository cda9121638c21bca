"""What label images in a TensorFlow graph have in common: areas, small objects, numbers without gaps."""

from __future__ import annotations

import tensorflow as tf


def areas_of(labels: tf.Tensor) -> tf.Tensor:
    """Pixels of every label from 0 on, int32."""
    flat = tf.reshape(labels, [-1])
    return tf.math.unsorted_segment_sum(tf.ones_like(flat), flat, tf.reduce_max(flat) + 1)


def keep(labels: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """The labels for which ``kept`` is true, numbered without gaps in the same order; 0 stays background."""
    kept = tf.concat([[False], kept[1:]], 0)
    return tf.gather(tf.where(kept, tf.cumsum(tf.cast(kept, tf.int32)), 0), labels)


def finished(labels: tf.Tensor, minimum_size: int) -> tf.Tensor:
    """Remove small objects, and give the label image (y, x) the form of an output: (1, y, x, 1), float32."""
    labels = keep(labels, areas_of(labels) >= max(minimum_size, 1))
    return tf.cast(labels, tf.float32)[None, :, :, None]
