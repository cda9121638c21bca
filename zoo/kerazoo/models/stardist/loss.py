"""The loss of StarDist (Schmidt et al. 2018): cross-entropy of the probability, absolute error of the distances."""

from __future__ import annotations

from typing import Any

import keras

ops: Any = keras.ops

WEIGHTS = (1.0, 0.2)
"""Weights of the probability and of the distances by default, as in stardist 0.9.2."""


class StarLoss(keras.losses.Loss):
    """Loss between `kerazoo.models.stardist.targets.star_targets` and the network's output, in float32.

    A weighted sum of two terms over all pixels of the batch together. The first is the mean binary cross-entropy
    between the probabilities; pixels whose target is negative do not count. The second is the mean over the rays of the
    absolute error of the distances, averaged over the pixels with the target probability as weight, so that it does
    not depend on how much of the batch is background, plus a small multiple of the mean absolute distance that is
    predicted, with one minus the target probability as weight. As in stardist 0.9.2, ignored pixels are background in
    the second term.

    Parameters
    ----------
    weights
        Weights of the probability and of the distances.
    background
        Weight of the distances in the background within the second term.
    """

    def __init__(
        self, weights: tuple[float, float] = WEIGHTS, background: float = 1e-4, name: str = "star_loss"
    ) -> None:
        super().__init__(name=name, dtype="float32")
        self.weights = tuple(weights)
        self.background = background

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compute the loss.

        Parameters
        ----------
        y_true
            Star targets (batch, y, x, 1 + rays).
        y_pred
            Predicted probabilities between 0 and 1, and distances, of the same shape.

        Returns
        -------
        tensor
            A scalar.
        """
        probability_target, target = y_true[..., 0], y_true[..., 1:]
        # the gradient of a split is a concatenation, that of slices a sum of padded ones
        probability, distances = ops.split(y_pred, [1], axis=-1)
        probability = ops.squeeze(probability, axis=-1)

        valid = ops.cast(probability_target >= 0, "float32")
        inside = ops.maximum(probability_target, 0.0)
        surprise = ops.binary_crossentropy(inside, probability)
        loss = self.weights[0] * ops.sum(valid * surprise) / ops.maximum(ops.sum(valid), 1.0)

        error = ops.mean(ops.abs(target - distances), axis=-1)
        error = ops.mean(inside * error) / (ops.mean(inside) + keras.config.epsilon())
        silence = ops.mean((1.0 - inside) * ops.mean(ops.abs(distances), axis=-1))
        return loss + self.weights[1] * (error + self.background * silence)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for saving."""
        return {"weights": self.weights, "background": self.background, "name": self.name}
