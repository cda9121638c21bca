"""Non-maximum suppression and rendering of star-convex polygons as TensorFlow operations, for the end of a graph.

What `kerazoo.models.stardist.decoding` does, except that the area which two polygons share is exact, where stardist
rounds the corners of the shared polygon: two objects that overlap by just about the limit may be told apart here and
not there, or the other way round.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from kerazoo.models.shared.label_graph import any_of, finished
from kerazoo.models.stardist.decoding import GREATEST_DISTANCE, LEAST_DISTANCE, ROUNDING


def find_stars(output: tf.Tensor, *, border: int, threshold: float, overlap: float, minimum_size: int) -> tf.Tensor:
    """Label image of a network output.

    Parameters
    ----------
    output
        Probability, then distances in pixels (1, y, x, 1 + rays), float32. The probability is 0 between the pixels of
        the network's grid, see `kerazoo.models.stardist.bundle.full_resolution`.
    border
        So many pixels at each edge are no candidates.
    threshold
        Probability that a candidate exceeds.
    overlap
        Two candidates are the same object where the area that they share, divided by the smaller one's area, is more.
    minimum_size
        Smaller objects are removed, in pixels.

    Returns
    -------
    tf.Tensor
        Labels 1, 2, ... of the objects, 0 elsewhere (1, y, x, 1), float32.
    """
    height, width = tf.shape(output)[1], tf.shape(output)[2]
    probability = output[0, :, :, 0]
    rows, columns = (
        (along >= border) & (along < length - border)
        for along, length in ((tf.range(height), height), (tf.range(width), width))
    )
    places = tf.where((probability > threshold) & rows[:, None] & columns)
    places = tf.gather(places, tf.argsort(tf.gather_nd(probability, places), direction="DESCENDING", stable=True))
    distances = tf.gather_nd(output[0, :, :, 1:], places)
    distances = tf.where(tf.math.is_nan(distances), LEAST_DISTANCE, distances)
    distances = tf.clip_by_value(distances, LEAST_DISTANCE, GREATEST_DISTANCE)
    centres = tf.cast(places, tf.float32)
    outlines = _outlines(distances)
    # stardist cuts corners down to whole numbers before it compares areas
    corners = tf.cast(tf.cast(outlines + centres[:, None], tf.int32), tf.float32)
    low, high = tf.reduce_min(corners, 1), tf.reduce_max(corners, 1)
    areas = _area(corners)

    def one_object(open_ones, labels, count):
        # of several largest values tf.argmax may return any
        first = tf.cast(tf.where(open_ones)[0, 0], tf.int32)
        count += 1
        points = _points_within(outlines[first] + centres[first], height, width)
        covered = tf.boolean_mask(points, _inside(points - centres[first], outlines[first]))
        flat = tf.cast(covered[:, 0], tf.int32) * width + tf.cast(covered[:, 1], tf.int32)
        drawn = tf.gather(labels, flat)
        labels = tf.tensor_scatter_nd_update(labels, flat[:, None], tf.where(drawn == 0, count, drawn))

        open_ones = tf.tensor_scatter_nd_update(open_ones, first[None, None], [False])
        limits = (overlap + ROUNDING) * tf.minimum(areas[first], areas)
        # the extent that both have in common is larger than what they share
        common = tf.maximum(tf.minimum(high, high[first]) - tf.maximum(low, low[first]), 0.0)
        near = tf.where(open_ones & (common[:, 0] * common[:, 1] > limits))
        stays = _shared_area(corners[first], tf.gather_nd(corners, near)) <= tf.gather_nd(limits, near)
        return tf.tensor_scatter_nd_update(open_ones, near, stays), labels, count

    open_ones = tf.ones(tf.shape(places)[:1], tf.bool)
    _, labels, _ = tf.while_loop(
        lambda open_ones, labels, count: any_of(open_ones),
        one_object,
        (open_ones, tf.zeros([height * width], tf.int32), tf.constant(0)),
        parallel_iterations=1,
    )
    return finished(tf.reshape(labels, [height, width]), minimum_size)


def _outlines(distances):
    """Corners of the polygons, relative to their centres, float32 (polygon, ray, 2)."""
    rays = distances.shape[1]
    # with the rounding of stardist: of a corner between two pixels it decides which one is meant
    angle = (np.arange(rays, dtype=np.float32) * np.float32(2 * np.pi / rays)).astype(np.float64)
    sine, cosine = (tf.constant(wave(angle), tf.float32) for wave in (np.sin, np.cos))
    return tf.stack([distances * sine, distances * cosine], -1)


def _area(corners):
    following = tf.roll(corners, -1, 1)
    corners, following = (points - tf.reduce_min(corners, 1, keepdims=True) for points in (corners, following))
    return 0.5 * tf.abs(tf.reduce_sum(corners[..., 1] * following[..., 0] - corners[..., 0] * following[..., 1], 1))


def _points_within(outline, height, width):
    """All pixels (y, x) of the image in the extent of a polygon, float32 (point, 2)."""
    last = tf.cast(tf.stack([height, width]) - 1, tf.float32)
    low = tf.maximum(tf.floor(tf.reduce_min(outline, 0)), 0.0)
    high = tf.minimum(tf.math.ceil(tf.reduce_max(outline, 0)), last)
    ys, xs = tf.range(low[0], high[0] + 1), tf.range(low[1], high[1] + 1)
    return tf.reshape(tf.stack(tf.meshgrid(ys, xs, indexing="ij"), -1), [-1, 2])


def _inside(points, outline):
    """Whether points, relative to the centre, lie in a polygon or on its edge, bool (point,)."""
    rays = outline.shape[0]
    y, x = points[:, 0], points[:, 1]
    turn = tf.math.floormod(tf.math.atan2(y, x) / (2 * math.pi), 1.0)
    sector = tf.cast(tf.floor(turn * rays), tf.int32) % rays
    here = tf.gather(outline, sector)
    along = tf.gather(outline, (sector + 1) % rays) - here
    return along[:, 1] * (y - here[:, 0]) - along[:, 0] * (x - here[:, 1]) >= -1e-4


def _shared_area(polygon, others):
    """Area that a polygon (corner, 2) shares with each of several (polygon, corner, 2), float32 (polygon,).

    A polygon is the sum of the areas below its edges, counted as negative where an edge leads back; what two edges have
    in common is the integral of the lower one over the columns that they share.
    """
    base = tf.reduce_min(polygon, 0)
    base = tf.reduce_min(tf.concat([base[None], tf.reshape(others, [-1, 2])], 0), 0)
    polygon, others = polygon - base, others - base

    def edges(corners, axis):
        following = tf.roll(corners, -1, -2)
        y, x = tf.expand_dims(corners[..., 0], axis), tf.expand_dims(corners[..., 1], axis)
        to_y, to_x = tf.expand_dims(following[..., 0], axis), tf.expand_dims(following[..., 1], axis)
        slope = tf.math.divide_no_nan(to_y - y, to_x - x)
        return tf.minimum(x, to_x), tf.maximum(x, to_x), tf.sign(to_x - x), slope, y - slope * x

    left, right, sign, slope, start = edges(polygon[None], -1)
    other_left, other_right, other_sign, other_slope, other_start = edges(others, -2)
    left, right = tf.maximum(left, other_left), tf.minimum(right, other_right)
    width = tf.maximum(right - left, 0.0)
    lines, differences = [], []
    for x in (left, right):
        line, other = slope * x + start, other_slope * x + other_start
        lines.append(line + other)
        differences.append(line - other)
    one, two = tf.abs(differences[0]), tf.abs(differences[1])
    crossed = tf.math.divide_no_nan(one * one + two * two, one + two)
    apart = tf.where(differences[0] * differences[1] < 0, crossed, one + two)
    below = 0.25 * width * (lines[0] + lines[1] - apart)
    return tf.abs(tf.reduce_sum(sign * other_sign * below, [-2, -1]))
