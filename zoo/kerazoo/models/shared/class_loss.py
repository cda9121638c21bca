"""Losses on class indices: a weighted sum of cross-entropy, soft Dice, focal, Tversky and squared error terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from bmzpack.errors import UserError
from kerazoo.config import LossConfig

ops: Any = keras.ops

FLOOR = 1e-30
"""Least probability whose logarithm is taken. So low that the gradient through a float32 softmax stays that of the
numerically stable form on logits."""


class ClassLoss(keras.losses.Loss):
    """A weighted sum of losses between class indices and class probabilities, in float32.

    Every term is computed over all pixels (or patches) of the batch together; those whose index is no class (such as
    255) count nowhere.

    | term | per pixel or class | paper |
    | --- | --- | --- |
    | cross_entropy | mean of -log p, weighted by class | Ronneberger et al. 2015 |
    | focal | mean of -(1 - p)^gamma log p, weighted by class | Lin et al. 2017 |
    | dice | 1 - 2 TP / (2 TP + FP + FN) | Milletari et al. 2016, without their squares |
    | tversky | 1 - TP / (TP + alpha FP + (1 - alpha) FN) | Salehi et al. 2017 |
    | squared_error | mean of (t - p)^2, t = 1 for the true class and -1 for the others | LeCun et al. 1989 |

    p is the probability of the true class; TP, FP and FN are sums of probabilities. Dice and Tversky are averaged over
    the classes that occur in the batch.

    Parameters
    ----------
    cross_entropy, dice, focal, tversky, squared_error
        Weight of each term.
    focal_gamma
        Exponent of the focal term.
    tversky_alpha
        Weight of false positives.
    class_weights
        One weight per class, for cross-entropy and focal; by default all are equal.
    """

    def __init__(
        self,
        cross_entropy: float = 1.0,
        dice: float = 1.0,
        focal: float = 0.0,
        focal_gamma: float = 2.0,
        tversky: float = 0.0,
        tversky_alpha: float = 0.3,
        squared_error: float = 0.0,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(name="loss", dtype="float32")
        self.cross_entropy = cross_entropy
        self.dice = dice
        self.focal = focal
        self.focal_gamma = focal_gamma
        self.tversky = tversky
        self.tversky_alpha = tversky_alpha
        self.squared_error = squared_error
        self.class_weights = class_weights

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compute the loss.

        Parameters
        ----------
        y_true
            Class indices (batch, [y, x,] 1).
        y_pred
            Class probabilities (batch, [y, x,] class); for squared errors any scores.

        Returns
        -------
        tensor
            A scalar.
        """
        classes = y_pred.shape[-1]
        truth = ops.cast(ops.equal(y_true, ops.arange(classes, dtype=y_true.dtype)), "float32")
        loss = 0.0
        if self.cross_entropy or self.focal:
            loss += self._of_pixels(truth, y_pred)
        if self.dice or self.tversky:
            loss += self._of_classes(truth, y_pred)
        if self.squared_error:
            valid = ops.sum(truth, axis=-1, keepdims=True)
            errors = ops.sum(valid * (2 * truth - 1 - y_pred) ** 2)
            loss += self.squared_error * errors / ops.maximum(classes * ops.sum(valid), 1.0)
        return loss

    def _of_pixels(self, truth: Any, probability: Any) -> Any:
        weights = truth if self.class_weights is None else truth * np.asarray(self.class_weights, np.float32)
        weights = ops.sum(weights, axis=-1)
        total = ops.maximum(ops.sum(weights), keras.config.epsilon())
        of_true_class = ops.sum(truth * probability, axis=-1)
        surprise = -ops.log(ops.maximum(of_true_class, FLOOR))
        loss = 0.0
        if self.cross_entropy:
            loss += self.cross_entropy * ops.sum(weights * surprise) / total
        if self.focal:
            doubt = ops.maximum(1 - of_true_class, keras.config.epsilon()) ** self.focal_gamma
            loss += self.focal * ops.sum(weights * doubt * surprise) / total
        return loss

    def _of_classes(self, truth: Any, probability: Any) -> Any:
        valid = ops.sum(truth, axis=-1, keepdims=True)
        every = tuple(range(len(truth.shape) - 1))
        size = ops.sum(truth, axis=every)
        hits = ops.sum(truth * probability, axis=every)
        false_positives = ops.sum(valid * probability, axis=every) - hits
        misses = size - hits
        occurs = ops.cast(size > 0, "float32")
        present = ops.maximum(ops.sum(occurs), 1.0)

        def distance(alpha: float) -> Any:
            overlap = hits / ops.maximum(hits + alpha * false_positives + (1 - alpha) * misses, keras.config.epsilon())
            return ops.sum(occurs * (1 - overlap)) / present

        loss = 0.0
        if self.dice:
            loss += self.dice * distance(0.5)
        if self.tversky:
            loss += self.tversky * distance(self.tversky_alpha)
        return loss


def make_loss(config: LossConfig, counts: np.ndarray) -> ClassLoss:
    """The loss of a configuration.

    Parameters
    ----------
    config
        Weights of the terms and of the classes.
    counts
        Training pixels (or patches) of each class, for `balanced` class weights.

    Returns
    -------
    ClassLoss
        Balanced weights are proportional to 1 / counts, 0 for a class without any.

    Raises
    ------
    UserError
        No term has a weight, or the class weights are not one per class.
    """
    if not config.terms:
        raise UserError("training.loss: all terms have the weight 0; give at least one of them a weight.")
    weights = config.class_weights
    if weights == "balanced":
        weights = [float(counts.sum() / (np.count_nonzero(counts) * count)) if count else 0.0 for count in counts]
    elif weights is not None and len(weights) != len(counts):
        raise UserError(
            f"training.loss.class_weights has {len(weights)} values for {len(counts)} classes: give one per class."
        )
    elif weights is not None and (min(weights) < 0 or max(weights) == 0):
        raise UserError("training.loss.class_weights: none may be negative, and at least one must be more than 0.")
    return ClassLoss(**config.model_dump(exclude={"class_weights"}), class_weights=weights)
