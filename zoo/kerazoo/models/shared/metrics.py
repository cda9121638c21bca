"""Metrics of a whole epoch, from one confusion matrix."""

from __future__ import annotations

from typing import Any

import keras

ops: Any = keras.ops


class ConfusionMetrics(keras.metrics.Metric):
    """Accuracy, mean IoU and Dice of the foreground of an epoch's pixels; accuracy and balanced accuracy of patches.

    Pixels whose index is no class (such as 255) are not counted.

    Parameters
    ----------
    classes
        Number of classes.
    foreground
        Whether class 0 is a background, so that the Dice of all other classes together says something.
    patches
        Whether patches are counted and not pixels.
    """

    def __init__(self, classes: int, foreground: bool, patches: bool = False) -> None:
        super().__init__(name="confusion", dtype="float32")
        self.patches = patches
        self.foreground = foreground
        # Counts of an epoch exceed what float32 and int32 hold exactly.
        self.matrix = self.add_weight(shape=(classes, classes), initializer="zeros", dtype="int64", name="matrix")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: None = None) -> None:
        """Count pixels.

        Parameters
        ----------
        y_true
            Class indices (batch, [y, x,] 1).
        y_pred
            Class probabilities or scores (batch, [y, x,] class).
        sample_weight
            Not used.
        """
        classes = self.matrix.shape[0]
        indices = ops.arange(classes, dtype="int32")
        truth = ops.cast(ops.equal(ops.cast(y_true, "int32"), indices), "float32")
        predicted = ops.cast(ops.equal(ops.cast(ops.argmax(y_pred, axis=-1), "int32")[..., None], indices), "float32")
        counts = ops.matmul(ops.transpose(ops.reshape(truth, (-1, classes))), ops.reshape(predicted, (-1, classes)))
        self.matrix.assign_add(ops.cast(counts, "int64"))

    def result(self) -> dict[str, Any]:
        """The metrics so far; means are those of the classes that occur, for IoU also of those that are predicted."""
        matrix = ops.cast(self.matrix, "float32")
        hits, true, predicted = ops.diagonal(matrix), ops.sum(matrix, axis=1), ops.sum(matrix, axis=0)
        scores = {"accuracy": ops.sum(hits) / ops.maximum(ops.sum(matrix), 1.0)}
        name, whole = ("balanced_accuracy", true) if self.patches else ("mean_iou", true + predicted - hits)
        occurring = ops.maximum(ops.sum(ops.cast(whole > 0, "float32")), 1.0)
        scores[name] = ops.sum(hits / ops.maximum(whole, 1.0)) / occurring
        if self.foreground:
            both = ops.sum(matrix[1:, 1:])
            scores["foreground_dice"] = 2 * both / ops.maximum(ops.sum(true[1:]) + ops.sum(predicted[1:]), 1.0)
        return scores
