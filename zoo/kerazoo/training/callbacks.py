"""What happens between the steps and epochs of a training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bmzpack.errors import UserError
from kerazoo.config import TrainingConfig
from kerazoo.training.checkpoint import Checkpoint
from kerazoo.training.distribute import Workers
from kerazoo.training.state import Position

PLATEAU_EPOCHS, PLATEAU_FACTOR = 5, 0.5
"""The schedule `plateau` multiplies the learning rate by the factor after so many epochs without improvement."""


class LearningRate(keras.callbacks.Callback):
    """Sets the learning rate before every step.

    Parameters
    ----------
    optimiser
        Whose learning rate it is.
    rate
        From the step, counted from the first epoch of the training, to the learning rate.
    steps
        Steps of an epoch.
    position
        Where the training stands.
    """

    def __init__(
        self, optimiser: keras.optimizers.Optimizer, rate: Callable[[int], float], steps: int, position: Position
    ) -> None:
        super().__init__()
        self._optimiser, self._rate, self._steps, self._position = optimiser, rate, steps, position

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Set it."""
        step = self._position.epoch * self._steps + batch
        self._optimiser.learning_rate = self._rate(step) * self._position.rate_factor


class EndOfEpoch(keras.callbacks.Callback):
    """Keeps history, best network and state, and decides whether to go on.

    Parameters
    ----------
    network
        The whole network, also where only its head is fitted.
    config
        Its ``early_stopping`` and ``schedule`` are used.
    position
        Where the training stands; it is updated.
    workers
        The processes that train together; all decide alike.
    checkpoint
        Writes the result; None for all workers but the chief.
    started
        When the work on the first epoch began, by `time.monotonic`: features of a fixed encoder take their time too.
    """

    def __init__(
        self,
        network: keras.Model,
        config: TrainingConfig,
        position: Position,
        workers: Workers,
        checkpoint: Checkpoint | None,
        started: float,
    ) -> None:
        super().__init__()
        self._network, self._config, self._position, self._checkpoint = network, config, position, checkpoint
        self._agreed = tf.function(lambda loss: workers.mean([loss], key=2)[0], autograph=False)
        self._time = started

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stop where the loss is no number."""
        if not math.isfinite((logs or {})["loss"]):
            raise UserError(
                f"The loss became {float((logs or {})['loss'])} in epoch {self._position.epoch + 1}, step {batch + 1}: "
                f"lower training.learning_rate ({self._config.learning_rate:g}), set training.clip_norm to 1, or "
                "set training.precision to float32."
            )

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Update the position and write everything."""
        logs, position = dict(logs or {}), self._position
        fitted: Any = self.model  # the network, or its head where only that is fitted
        logs["val_loss"] = float(self._agreed(tf.constant(logs["val_loss"], tf.float32)))
        if not math.isfinite(logs["val_loss"]):
            raise UserError(
                f"The validation loss became {logs['val_loss']} in epoch {epoch + 1}: lower training.learning_rate "
                f"({self._config.learning_rate:g}), or set training.precision to float32."
            )
        if logs["loss"] == 0 and logs["val_loss"] == 0:
            raise UserError(
                f"The loss of epoch {epoch + 1} is exactly 0, in training and in validation: no pixel is left to learn "
                "from. Look at the masks, and at data.annotation, data.background and data.ignore."
            )
        position.epoch = epoch + 1
        rate = float(np.asarray(keras.ops.convert_to_numpy(fitted.optimizer.learning_rate)))
        position.history.append({"epoch": position.epoch, "learning_rate": rate, **_ordered(logs)})

        better = position.best_loss is None or logs["val_loss"] < position.best_loss
        if better:
            position.best_loss, position.best_epoch = logs["val_loss"], position.epoch
        position.waited = 0 if better else position.waited + 1
        position.plateau = 0 if better else position.plateau + 1
        if self._config.schedule == "plateau" and position.plateau >= PLATEAU_EPOCHS:
            position.plateau, position.rate_factor = 0, position.rate_factor * PLATEAU_FACTOR
        if self._config.early_stopping is not None and position.waited >= self._config.early_stopping:
            position.stopped = fitted.stop_training = True

        now = time.monotonic()
        position.seconds, self._time = position.seconds + now - self._time, now
        if self._checkpoint is not None:
            self._checkpoint.take(position, self._network, fitted.optimizer, better)


def _ordered(logs: dict[str, Any]) -> dict[str, float]:
    """Losses first, every metric followed by that of the validation."""
    names = ["loss", *sorted(name for name in logs if name != "loss" and not name.startswith("val_"))]
    return {key: float(logs[key]) for name in names for key in (name, f"val_{name}") if key in logs}
