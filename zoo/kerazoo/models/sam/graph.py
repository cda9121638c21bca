"""All objects as TensorFlow operations, for the end of a graph: from maps to labels.

What `kerazoo.models.sam.decoding` does, for images of up to 16,777,216 pixels: labels are float32 on the way.
"""

from __future__ import annotations

import tensorflow as tf

from kerazoo.models.sam.decoding import LEVELS
from kerazoo.models.shared.label_graph import finished


def find_objects(output: tf.Tensor, *, threshold: float, seed_threshold: float, minimum_size: int) -> tf.Tensor:
    """Label image of a network output.

    Parameters
    ----------
    output
        Foreground, distance to the centre and distance to the boundary (1, y, x, 3), float32.
    threshold, seed_threshold, minimum_size
        As for `kerazoo.models.sam.decoding.objects_of_maps`.

    Returns
    -------
    tf.Tensor
        Labels 1, 2, ... of the objects, 0 elsewhere (1, y, x, 1), float32.
    """
    boundary = output[0, :, :, 2]
    foreground = output[0, :, :, 0] > threshold
    labels = _components(foreground & (output[0, :, :, 1] < seed_threshold) & (boundary < seed_threshold))
    for level in LEVELS:
        labels = _grown(labels, foreground & (boundary < level))
    others = _components(foreground & (labels == 0))
    labels = tf.where(others > 0, others + tf.reduce_max(labels), labels)
    return finished(tf.cast(labels, tf.int32), minimum_size)


def _components(mask: tf.Tensor) -> tf.Tensor:
    """Parts that touch at sides or corners, numbered by their last pixel row by row, float32 (y, x)."""
    shape = tf.shape(mask)
    own = tf.reshape(tf.cast(tf.range(1, tf.size(mask) + 1), tf.float32), shape)
    start = tf.where(mask, own, 0.0)

    def step(labels, _):
        # the largest number around, and the largest that is known where that is
        spread = tf.where(mask, _largest_around(labels), 0.0)
        flat = tf.concat([[0.0], tf.reshape(spread, [-1])], 0)
        spread = tf.maximum(spread, tf.gather(flat, tf.cast(spread, tf.int32)))
        return spread, tf.reduce_any(spread > labels)

    labels, _ = tf.while_loop(lambda labels, changed: changed, step, (start, tf.reduce_any(mask)))
    ranks = tf.cumsum(tf.reshape(tf.cast(mask & (labels == own), tf.float32), [-1]))
    return tf.gather(tf.concat([[0.0], ranks], 0), tf.cast(labels, tf.int32)) * tf.cast(mask, tf.float32)


def _grown(labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Labels after they have grown over a mask, one pixel after the other."""

    def step(labels, _):
        new = tf.where(mask & (labels == 0), _largest_around(labels), labels)
        return new, tf.reduce_any(new > labels)

    return tf.while_loop(lambda labels, changed: changed, step, (labels, tf.constant(True)))[0]


def _largest_around(labels: tf.Tensor) -> tf.Tensor:
    return tf.nn.max_pool2d(labels[None, :, :, None], 3, 1, "SAME")[0, :, :, 0]
