"""The flow dynamics of Omnipose as TensorFlow operations, for the end of a graph: from fields to labels.

What `kerazoo.models.omnipose.decoding` does, but for thin objects: their end points are clustered on a grid of thirds
of a pixel.
"""

from __future__ import annotations

import itertools

import tensorflow as tf

from kerazoo.models.omnipose.decoding import CROWD, EXTREMES, FINE, ITERATIONS, REACH, THIN, WEAK
from kerazoo.models.omnipose.targets import CONVERGED, FLOW_SCALE
from kerazoo.models.shared.label_graph import (
    AROUND,
    BESIDE,
    areas_of,
    components,
    counted,
    filled,
    finished,
    keep,
    largest_around,
    neighbours_of,
    with_none,
)

WITHIN = tuple(
    (dy, dx) for dy, dx in itertools.product(range(-5, 6), repeat=2) if 0 < dy * dy + dx * dx <= (FINE * REACH) ** 2
)
"""Cells whose points are within reach."""


def find_field_objects(output: tf.Tensor, *, threshold: float, flow_error: float, minimum_size: int) -> tf.Tensor:
    """Label image of a network output.

    Parameters
    ----------
    output
        Flow along y, flow along x, distance, logit of the boundary (1, y, x, 4), float32.
    threshold, flow_error, minimum_size
        As for `kerazoo.models.omnipose.decoding.find_field_objects`.

    Returns
    -------
    tf.Tensor
        Labels 1, 2, ... of the objects, 0 elsewhere (1, y, x, 1), float32.
    """
    flow, distance = output[0, :, :, :2], output[0, :, :, 2]
    places = _foreground(distance, threshold)
    shape = tf.shape(distance)
    ends = _ends(flow, places, shape)
    labels = tf.scatter_nd(places, _clusters(ends, tf.gather_nd(distance, places), shape), shape)
    labels = keep(labels, areas_of(labels) >= max(minimum_size, 1))
    labels = filled(labels, smaller_than=minimum_size)
    if flow_error > 0:
        labels = keep(labels, _flow_errors(labels, flow) <= flow_error)
    return finished(labels, minimum_size)


def _foreground(distance: tf.Tensor, threshold: float) -> tf.Tensor:
    """Pixels above the weaker threshold in parts that have some above the threshold, int32 (pixel, 2)."""
    places = tf.cast(tf.where(distance > threshold - WEAK), tf.int32)
    neighbours = neighbours_of(places, tf.shape(distance), BESIDE)
    parts = components(tf.ones_like(places[:, 0], tf.bool), neighbours)
    strong = tf.cast(tf.gather_nd(distance, places) > threshold, tf.int32)
    count = tf.reduce_max(with_none(parts)) + 1
    strong = tf.math.unsorted_segment_sum(strong, parts, count)
    return tf.boolean_mask(places, tf.gather(strong, parts) > 0)


def _ends(flow: tf.Tensor, places: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Where the pixels end that follow the flows by suppressed Euler steps, float32 (pixel, 2)."""
    own = tf.gather_nd(flow, places)
    length = tf.sqrt(tf.reduce_sum(own * own, 1, keepdims=True))
    known = (length > 0) & tf.math.is_finite(length)
    direction = tf.scatter_nd(
        places, tf.where(known, own / tf.where(known, length, 1.0), 0.0), tf.concat([shape, [2]], 0)
    )
    divergence = _slope(direction[:, :, 0], 0) + _slope(direction[:, :, 1], 1)
    low, high = _extremes(tf.reshape(divergence, [-1]))
    speed = tf.clip_by_value((divergence - low) / tf.maximum(high - low, 1e-6), 0.0, 1.0)
    velocities = tf.reshape(speed[:, :, None] * direction, [-1, 2])
    width, last = shape[1], tf.cast(shape - 1, tf.float32)

    def of_nearest(position):
        nearest = tf.cast(tf.round(position), tf.int32)
        return tf.gather(velocities, nearest[:, 0] * width + nearest[:, 1])

    def step(number, position, velocity):
        velocity = 0.5 * (velocity + of_nearest(position))
        share = 1.0 / tf.cast(number, tf.float32)
        return number + 1, tf.clip_by_value(position + velocity * share, 0.0, last), velocity

    start = tf.cast(places, tf.float32)
    return tf.while_loop(lambda number, *_: number <= ITERATIONS, step, (tf.constant(1), start, of_nearest(start)))[1]


def _slope(image: tf.Tensor, axis: int) -> tf.Tensor:
    """Central differences along an axis, one-sided at the edges of the image."""
    size = tf.shape(image)[axis]
    before, after = tf.maximum(tf.range(size) - 1, 0), tf.minimum(tf.range(size) + 1, size - 1)
    change = tf.gather(image, after, axis=axis) - tf.gather(image, before, axis=axis)
    apart = tf.cast(tf.maximum(after - before, 1), tf.float32)
    return change / (apart[:, None] if axis == 0 else apart)


def _extremes(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The percentiles `EXTREMES`, interpolated linearly; only values near the ends are sorted."""
    last = tf.cast(tf.size(values) - 1, tf.float64)
    place = last * (EXTREMES[0] / 100)
    first = tf.cast(place, tf.int32)
    part = tf.cast(place - tf.cast(first, tf.float64), tf.float32)
    count = tf.minimum(first + 2, tf.size(values))
    low, high = (
        sign * (ends[first] * (1 - part) + ends[count - 1] * part)
        for sign, ends in ((sign, tf.math.top_k(sign * values, count).values) for sign in (-1.0, 1.0))
    )
    return low, high


def _clusters(ends: tf.Tensor, distance: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """One label for the points that end near each other, int32 (point,); 0 for those without a crowd."""
    count = tf.cast(tf.maximum(tf.size(distance), 1), tf.float32)
    thin = tf.reduce_sum(with_none(distance)) <= THIN * count
    cells = tf.where(thin, tf.cast(FINE * ends, tf.int32), tf.cast(tf.round(ends), tf.int32))
    grid = tf.where(thin, FINE * shape, shape)
    points = counted(cells, grid)
    occupied = tf.cast(tf.where(points > 0), tf.int32)
    own = tf.gather_nd(points, occupied)
    # of thick objects only the nearest pixels touch
    touching = tf.constant([[offset in AROUND] for offset in WITHIN])
    neighbours = tf.where(thin | touching, neighbours_of(occupied, grid, WITHIN), 0)
    crowd = own + tf.reduce_sum(tf.gather(with_none(own), neighbours), 0)
    core = crowd >= tf.where(thin, CROWD, 1)
    labels = components(core, neighbours)
    labels = tf.where(core, labels, largest_around(labels, neighbours))
    return tf.gather_nd(tf.scatter_nd(occupied, labels, grid), cells)


def _flow_errors(labels: tf.Tensor, flow: tf.Tensor) -> tf.Tensor:
    """Mean squared error between the flows and those of the objects' shapes, by label, float32."""
    places = tf.cast(tf.where(labels > 0), tf.int32)
    label = tf.gather_nd(labels, places)
    expected = _flows_of(labels, places, label)
    difference = tf.reduce_sum((expected - tf.gather_nd(flow, places) / FLOW_SCALE) ** 2, 1)
    areas = areas_of(labels)
    total = tf.math.unsorted_segment_sum(difference, label, tf.size(areas))
    return total / tf.cast(tf.maximum(areas, 1), tf.float32)


def _flows_of(labels: tf.Tensor, places: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    """The flow that the shape of its object gives a pixel, see `kerazoo.models.omnipose.targets.distance_fields`."""
    shape = tf.shape(labels)
    numbers = tf.reshape(tf.scatter_nd(places, tf.range(1, tf.size(label) + 1), shape), [-1])
    flat = tf.reshape(labels, [-1])
    neighbours = []
    for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, 1), (-1, 1), (1, -1)):
        # the field goes on unchanged beyond the edge of the image
        y, x = (tf.clip_by_value(places[:, axis] + by, 0, shape[axis] - 1) for axis, by in enumerate((dy, dx)))
        there = y * shape[1] + x
        neighbours.append(tf.where(tf.gather(flat, there) == label, tf.gather(numbers, there), 0))
    neighbours = tf.stack(neighbours)

    def around(values):
        return tf.gather(with_none(values), neighbours)

    def stepped(field):
        near = around(field)
        return tf.sqrt(_solution(near[:4], 1.0) * _solution(near[4:], 2.0))

    def step(number, field, _):
        following = stepped(field)
        change = tf.reduce_sum(with_none((following - field) ** 2))
        return number + 1, following, change > CONVERGED * tf.cast(tf.size(label), tf.float32)

    start = tf.reduce_sum(around(stepped(tf.ones_like(label, tf.float32))), 0) / 9
    most = 2 * (shape[0] + shape[1])
    _, field, _ = tf.while_loop(
        lambda number, _, changing: (number < most) & changing, step, (tf.constant(0), start, tf.constant(True))
    )
    near = around(field)
    falling, rising = near[5] - near[4], near[6] - near[7]
    gradient = [
        (near[1] - near[0]) / 4 + (falling - rising) / 8,
        (near[3] - near[2]) / 4 + (falling + rising) / 8,
    ]
    beside = [around(component) for component in gradient]
    weights = tf.abs(gradient[0] * beside[0] + gradient[1] * beside[1])
    total = tf.reduce_sum(weights, 0)
    return tf.stack([tf.math.divide_no_nan(tf.reduce_sum(weights * values, 0), total) for values in beside], 1)


def _solution(near, square):
    """The larger u of (u - a)^2 + (u - b)^2 = square; the mean of a and b where there is none."""
    a, b = tf.minimum(near[0], near[1]), tf.minimum(near[2], near[3])
    total = a + b
    discriminant = total * total - 2 * ((a * a + b * b) - square)
    return 0.5 * (total + tf.sqrt(tf.maximum(discriminant, 0.0)))
