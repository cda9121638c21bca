"""What label images in a TensorFlow graph have in common: areas, parts that touch, growth, numbers without gaps.

Pixels of interest are taken out of the image as a list, each with the places of its neighbours in it, so that a step
of what spreads from pixel to pixel costs no more than there are pixels.
"""

from __future__ import annotations

import itertools

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


def neighbours_of(places: tf.Tensor, shape: tf.Tensor, corners: bool = True) -> tf.Tensor:
    """The places in the list, from 1 on, of the pixels at sides and corners; 0 outside of it; int32 (8 or 4, pixel)."""
    width = shape[1] + 2
    flat = (places[:, 0] + 1) * width + places[:, 1] + 1
    numbers = tf.scatter_nd(flat[:, None], tf.range(1, tf.size(flat) + 1), [(shape[0] + 2) * width])
    offsets = [
        (dy, dx) for dy, dx in itertools.product((-1, 0, 1), repeat=2) if (dy or dx) if corners or not (dy and dx)
    ]
    return tf.stack([tf.gather(numbers, flat + dy * width + dx) for dy, dx in offsets])


def components(mask: tf.Tensor, neighbours: tf.Tensor) -> tf.Tensor:
    """Parts that touch at sides or corners, numbered by their last pixel row by row, int32 (pixel,)."""
    own = tf.range(1, tf.size(mask) + 1)
    start = tf.where(mask, own, 0)

    def step(labels, _):
        # the largest number around, and the largest that is known where that is
        spread = tf.where(mask, tf.maximum(labels, largest_around(labels, neighbours)), 0)
        spread = tf.maximum(spread, tf.gather(with_none(spread), spread))
        return spread, any_of(spread > labels)

    labels, _ = tf.while_loop(lambda labels, changed: changed, step, (start, any_of(mask)))
    ranks = tf.cumsum(tf.cast(mask & (labels == own), tf.int32))
    return tf.where(mask, tf.gather(with_none(ranks), labels), 0)


def grown(labels: tf.Tensor, mask: tf.Tensor, neighbours: tf.Tensor) -> tf.Tensor:
    """Labels after they have grown over a mask, one pixel after the other."""
    free = tf.where(mask & (labels == 0))
    around = tf.gather(neighbours, free[:, 0], axis=1)

    def step(labels, _):
        known = tf.gather_nd(labels, free)
        new = tf.where(known == 0, largest_around(labels, around), known)
        return tf.tensor_scatter_nd_update(labels, free, new), any_of(new > known)

    return tf.while_loop(lambda labels, changed: changed, step, (labels, tf.constant(True)))[0]


def largest_around(values: tf.Tensor, neighbours: tf.Tensor) -> tf.Tensor:
    """The largest value among the neighbours of every pixel; 0 where it has none."""
    return tf.reduce_max(tf.gather(with_none(values), neighbours), 0)


def any_of(values: tf.Tensor) -> tf.Tensor:
    """Whether any is true; ONNX Runtime 1.13.1 reduces no empty list."""
    return tf.reduce_any(tf.concat([values, [False]], 0))


def with_none(values: tf.Tensor) -> tf.Tensor:
    """A list with 0 at its begin, for pixels that are not in it."""
    return tf.concat([tf.zeros([1], values.dtype), values], 0)


def nearest_along(labels: tf.Tensor, axis: int, forward: bool) -> tf.Tensor:
    """The nearest label that is not 0 along an axis, 0 where there is none: found in steps of 1, 2, 4, ... pixels."""
    length = tf.shape(labels)[axis]

    def jump(step, found):
        some, rest = tf.minimum(step, length), tf.maximum(length - step, 0)
        before, after = ([some, 0] if forward else [0, some]), ([0, rest] if forward else [some, rest])
        sizes = [-1, -1]
        sizes[axis] = after[1]
        begin = [0, 0]
        begin[axis] = after[0]
        padding = [[0, 0], [0, 0]]
        padding[axis] = before
        moved = tf.pad(tf.slice(found, begin, sizes), padding)
        moved.set_shape(found.shape)
        return step * 2, tf.where(found == 0, moved, found)

    return tf.while_loop(lambda step, found: step < length, jump, (tf.constant(1), labels))[1]
