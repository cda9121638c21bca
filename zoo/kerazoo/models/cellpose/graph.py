"""The flow dynamics of Cellpose as TensorFlow operations, for the end of a graph: from flows to labels.

What `kerazoo.models.cellpose.decoding` does, in float32 where that mixes precisions, and with holes filled where the
nearest object in all four directions is the same one.
"""

from __future__ import annotations

import tensorflow as tf

from kerazoo.models.cellpose.decoding import FLOW_SCALE, LARGEST, REACH
from kerazoo.models.shared.label_graph import areas_of, counted, ends_of, finished, keep, nearest_along, sorted_by


def find_flow_objects(
    output: tf.Tensor, *, threshold: float, flow_error: float, minimum_size: int, iterations: int
) -> tf.Tensor:
    """Label image of a network output.

    Parameters
    ----------
    output
        Vertical flow, horizontal flow (both five times too long) and logit of the cell probability (1, y, x, 3),
        float32.
    threshold
        Pixels with a larger logit belong to objects.
    flow_error, minimum_size, iterations
        As for `kerazoo.models.cellpose.decoding.find_flow_objects`.

    Returns
    -------
    tf.Tensor
        Labels 1, 2, ... of the objects, 0 elsewhere (1, y, x, 1), float32.
    """
    inside = output[0, :, :, 2] > threshold
    flows = output[0, :, :, :2] / FLOW_SCALE
    flows = tf.where(inside[:, :, None] & tf.math.is_finite(flows), flows, 0.0)
    places = tf.cast(tf.where(inside), tf.int32)
    ends = _ends(flows, places, iterations)
    labels = _clusters(ends, places, tf.shape(inside))
    size = tf.cast(tf.size(inside), tf.float32)
    areas = areas_of(labels)
    labels = keep(labels, (areas > 0) & (tf.cast(areas, tf.float32) <= LARGEST * size))
    if flow_error > 0:
        labels = keep(labels, _flow_errors(labels, flows) <= flow_error)
    labels = keep(labels, areas_of(labels) >= max(minimum_size, 1))
    return finished(_fill_enclosed(labels), minimum_size)


def _ends(flows, places, iterations):
    """Where the pixels end that drift along the flows, int32 (pixel, 2)."""
    height, width = tf.shape(flows)[0], tf.shape(flows)[1]
    flat = tf.reshape(flows, [-1, 2])
    last = tf.cast(tf.stack([height - 1, width - 1]), tf.float32)

    def step(number, position):
        corner = tf.cast(position, tf.int32)
        part = position - tf.cast(corner, tf.float32)
        top, left = corner[:, 0], corner[:, 1]
        bottom, right = tf.minimum(top + 1, height - 1), tf.minimum(left + 1, width - 1)
        down, along = part[:, :1], part[:, 1:]
        move = (
            tf.gather(flat, top * width + left) * (1 - down) * (1 - along)
            + tf.gather(flat, top * width + right) * (1 - down) * along
            + tf.gather(flat, bottom * width + left) * down * (1 - along)
            + tf.gather(flat, bottom * width + right) * down * along
        )
        return number + 1, tf.clip_by_value(position + move, 0.0, last)

    _, position = tf.while_loop(
        lambda number, position: number < iterations, step, (tf.constant(0), tf.cast(places, tf.float32))
    )
    return tf.cast(position, tf.int32)


def _clusters(ends, places, shape):
    """One label for the pixels that end near each other, int32 (y, x)."""
    count = tf.cast(counted(ends, shape), tf.float32)
    summit = tf.nn.max_pool2d(count[None, :, :, None], 5, 1, "SAME")[0, :, :, 0]
    seeds = tf.cast(tf.where((count > 10) & (count >= summit)), tf.int32)
    # where seeds meet, the one with more pixels wins
    seeds = tf.gather(seeds, tf.argsort(tf.gather_nd(count, seeds), stable=True))
    along = tf.range(-REACH, REACH + 1)
    offsets = tf.stack(tf.meshgrid(along, along, indexing="ij"), -1)
    around = seeds[:, None, None] + offsets
    free = tf.gather_nd(tf.pad(count, [[REACH, REACH]] * 2), around + REACH) > 2
    grown = tf.broadcast_to(tf.reduce_all(offsets == 0, -1), tf.shape(free))
    for _ in range(REACH):
        spread = tf.nn.max_pool2d(tf.cast(grown, tf.float32)[..., None], 3, 1, "SAME")[..., 0]
        grown |= (spread > 0) & free
    rank = tf.range(1, tf.shape(seeds)[0] + 1)[:, None, None] * tf.ones_like(offsets[..., 0])
    flat = tf.boolean_mask(around[..., 0] * shape[1] + around[..., 1], grown)
    order = sorted_by(flat, rank[grown])
    flat, rank = tf.gather(flat, order), tf.gather(rank[grown], order)
    _, last = ends_of(flat)
    place = tf.scatter_nd(tf.boolean_mask(flat, last)[:, None], tf.boolean_mask(rank, last), [shape[0] * shape[1]])
    return tf.scatter_nd(places, tf.gather(place, ends[:, 0] * shape[1] + ends[:, 1]), shape)


def _flow_errors(labels, flows):
    """Mean squared error between the flows and those of the objects' shapes, by label, float32."""
    places = tf.where(labels > 0)
    label = tf.gather_nd(labels, places)
    count = tf.reduce_max(tf.concat([label, [0]], 0)) + 1
    position = tf.cast(places, tf.float64)
    areas = tf.cast(areas_of(labels), tf.float64)

    def mean(values):
        return tf.math.unsorted_segment_sum(values, label, count) / tf.cast(areas, values.dtype)

    def of_ends(order):
        """The first and the last of every label, which has no gaps; and one for 0."""
        ends = ends_of(tf.gather(label, order))
        return [tf.concat([[0], tf.boolean_mask(order, mask)], 0) for mask in ends]

    middle = tf.stack([tf.gather(mean(position[:, axis]), label) for axis in (0, 1)], 1)
    distance = tf.reduce_sum((position - middle) ** 2, 1)
    order = tf.range(tf.size(label))
    nearest, _ = of_ends(sorted_by(label, distance))
    source = tf.cast(tf.gather(nearest, label) == order, tf.float64)
    steps = 12
    for axis in (0, 1):
        along = tf.pad(tf.cast(places[:, axis], tf.int32), [[0, 1]])
        low, high = of_ends(sorted_by(label, along[:-1]))
        steps += 2 * (tf.gather(along, high) - tf.gather(along, low))
    steps = tf.gather(steps, label)

    # pixels in a list, 0 for what is outside of an object: neighbours are found once
    number = tf.scatter_nd(places, order + 1, tf.shape(labels, out_type=tf.int64))
    number, padded = (tf.pad(image, [[1, 1]] * 2) for image in (number, labels))
    neighbours = []
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            there = places + tf.constant([dy, dx], tf.int64)
            same = tf.gather_nd(padded, there) == label
            neighbours.append(tf.where(same, tf.gather_nd(number, there), 0))
    neighbours = tf.stack(neighbours, 0)

    def spread(step, heat):
        fed = tf.concat([tf.zeros([1], tf.float64), heat + source], 0)
        return step + 1, tf.where(step < steps, tf.reduce_sum(tf.gather(fed, neighbours), 0) / 9, heat)

    longest = tf.reduce_max(tf.concat([steps, [0]], 0))
    _, heat = tf.while_loop(
        lambda step, heat: step < longest, spread, (tf.constant(0), tf.zeros(tf.shape(label), tf.float64))
    )
    heat = tf.gather(tf.concat([tf.zeros([1], tf.float64), heat], 0), neighbours)
    slope = tf.stack([heat[7] - heat[1], heat[5] - heat[3]], 1)
    direction = slope / (1e-60 + tf.norm(slope, axis=1, keepdims=True))
    difference = (tf.cast(direction, tf.float32) - tf.gather_nd(flows, places)) ** 2
    return mean(tf.reduce_sum(difference, 1))


def _fill_enclosed(labels):
    """Give background to the object that is the nearest one to the left, to the right, above and below."""
    up, down, left, right = (nearest_along(labels, axis, forward) for axis in (0, 1) for forward in (True, False))
    enclosed = (labels == 0) & (up == down) & (up == left) & (up == right)
    return tf.where(enclosed, up, labels)
