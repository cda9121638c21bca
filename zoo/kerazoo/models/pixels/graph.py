"""Objects of interior and border as TensorFlow operations, for the end of a graph: from probabilities to labels.

What `kerazoo.models.pixels.decoding` does, but for pixels at the seams of touching objects: the heights of the
landscape are flooded in steps there, and one pixel after the other.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from kerazoo.models.pixels.flooding import FAR, FARTHEST, LEVEL, STEP
from kerazoo.models.shared.label_graph import (
    BESIDE,
    any_of,
    components,
    ends_of,
    filled,
    finished,
    largest_around,
    neighbours_of,
    with_none,
)
from kerazoo.models.shared.watershed import SMOOTHING


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
    shape = tf.shape(foreground)
    inside, outside = (tf.cast(tf.where(mask), tf.int32) for mask in (interior, foreground & tf.logical_not(interior)))
    height = _smoothed(tf.scatter_nd(inside, _distance(interior, inside), shape))
    away = -_distance(tf.logical_not(interior), outside, FARTHEST)
    height = tf.tensor_scatter_nd_update(height, outside, away)
    places = tf.cast(tf.where(foreground), tf.int32)
    neighbours = neighbours_of(places, shape)
    heights = tf.gather_nd(height, places)
    seeds = components(_summits(tf.maximum(heights, 0.0), neck, neighbours), neighbours)
    beside = neighbours_of(places, shape, BESIDE)
    labels = _flooded(seeds, heights, beside)
    others = components(labels == 0, beside)
    labels = _numbered(tf.where(others > 0, others + _largest(labels), labels))
    return finished(filled(tf.scatter_nd(places, labels, shape)), minimum_size)


def _distance(mask: tf.Tensor, places: tf.Tensor, farthest: float = FAR) -> tf.Tensor:
    """Distance from pixels of a mask to the next one outside it, at most ``farthest``; where there is none: all 1.

    Parameters
    ----------
    mask
        bool (y, x).
    places
        The pixels whose distance is asked for, int32 (pixel, 2), all within the mask.
    farthest
        In pixels.

    Returns
    -------
    tf.Tensor
        float32 (pixel,).
    """
    height, width = tf.unstack(tf.shape(mask))
    limit = tf.cast(tf.minimum(tf.cast(tf.maximum(height, width), tf.float32), farthest), tf.int32)

    def moved(image, by):
        rim = tf.fill([by, width], FAR)
        return tf.concat([rim, image], 0)[:height], tf.concat([image, rim], 0)[by:]

    def along_column(distance, by):
        above, below = moved(distance, by)
        return tf.minimum(distance, tf.minimum(above, below) + tf.cast(by, tf.float32)), 2 * by

    start, x = places[:, 0] * width, places[:, 1]

    def largest_of(values):
        return tf.reduce_max(tf.concat([values, [0.0]], 0))

    def unfinished(column, by):
        # distances below the step are right by now, and larger ones matter to none of these pixels
        own = tf.gather(tf.reshape(column, [-1]), start + x)
        return (by < tf.minimum(limit, height)) & (largest_of(own) >= tf.cast(by, tf.float32))

    column, _ = tf.while_loop(unfinished, along_column, (tf.where(mask, FAR, 0.0), 1))
    square = tf.reshape(tf.square(column), [-1])

    def along_row(nearest, by):
        # beyond an end stands the last pixel of the row, which is nearer and has been seen
        left, right = tf.maximum(x - by, 0), tf.minimum(x + by, width - 1)
        beside = tf.minimum(tf.gather(square, start + left), tf.gather(square, start + right))
        return tf.minimum(nearest, beside + tf.cast(by * by, tf.float32)), by + 1

    def may_be_nearer(nearest, by):
        return (by < tf.minimum(limit, width)) & (tf.cast(by * by, tf.float32) < largest_of(nearest))

    nearest = tf.gather(square, start + x)
    nearest, _ = tf.while_loop(may_be_nearer, along_row, (nearest, 1))
    distance = tf.minimum(tf.sqrt(nearest), farthest)
    return tf.where(tf.reduce_all(mask), tf.ones_like(distance), distance)


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
    _, is_last = ends_of(label)
    last, label = tf.boolean_mask(keys % count, is_last), tf.boolean_mask(label, is_last)
    label = tf.gather(label, tf.argsort(last))
    table = tf.zeros(_largest(labels)[None] + 1, tf.int32)
    table = tf.tensor_scatter_nd_update(table, label[:, None], tf.range(1, tf.size(label) + 1))
    return tf.gather(table, labels)


def _largest(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_max(tf.concat([values, [0]], 0))
