"""Training on several GPUs of one machine, and on several machines.

Several GPUs: `tf.distribute.MirroredStrategy`, which `keras.Model.fit` supports; a batch is divided among them.

Several machines: every worker is started with the same command and its own `TF_CONFIG`. `fit` of Keras 3 fails under
`tf.distribute.MultiWorkerMirroredStrategy` (seen with 3.15), so each worker trains a model of its own on its part of
the batch, and gradients are averaged over the workers before they are applied: the weights stay equal. The strategy is
only made because it connects the workers. Statistics of batch normalisation are averaged too. Worker 0 writes the run
folder.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from bmzpack.errors import UserError

_GROUP = 7411
"""Key of the group of workers; any number that no strategy uses in the same process."""


@dataclasses.dataclass(frozen=True)
class Workers:
    """The processes that train together."""

    index: int = 0
    count: int = 1

    @property
    def chief(self) -> bool:
        """Whether this process writes the run folder."""
        return self.index == 0

    def mean(self, tensors: Sequence[Any], key: int) -> list[tf.Tensor]:
        """Average float tensors over the workers; all workers must call it alike.

        Parameters
        ----------
        tensors
            Tensors that have the same shapes on every worker.
        key
            Another one for every place where this is called.

        Returns
        -------
        list of tf.Tensor
            Float32, shapes as given.
        """
        tensors = [tf.cast(tf.convert_to_tensor(tensor), tf.float32) for tensor in tensors]
        if self.count == 1:
            return tensors
        flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
        total = tf.raw_ops.CollectiveReduceV2(
            input=flat,
            group_size=self.count,
            group_key=_GROUP,
            instance_key=key,
            ordering_token=[],
            merge_op="Add",
            final_op="Id",
        )
        parts = tf.split(total / self.count, [tensor.shape.num_elements() for tensor in tensors])
        return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def share(self, model: keras.Model, optimiser: keras.optimizers.Optimizer) -> None:
        """Let an optimiser apply the gradients of all workers, and average the model's statistics in every step."""
        if self.count == 1:
            return
        statistics = [variable for variable in model.variables if variable.name.startswith("moving_")]
        apply = optimiser.apply

        def apply_mean(grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
            means = self.mean([*grads, *statistics], key=1)
            for variable, value in zip(statistics, means[len(grads) :], strict=True):
                variable.assign(value)
            apply(means[: len(grads)], trainable_variables)

        optimiser.apply = apply_mean


def join_workers() -> Workers:
    """Connect with the workers that `TF_CONFIG` names; call it before TensorFlow computes anything.

    Returns
    -------
    Workers
        One alone where `TF_CONFIG` is not set.

    Raises
    ------
    UserError
        `TF_CONFIG` cannot be understood, or TensorFlow has been used already.
    """
    if not os.environ.get("TF_CONFIG"):
        return Workers()
    try:
        content = json.loads(os.environ["TF_CONFIG"])
        count, index = len(content["cluster"]["worker"]), int(content["task"]["index"])
        if set(content["cluster"]) != {"worker"} or content["task"]["type"] != "worker" or not 0 <= index < count:
            raise ValueError("only tasks of type worker are supported")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"The environment variable TF_CONFIG is not usable ({error!r}): write it as "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}.'
        ) from error
    if count == 1:
        return Workers()
    if len(tf.config.list_physical_devices("GPU")) > 1:
        raise UserError("With TF_CONFIG every worker takes one GPU: start one per GPU, each with CUDA_VISIBLE_DEVICES.")
    try:
        tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise UserError(
            "TF_CONFIG is set, but TensorFlow was in use already: start training in a new process."
        ) from error
    return Workers(index, count)


def replicas() -> tf.distribute.Strategy:
    """The strategy under which a model is made and compiled: all GPUs of this machine, if there are several."""
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()
