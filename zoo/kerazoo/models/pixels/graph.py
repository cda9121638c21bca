"""Objects of interior and border as TensorFlow operations, for the end of a graph: from probabilities to labels.

What `kerazoo.models.pixels.decoding` does, but for pixels at the seams of touching objects: the heights of the
landscape are flooded in steps there, and one pixel after the other.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from kerazoo.models.shared.label_graph import (
    any_of,
    components,
    finished,
    largest_around,
    nearest_along,
    neighbours_of,
    with_none,
)
from kerazoo.models.shared.watershed import SMOOTHING

STEP = 0.5
"""By how much the flood falls, in pixels of distance to the interior's edge."""
LEVEL = 1e-3
"""Hills whose heights differ by a smaller part are of one height."""
FAR = 1e6
"""A distance where there is nothing to be distant from."""


def find_objects(
    output: tf.Tensor, *, threshold: float, seed_threshold: float, neck: float, minimum_size: int
) -> tf.Tensor:
    """Label image of a network output.

    Parameters
    ----------
    output
        Probabilities of background, interior and border (1, y, x, 3), float32.
    threshold, seed_threshold, neck, minimum_size
        As for `kerazoo.models.pixels.decoding.classify` and `find_objects`.

    Returns
    -------
    tf.Tensor
        Labels 1, 2, ... of the objects, 0 elsewhere (1, y, x, 1), float32.
    """
    foreground = output[0, :, :, 1] + output[0, :, :, 2] > threshold
    interior = foreground & (output[0, :, :, 1] > seed_threshold)
    rest = tf.logical_not(interior)
    inside, outside = _distance(interior, interior), _distance(rest, foreground & rest)
    height = tf.where(interior, _smoothed(inside), -outside)
    shape = tf.shape(foreground)
    places = tf.cast(tf.where(foreground), tf.int32)
    neighbours = neighbours_of(places, shape)
    heights = tf.gather_nd(height, places)
    seeds = components(_summits(tf.maximum(heights, 0.0), neck, neighbours), neighbours)
    beside = neighbours_of(places, shape, corners=False)
    labels = _flooded(seeds, heights, beside)
    others = components(labels == 0, beside)
    labels = _numbered(tf.where(others > 0, others + _largest(labels), labels))
    return finished(_filled(tf.scatter_nd(places, labels, shape)), minimum_size)


def _distance(mask: tf.Tensor, needed: tf.Tensor) -> tf.Tensor:
    """Distance of every needed pixel of a mask to the next one outside (y, x), float32; where there is none: all 1."""
    height, width = tf.unstack(tf.shape(mask))

    def shifted(image, by, axis, size):
        before, after = [[0, 0], [0, 0]], [[0, 0], [0, 0]]
        before[axis][0] = after[axis][1] = by
        padded = (tf.pad(image, paddings, constant_values=FAR) for paddings in (before, after))
        ends = (tf.range(size), tf.range(by, size + by))
        return [tf.gather(image, places, axis=axis) for image, places in zip(padded, ends, strict=True)]

    def along_column(distance, by):
        above, below = shifted(distance, by, 0, height)
        return tf.minimum(distance, tf.minimum(above, below) + tf.cast(by, tf.float32)), 2 * by

    column = tf.where(mask, FAR, 0.0)
    column, _ = tf.while_loop(lambda _, by: by < height, along_column, (column, 1))
    square = tf.square(column)

    def along_row(nearest, by):
        left, right = shifted(square, by, 1, width)
        return tf.minimum(nearest, tf.minimum(left, right) + tf.cast(by * by, tf.float32)), by + 1

    def may_be_nearer(nearest, by):
        return (by < width) & (tf.cast(by * by, tf.float32) < tf.reduce_max(tf.where(needed, nearest, 0.0)))

    nearest, _ = tf.while_loop(may_be_nearer, along_row, (square, 1))
    return tf.where(tf.reduce_all(mask), tf.ones_like(nearest), tf.sqrt(nearest))


def _smoothed(image: tf.Tensor) -> tf.Tensor:
    """The blur of `kerazoo.models.shared.watershed`, mirrored at the rim."""
    radius = round(4 * SMOOTHING)
    weights = np.exp(-np.square(np.arange(-radius, radius + 1) / SMOOTHING) / 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (0, 1):
        image = tf.gather(image, _mirrored(tf.shape(image)[axis], radius), axis=axis)
    image = image[None, :, :, None]
    image = tf.nn.conv2d(image, weights.reshape(-1, 1, 1, 1), 1, "VALID")
    return tf.nn.conv2d(image, weights.reshape(1, -1, 1, 1), 1, "VALID")[0, :, :, 0]


def _mirrored(size: tf.Tensor, radius: int) -> tf.Tensor:
    """Places in an axis of any size, and beyond its ends, where it is mirrored."""
    period = tf.maximum(2 * size - 2, 1)
    place = tf.math.floormod(tf.range(-radius, size + radius), period)
    return tf.minimum(place, period - place)


def _summits(heights: tf.Tensor, neck: float, neighbours: tf.Tensor) -> tf.Tensor:
    """The upper parts of hills; two whose pass is nearly as high as the lower one are a single hill."""
    cut = _reconstructed(heights * max(neck, LEVEL), heights, neighbours)
    return _reconstructed(cut * (1 - LEVEL), cut, neighbours) < cut


def _reconstructed(start: tf.Tensor, ceiling: tf.Tensor, neighbours: tf.Tensor) -> tf.Tensor:
    """Heights that spread to their neighbours as far as there is a ceiling above them."""

    def step(heights, _):
        spread = tf.minimum(tf.maximum(heights, largest_around(heights, neighbours)), ceiling)
        return spread, any_of(spread > heights)

    return tf.while_loop(lambda _, changed: changed, step, (start, tf.constant(True)))[0]


def _flooded(labels: tf.Tensor, heights: tf.Tensor, neighbours: tf.Tensor) -> tf.Tensor:
    """Labels after they have grown downhill; a pixel goes to the highest of its neighbours that have one."""
    bottom = tf.reduce_min(tf.concat([heights, [0.0]], 0))
    above = with_none(heights - bottom + 1)

    def step(labels, level, _):
        free = tf.where((labels == 0) & (heights >= level))
        around = tf.gather(neighbours, free[:, 0], axis=1)
        beside = tf.gather(with_none(labels), around)
        height = tf.where(beside > 0, tf.gather(above, around), 0.0)
        new = tf.reduce_max(tf.where(height == tf.reduce_max(height, 0), beside, 0), 0)
        changed = any_of(new > 0)
        return tf.tensor_scatter_nd_update(labels, free, new), tf.where(changed, level, level - STEP), changed

    def unfinished(_, level, changed):
        return changed | (level > bottom - STEP)

    top = tf.reduce_max(tf.concat([heights, [0.0]], 0))
    return tf.while_loop(unfinished, step, (labels, top, tf.constant(True)))[0]


def _numbered(labels: tf.Tensor) -> tf.Tensor:
    """Labels in the order of their last pixels, which depends on rounding less than that of the seeds."""
    count = tf.size(labels, tf.int64) + 1
    # there is no maximum by label in ONNX 16; all labels are positive
    keys = tf.sort(tf.cast(labels, tf.int64) * count + tf.range(count - 1))
    label = tf.cast(keys // count, tf.int32)
    is_last = tf.concat([label[1:] != label[:-1], tf.ones_like(label[:1], tf.bool)], 0)
    last, label = tf.boolean_mask(keys % count, is_last), tf.boolean_mask(label, is_last)
    label = tf.gather(label, tf.argsort(last))
    table = tf.zeros(_largest(labels)[None] + 1, tf.int32)
    table = tf.tensor_scatter_nd_update(table, label[:, None], tf.range(1, tf.size(label) + 1))
    return tf.gather(table, labels)


def _filled(labels: tf.Tensor) -> tf.Tensor:
    """A label image whose holes belong to the object that they lie in, if it is one alone."""
    width = tf.shape(labels)[1]
    # all pixels of a hole see the same object on all sides, and so do few others
    up, down, left, right = (nearest_along(labels, axis, forward) for axis in (0, 1) for forward in (True, False))
    enclosed = (labels == 0) & (up > 0) & (up == down) & (up == left) & (up == right)
    labels = tf.where((labels == 0) & tf.logical_not(enclosed), -1, labels)
    places = tf.cast(tf.where(enclosed), tf.int32)
    parts = components(tf.ones_like(places[:, 0], tf.bool), neighbours_of(places, tf.shape(labels), corners=False))
    y, x = places[:, 0], places[:, 1]
    padded = tf.reshape(tf.pad(labels, [[1, 1], [1, 1]]), [-1])
    own = (y + 1) * (width + 2) + x + 1
    around = tf.stack([tf.gather(padded, own + by) for by in (1, -1, width + 2, -width - 2)])
    beside = tf.where(around > 0)
    labels_beside, parts_beside = tf.gather_nd(around, beside), tf.gather(parts, beside[:, 1])
    # no minimum and maximum by part: ONNX 16 has none
    owner = tf.zeros(_largest(parts)[None] + 1, tf.int32)
    owner = tf.tensor_scatter_nd_update(owner, parts_beside[:, None], labels_beside)
    others = tf.boolean_mask(parts_beside, labels_beside != tf.gather(owner, parts_beside))
    beyond = tf.boolean_mask(parts, tf.reduce_min(around, 0) < 0)
    free = tf.concat([others, beyond], 0)
    owner = tf.tensor_scatter_nd_update(owner, free[:, None], tf.zeros_like(free))
    return tf.maximum(tf.tensor_scatter_nd_update(labels, places, tf.gather(owner, parts)), 0)


def _largest(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_max(tf.concat([values, [0]], 0))
