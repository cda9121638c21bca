"""Optimisers, and the learning rate as a function of the step."""

from __future__ import annotations

import math

import keras

from kerazoo.config import TrainingConfig


def make_optimiser(config: TrainingConfig) -> keras.optimizers.Optimizer:
    """The optimiser of a configuration; weight decay leaves out biases and normalisation.

    Parameters
    ----------
    config
        Its ``optimizer``, ``learning_rate``, ``weight_decay``, ``momentum`` and ``clip_norm`` are used.

    Returns
    -------
    keras.optimizers.Optimizer
        AdamW (Loshchilov and Hutter 2019), Adam (Kingma and Ba 2015), RMSprop, or SGD with momentum.
    """
    common = {"learning_rate": config.learning_rate, "global_clipnorm": config.clip_norm}
    match config.optimizer:
        case "adamw":
            optimiser = keras.optimizers.AdamW(weight_decay=config.weight_decay, **common)
            optimiser.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
            return optimiser
        case "adam":
            return keras.optimizers.Adam(**common)
        case "rmsprop":
            return keras.optimizers.RMSprop(**common)
        case "sgd":
            return keras.optimizers.SGD(momentum=config.momentum, **common)


def learning_rate(config: TrainingConfig, step: int, warmup_steps: int, total_steps: int) -> float:
    """The learning rate of a step, before `plateau` has lowered it.

    It rises linearly from 0 during the warmup; then it is constant, or falls as half a cosine (Loshchilov and Hutter
    2017) to 0 after the last step.

    Parameters
    ----------
    config
        Its ``learning_rate`` and ``schedule`` are used.
    step
        0 for the first step.
    warmup_steps, total_steps
        Length of the warmup, and of the whole training.

    Returns
    -------
    float
        More than 0.
    """
    if step < warmup_steps:
        return config.learning_rate * (step + 1) / (warmup_steps + 1)
    if config.schedule != "cosine":
        return config.learning_rate
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return config.learning_rate * (1 + math.cos(math.pi * progress)) / 2
