"""All objects as TensorFlow operations, for the end of a graph: from maps to labels.

What `kerazoo.models.sam.decoding` does, to the number. The pixels of the foreground are taken out of the image as a
list, each with the places of its neighbours in it, so that a step costs no more than there are pixels.
"""

from __future__ import annotations

import itertools

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
    foreground = output[0, :, :, 0] > threshold
    places = tf.cast(tf.where(foreground), tf.int32)
    pixels = tf.gather_nd(output[0], places)
    boundary = pixels[:, 2]
    neighbours = _neighbours(places, tf.shape(foreground))
    labels = _components((pixels[:, 1] < seed_threshold) & (boundary < seed_threshold), neighbours)
    for level in LEVELS:
        labels = _grown(labels, boundary < level, neighbours)
    others = _components(labels == 0, neighbours)
    labels = tf.where(others > 0, others + tf.reduce_max(tf.concat([labels, [0]], 0)), labels)
    return finished(tf.scatter_nd(places, labels, tf.shape(foreground)), minimum_size)


def _neighbours(places: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """The places in the list, from 1 on, of the pixels at sides and corners; 0 outside of it; int32 (8, pixel)."""
    width = shape[1] + 2
    flat = (places[:, 0] + 1) * width + places[:, 1] + 1
    numbers = tf.scatter_nd(flat[:, None], tf.range(1, tf.size(flat) + 1), [(shape[0] + 2) * width])
    offsets = [(dy, dx) for dy, dx in itertools.product((-1, 0, 1), repeat=2) if dy or dx]
    return tf.stack([tf.gather(numbers, flat + dy * width + dx) for dy, dx in offsets])


def _components(mask: tf.Tensor, neighbours: tf.Tensor) -> tf.Tensor:
    """Parts that touch at sides or corners, numbered by their last pixel row by row, int32 (pixel,)."""
    own = tf.range(1, tf.size(mask) + 1)
    start = tf.where(mask, own, 0)

    def step(labels, _):
        # the largest number around, and the largest that is known where that is
        spread = tf.where(mask, tf.maximum(labels, _largest_around(labels, neighbours)), 0)
        spread = tf.maximum(spread, tf.gather(_with_none(spread), spread))
        return spread, tf.reduce_any(spread > labels)

    labels, _ = tf.while_loop(lambda labels, changed: changed, step, (start, tf.reduce_any(mask)))
    ranks = tf.cumsum(tf.cast(mask & (labels == own), tf.int32))
    return tf.where(mask, tf.gather(_with_none(ranks), labels), 0)


def _grown(labels: tf.Tensor, mask: tf.Tensor, neighbours: tf.Tensor) -> tf.Tensor:
    """Labels after they have grown over a mask, one pixel after the other."""
    free = tf.where(mask & (labels == 0))
    around = tf.gather(neighbours, free[:, 0], axis=1)

    def step(labels, _):
        known = tf.gather_nd(labels, free)
        new = tf.where(known == 0, _largest_around(labels, around), known)
        return tf.tensor_scatter_nd_update(labels, free, new), tf.reduce_any(new > known)

    return tf.while_loop(lambda labels, changed: changed, step, (labels, tf.constant(True)))[0]


def _largest_around(labels: tf.Tensor, neighbours: tf.Tensor) -> tf.Tensor:
    return tf.reduce_max(tf.gather(_with_none(labels), neighbours), 0)


def _with_none(values: tf.Tensor) -> tf.Tensor:
    """A list with 0 at its begin, for pixels that are not in it."""
    return tf.concat([[0], values], 0)
