"""The prompt encoder of Segment Anything: points, corners of boxes and masks become tokens and maps."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers

from kerazoo.models.sam.layers import gelu, table

ops: Any = keras.ops

PADDING, BACKGROUND, FOREGROUND, FIRST_CORNER, LAST_CORNER = -1, 0, 1, 2, 3
"""Labels of points: none at all, outside and inside the object, and the two corners of a box."""
EPSILON = 1e-6
REACH = 4.0
"""Pixels over which a drawn prompt fades."""


class Positions:
    """Positions as sines and cosines of random frequencies (Tancik et al. 2020).

    Parameters
    ----------
    features
        Features of a position.
    image_size
        Height and width in pixels of what is 0 to 1.
    """

    def __init__(self, features: int, image_size: int) -> None:
        initializer: Any = keras.initializers.RandomNormal(stddev=1.0)
        # random, and never trained; float32, as half precision would lose a pixel
        self._frequencies = layers.Dense(
            features // 2,
            use_bias=False,
            kernel_initializer=initializer,
            trainable=False,
            dtype="float32",
            name="frequencies",
        )
        self._image_size = image_size

    def of(self, points: Any) -> Any:
        """Features (..., features) of positions (x, y) in pixels, (..., 2)."""
        angles = 2 * math.pi * self._frequencies(2.0 * (points / float(self._image_size)) - 1.0)
        return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)

    def of_grid(self, like: Any, side: int) -> Any:
        """Features (1, side, side, features) of the middles of the tokens of an image."""
        middles = (np.arange(side, dtype=np.float32) + 0.5) * self._image_size / side
        grid = np.stack(np.meshgrid(middles, middles), axis=-1)[None]
        return self.of(ops.zeros_like(like[:1, :1, :1, :1]) + grid)


def embed_points(own: Any, points: Any, labels: Any, positions: Positions, features: int) -> Any:
    """Tokens (object, token, features): the network's own ones, then those of points.

    Parameters
    ----------
    own
        (object, token, features).
    points
        (object, point, 2): x and y in pixels of the network's image.
    labels
        (object, point): the labels above.
    """
    labels = ops.cast(labels, "int32")
    kinds = layers.Embedding(5, features, name="point_kinds")(labels + 1)
    there = ops.cast(ops.not_equal(labels, PADDING), points.dtype)[..., None]
    places = positions.of(points + 0.5) * there
    # joined before they are added, as TensorFlow cannot add two tensors of no points
    return ops.concatenate([own, kinds], axis=1) + ops.concatenate([ops.zeros_like(own), places], axis=1)


def embed_masks(masks: Any, present: Any, side: int, features: int, hidden: int = 16) -> Any:
    """Maps (object, side, side, features) of masks.

    Parameters
    ----------
    masks
        (object, 4 side, 4 side, 1): logits.
    present
        (object, 1): 1 where an object has a mask, else 0.
    """
    x = layers.Conv2D(hidden // 4, 2, strides=2, name="mask_convolution1")(masks)
    x = gelu(layers.LayerNormalization(epsilon=EPSILON, name="mask_norm1")(x))
    x = layers.Conv2D(hidden, 2, strides=2, name="mask_convolution2")(x)
    x = gelu(layers.LayerNormalization(epsilon=EPSILON, name="mask_norm2")(x))
    x = layers.Conv2D(features, 1, name="mask_convolution3")(x)
    none = table(masks, np.zeros((1, 1, 1), int), 1, features, "no_mask")
    present = ops.cast(present, x.dtype)[:, None, None]
    return present * x + (1.0 - present) * none


def draw_prompts(points: Any, labels: Any, side: int, image_size: int) -> Any:
    """Points and boxes as maps (object, side, side, 4), between -1 and 1.

    The distance to the edge of the box, positive within it; the same for the ellipse in the box; the nearness of points
    within the object, and of points outside it.

    Parameters
    ----------
    points, labels
        See `embed_points`.
    side
        Pixels of the maps along y and x.
    image_size
        Height and width in pixels of the image that they stand for.
    """
    step = image_size / side
    middles = ((np.arange(side) + 0.5) * step - 0.5).astype(np.float32)
    labels = ops.cast(labels, "int32")

    def chosen(kind: int) -> Any:
        return ops.cast(ops.equal(labels, kind), points.dtype)

    def corner(kind: int, axis: int) -> Any:
        return ops.sum(points[..., axis] * chosen(kind), axis=1)[:, None]

    def nearness(kind: int) -> Any:
        """(object, side, side): 1 at the points of a kind, falling with the distance to the nearest."""
        x, y = (ops.square(points[..., axis : axis + 1] - middles) / (2 * REACH**2) for axis in (0, 1))
        near = ops.exp(-(x[:, :, None, :] + y[:, :, :, None])) * chosen(kind)[..., None, None]
        return ops.max(near, axis=1, initial=0.0)

    box = ops.max(chosen(LAST_CORNER), axis=1, initial=0.0)[:, None, None]
    edges, radii = [], []
    for axis in (0, 1):
        low, high = corner(FIRST_CORNER, axis), corner(LAST_CORNER, axis)
        edges.append(ops.minimum(-(low - middles), high - middles) + 0.5)
        radii.append(ops.square(((low + high) / 2 - middles) / (ops.abs(high - low) / 2 + 0.5)))
    edge = ops.tanh(ops.minimum(edges[0][:, None, :], edges[1][:, :, None]) / REACH) * box
    ellipse = ops.tanh(1.0 - radii[0][:, None, :] - radii[1][:, :, None]) * box
    return ops.stack([edge, ellipse, nearness(FOREGROUND), nearness(BACKGROUND)], axis=-1)


def joined(
    points: np.ndarray | None, labels: np.ndarray | None, boxes: np.ndarray | None, count: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Prompts of several objects as the network takes them.

    Parameters
    ----------
    points, labels
        float (object, point, 2), x and y in pixels of the network's image, and `BACKGROUND` or `FOREGROUND` for each.
    boxes
        float (object, 4): x and y of the first and of the last corner.
    count
        Number of objects where there are neither points nor boxes.

    Returns
    -------
    tuple of numpy.ndarray
        Points (object, point, 2), float32, and their labels (object, point), int32. As in the official package, points
        without a box are followed by one that is none.
    """
    kept, kinds = np.zeros((count, 0, 2), np.float32), np.zeros((count, 0), np.int32)
    if points is not None:
        kept, kinds = np.asarray(points, np.float32), np.asarray(labels, np.int32)
        if boxes is None:
            kept = np.pad(kept, ((0, 0), (0, 1), (0, 0)))
            kinds = np.pad(kinds, ((0, 0), (0, 1)), constant_values=PADDING)
    if boxes is not None:
        corners = np.asarray(boxes, np.float32).reshape(-1, 2, 2)
        kept = corners if points is None else np.concatenate([kept, corners], axis=1)
        ends = np.tile(np.array([FIRST_CORNER, LAST_CORNER], np.int32), (len(corners), 1))
        kinds = ends if points is None else np.concatenate([kinds, ends], axis=1)
    return kept, kinds
