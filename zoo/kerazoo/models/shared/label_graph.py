"""What label images in a TensorFlow graph have in common: areas, parts that touch, growth, numbers without gaps.

Pixels of interest are taken out of the image as a list, each with the places of its neighbours in it, so that a step
of what spreads from pixel to pixel costs no more than there are pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import tensorflow as tf

BESIDE = ((-1, 0), (0, -1), (0, 1), (1, 0))
"""Neighbours at the sides."""
AROUND = tuple((dy, dx) for dy, dx in itertools.product((-1, 0, 1), repeat=2) if dy or dx)
"""Those at the corners too."""


def areas_of(labels: tf.Tensor) -> tf.Tensor:
    """Pixels of every label from 0 on, int32."""
    flat = tf.reshape(labels, [-1])
    return tf.math.unsorted_segment_sum(tf.ones_like(flat), flat, tf.reduce_max(flat) + 1)


def counted(places: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """How often every pixel of an image is in a list, int32 (y, x); ONNX scatters only one value to a place."""
    flat = places[:, 0] * shape[1] + places[:, 1]
    return tf.reshape(tf.math.unsorted_segment_sum(tf.ones_like(flat), flat, shape[0] * shape[1]), shape)


def keep(labels: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """The labels for which ``kept`` is true, numbered without gaps in the same order; 0 stays background."""
    kept = tf.concat([[False], kept[1:]], 0)
    return tf.gather(tf.where(kept, tf.cumsum(tf.cast(kept, tf.int32)), 0), labels)


def finished(labels: tf.Tensor, minimum_size: int) -> tf.Tensor:
    """Remove small objects, and give the label image (y, x) the form of an output: (1, y, x, 1), float32."""
    labels = keep(labels, areas_of(labels) >= max(minimum_size, 1))
    return tf.cast(labels, tf.float32)[None, :, :, None]


def neighbours_of(places: tf.Tensor, shape: tf.Tensor, offsets: Sequence[tuple[int, int]] = AROUND) -> tf.Tensor:
    """The places in the list, from 1 on, of the neighbours of every pixel; 0 outside of it; int32 (neighbour, pixel).

    Parameters
    ----------
    places
        The list: y and x of pixels, int32 (pixel, 2).
    shape
        Height and width of the image.
    offsets
        Of the neighbours, along y and x.
    """
    reach = max(max(abs(dy), abs(dx)) for dy, dx in offsets)
    width = shape[1] + 2 * reach
    flat = (places[:, 0] + reach) * width + places[:, 1] + reach
    numbers = tf.scatter_nd(flat[:, None], tf.range(1, tf.size(flat) + 1), [(shape[0] + 2 * reach) * width])
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


def sorted_by(labels: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Places in a list of pixels, ordered by label, then by value, then by place; ONNX 16 has no extremes by label."""
    order = tf.argsort(values, stable=True)
    return tf.gather(order, tf.argsort(tf.gather(labels, order), stable=True))


def ends_of(labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Of a sorted list whether each is the first, and whether it is the last of its label, bool (pixel,) both."""
    changes, one = labels[1:] != labels[:-1], tf.ones_like(labels[:1], tf.bool)
    return tf.concat([one, changes], 0), tf.concat([changes, one], 0)


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


def filled(labels: tf.Tensor, smaller_than: int | None = None) -> tf.Tensor:
    """A label image whose holes belong to the object that they lie in, if it is one alone; or only smaller ones."""
    width = tf.shape(labels)[1]
    # all pixels of a hole see the same object on all sides, and so do few others
    up, down, left, right = (nearest_along(labels, axis, forward) for axis in (0, 1) for forward in (True, False))
    enclosed = (labels == 0) & (up > 0) & (up == down) & (up == left) & (up == right)
    labels = tf.where((labels == 0) & tf.logical_not(enclosed), -1, labels)
    places = tf.cast(tf.where(enclosed), tf.int32)
    parts = components(tf.ones_like(places[:, 0], tf.bool), neighbours_of(places, tf.shape(labels), BESIDE))
    y, x = places[:, 0], places[:, 1]
    padded = tf.reshape(tf.pad(labels, [[1, 1], [1, 1]]), [-1])
    own = (y + 1) * (width + 2) + x + 1
    around = tf.stack([tf.gather(padded, own + by) for by in (1, -1, width + 2, -width - 2)])
    beside = tf.where(around > 0)
    labels_beside, parts_beside = tf.gather_nd(around, beside), tf.gather(parts, beside[:, 1])
    # no minimum and maximum by part: ONNX 16 has none
    owner = tf.zeros(tf.reduce_max(with_none(parts))[None] + 1, tf.int32)
    owner = tf.tensor_scatter_nd_update(owner, parts_beside[:, None], labels_beside)
    others = tf.boolean_mask(parts_beside, labels_beside != tf.gather(owner, parts_beside))
    beyond = tf.boolean_mask(parts, tf.reduce_min(around, 0) < 0)
    free = tf.concat([others, beyond], 0)
    if smaller_than is not None:
        free = tf.concat(
            [free, tf.boolean_mask(parts, tf.gather(areas_of(with_none(parts)), parts) >= smaller_than)], 0
        )
    owner = tf.tensor_scatter_nd_update(owner, free[:, None], tf.zeros_like(free))
    return tf.maximum(tf.tensor_scatter_nd_update(labels, places, tf.gather(owner, parts)), 0)
