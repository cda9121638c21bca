"""All objects as TensorFlow operations, for the end of a graph: from maps to labels.

What `kerazoo.models.sam.decoding` does, to the number.
"""

from __future__ import annotations

import tensorflow as tf

from kerazoo.models.sam.decoding import LEVELS
from kerazoo.models.shared.label_graph import components, finished, grown, neighbours_of


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
    foreground = output[0, :, :, 0] > threshold
    places = tf.cast(tf.where(foreground), tf.int32)
    pixels = tf.gather_nd(output[0], places)
    boundary = pixels[:, 2]
    neighbours = neighbours_of(places, tf.shape(foreground))
    labels = components((pixels[:, 1] < seed_threshold) & (boundary < seed_threshold), neighbours)
    for level in LEVELS:
        labels = grown(labels, boundary < level, neighbours)
    others = components(labels == 0, neighbours)
    labels = tf.where(others > 0, others + tf.reduce_max(tf.concat([labels, [0]], 0)), labels)
    return finished(tf.scatter_nd(places, labels, tf.shape(foreground)), minimum_size)
