"""Losses on class indices: a weighted sum of cross-entropy, soft Dice, focal and Tversky terms."""

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


class SegmentationLoss(keras.losses.Loss):
    """A weighted sum of losses between class indices and class probabilities, in float32.

    Every term is computed over all pixels of the batch together; pixels whose index is no class (such as 255) count
    nowhere.

    | term | per pixel or class | paper |
    | --- | --- | --- |
    | cross_entropy | mean of -log p, weighted by class | Ronneberger et al. 2015 |
    | focal | mean of -(1 - p)^gamma log p, weighted by class | Lin et al. 2017 |
    | dice | 1 - 2 TP / (2 TP + FP + FN) | Milletari et al. 2016, without their squares |
    | tversky | 1 - TP / (TP + alpha FP + (1 - alpha) FN) | Salehi et al. 2017 |

    p is the probability of the true class; TP, FP and FN are sums of probabilities. Dice and Tversky are averaged over
    the classes that occur in the batch.

    Parameters
    ----------
    cross_entropy, dice, focal, tversky
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
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(name="loss", dtype="float32")
        self.cross_entropy = cross_entropy
        self.dice = dice
        self.focal = focal
        self.focal_gamma = focal_gamma
        self.tversky = tversky
        self.tversky_alpha = tversky_alpha
        self.class_weights = class_weights

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compute the loss.

        Parameters
        ----------
        y_true
            Class indices (batch, y, x, 1).
        y_pred
            Class probabilities (batch, y, x, class).

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
        size = ops.sum(truth, axis=(0, 1, 2))
        hits = ops.sum(truth * probability, axis=(0, 1, 2))
        false_positives = ops.sum(valid * probability, axis=(0, 1, 2)) - hits
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


def make_loss(config: LossConfig, pixels: np.ndarray) -> SegmentationLoss:
    """The loss of a configuration.

    Parameters
    ----------
    config
        Weights of the terms and of the classes.
    pixels
        Training pixels of each class, for `balanced` class weights.

    Returns
    -------
    SegmentationLoss
        Balanced weights are proportional to 1 / pixels, 0 for a class without any.

    Raises
    ------
    UserError
        No term has a weight, or the class weights are not one per class.
    """
    terms = config.model_dump(exclude={"class_weights"})
    if not any(terms[name] for name in ("cross_entropy", "dice", "focal", "tversky")):
        raise UserError("training.loss: all terms have the weight 0; give at least one of them a weight.")
    weights = config.class_weights
    if weights == "balanced":
        weights = [float(pixels.sum() / (np.count_nonzero(pixels) * count)) if count else 0.0 for count in pixels]
    elif weights is not None and len(weights) != len(pixels):
        raise UserError(
            f"training.loss.class_weights has {len(weights)} values for {len(pixels)} classes: give one per class."
        )
    elif weights is not None and (min(weights) < 0 or max(weights) == 0):
        raise UserError("training.loss.class_weights: none may be negative, and at least one must be more than 0.")
    return SegmentationLoss(**terms, class_weights=weights)
