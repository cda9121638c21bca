"""The loss of Cellpose: squared errors of the flows and cross-entropy of the cell probability."""

from __future__ import annotations

from typing import Any

import keras

from kerazoo.models.cellpose.targets import FLOW_SCALE

ops: Any = keras.ops


class FlowLoss(keras.losses.Loss):
    """Half the mean squared error of the flows, plus the mean cross-entropy of the foreground, in float32.

    Both are means over all pixels of the batch; those whose foreground is negative count nowhere.

    Notes
    -----
    Stringer, Wang, Michaelos and Pachitariu (2021), Cellpose: a generalist algorithm for cellular segmentation.
    """

    def __init__(self) -> None:
        super().__init__(name="loss", dtype="float32")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compute the loss.

        Parameters
        ----------
        y_true
            Vertical flow, horizontal flow, and foreground: 1, 0, or -1 where ignored (batch, y, x, 3); see
            `kerazoo.models.cellpose.targets.flow_targets`.
        y_pred
            Five times the flows, and the logit of the cell probability (batch, y, x, 3).

        Returns
        -------
        tensor
            A scalar.
        """
        foreground, logit = y_true[..., 2], y_pred[..., 2]
        counts = ops.cast(foreground >= 0, "float32")
        cell = ops.cast(foreground > 0.5, "float32")
        errors = ops.sum(ops.square(FLOW_SCALE * y_true[..., :2] - y_pred[..., :2]), axis=-1)
        # Of a mean over two components half is taken.
        per_pixel = errors / 4 + ops.softplus(logit) - cell * logit
        return ops.sum(counts * per_pixel) / ops.maximum(ops.sum(counts), 1.0)
