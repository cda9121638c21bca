"""The loss of Omnipose: flows, their direction, length and slopes, distances and their slopes, and boundaries."""

from __future__ import annotations

from typing import Any

import keras

from kerazoo.models.omnipose.targets import FLOW_SCALE

ops: Any = keras.ops

TINY = 0.01
"""Added to squared lengths, so that lengths have a slope and vectors a direction at 0; two zeros have the same."""


class FieldLoss(keras.losses.Loss):
    """A weighted sum of seven terms, each a mean over pixels of the batch, in float32.

    | term | mean of | over | weight |
    | --- | --- | --- | --- |
    | flow | squared error of the components | pixels | 10 |
    | direction | 1 - cosine of the angle between the flows, times the true length | objects | 1 |
    | length | squared error of the length of the flow | objects | 2 |
    | flow slopes | squared error of the differences between neighbours | pairs in objects | 0.1 |
    | distance | squared error | pixels | 2 |
    | distance slopes | squared error of the differences between neighbours | pairs in objects | 0.1 |
    | boundary | cross-entropy | pixels | 2 |

    All but the boundary's are weighted by pixel as the target says; pixels whose weight is negative count nowhere.

    Notes
    -----
    The kinds of terms are those of Omnipose (Cutler et al. 2022, a high-precision morphology-independent solution for
    bacterial cell segmentation), the weights this package's. The cosine stands for the angle itself, whose slope has no
    limit where the directions agree; the true length, in units of `FLOW_SCALE`, lets it count where there is one.
    """

    def __init__(self) -> None:
        super().__init__(name="loss", dtype="float32")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compute the loss.

        Parameters
        ----------
        y_true
            Flow along y and x, distance, boundary and weight (batch, y, x, 5), see
            `kerazoo.models.omnipose.targets.field_targets`.
        y_pred
            Flow along y and x, distance and logit of the boundary (batch, y, x, 4).

        Returns
        -------
        tensor
            A scalar.
        """
        counts = ops.cast(y_true[..., 4] >= 0, "float32")
        weight = ops.maximum(y_true[..., 4], 0.0)
        inside = counts * ops.cast(y_true[..., 2] > 0, "float32")
        flow, true_flow = y_pred[..., :2], y_true[..., :2]
        distance, true_distance = y_pred[..., 2:3], y_true[..., 2:3]
        length, true_length = _length(flow), _length(true_flow)
        turned = true_length - (ops.sum(flow * true_flow, axis=-1) + TINY) / length
        boundary, logit = y_true[..., 3], y_pred[..., 3]
        return (
            10 * _mean(weight * ops.mean(ops.square(flow - true_flow), axis=-1), counts)
            + _mean(weight * turned / FLOW_SCALE, inside)
            + 2 * _mean(weight * ops.square(length - true_length), inside)
            + 0.1 * _of_slopes(flow - true_flow, weight * inside, inside)
            + 2 * _mean(weight * ops.square(distance - true_distance)[..., 0], counts)
            + 0.1 * _of_slopes(distance - true_distance, weight * inside, inside)
            + 2 * _mean(ops.softplus(logit) - boundary * logit, counts)
        )


def _length(vectors: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(vectors), axis=-1) + TINY)


def _mean(values: Any, counts: Any) -> Any:
    """Mean of the values where they count, 0 where none does."""
    return ops.sum(counts * values) / ops.maximum(ops.sum(counts), 1.0)


def _of_slopes(errors: Any, weight: Any, inside: Any) -> Any:
    """Weighted mean square of how the errors change from pixel to pixel, over neighbours that are both inside."""
    total, pairs = 0.0, 0.0
    for axis in (1, 2):
        one, other = [slice(None)] * 3, [slice(None)] * 3
        one[axis], other[axis] = slice(1, None), slice(None, -1)
        one, other = tuple(one), tuple(other)
        both = inside[one] * inside[other]
        change = ops.mean(ops.square(errors[one] - errors[other]), axis=-1)
        total += ops.sum(both * weight[one] * change)
        pairs += ops.sum(both)
    return total / ops.maximum(pairs, 1.0)
