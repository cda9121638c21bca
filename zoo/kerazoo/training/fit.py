"""Fitting a network, from a configuration to a run folder with the network of the best epoch."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from rich.console import Console

from bmzpack.errors import UserError
from kerazoo.config import Config, TrainingConfig
from kerazoo.data.feed import Feed
from kerazoo.data.pipeline import one_thread_per_batch
from kerazoo.files.pairs import pairs_of
from kerazoo.runs.run import Run
from kerazoo.training.callbacks import EndOfEpoch, LearningRate
from kerazoo.training.checkpoint import Checkpoint
from kerazoo.training.distribute import join_workers
from kerazoo.training.fixed_features import head_of
from kerazoo.training.folder import Claim, check_folder, write_beginning
from kerazoo.training.interrupt import Interruptible
from kerazoo.training.job import Job, prepare
from kerazoo.training.optimisers import learning_rate, make_optimiser
from kerazoo.training.progress import Progress
from kerazoo.training.state import Position, State, read_state, restore
from kerazoo.training.transfer import WHOLE, Phase, choose_trainable, phases_of


def fit(
    config: Config,
    run: str | os.PathLike[str],
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    finish: Callable[[Run], None] = lambda run: None,
) -> Run:
    """Train a network.

    Parameters
    ----------
    config
        With absolute paths. ``training.deterministic`` switches deterministic operations on for the rest of the
        process: TensorFlow cannot switch them off again.
    run
        The run folder.
    resume
        Whether to continue an interrupted run after its last complete epoch. Its history becomes the same as if it had
        not been interrupted.
    overwrite
        Whether an existing run may be replaced; it is kept aside until the new one has a complete epoch.
    progress
        Whether to show a live table (in a terminal) or a line per epoch (elsewhere) on standard output.
    finish
        What is done with the trained run, by the worker that writes it; an interruption of it is answered like one of
        the training.

    Returns
    -------
    Run
        The run folder, with the network of the best epoch, recipe and record.

    Raises
    ------
    UserError
        Something in configuration or data cannot be used, the folder exists, or the loss became NaN.
    KeyboardInterrupt
        With a message on how to continue, where an epoch was complete. Without one, the folder is removed."""
    if keras.backend.backend() != "tensorflow":
        raise UserError(f"Training needs KERAS_BACKEND=tensorflow, but it is {keras.backend.backend()}: set it.")
    if config.data.annotation == "image" and not config.data.classes:
        config = config.model_copy(deep=True)
        config.data.classes = sorted({str(pair.category) for pair in pairs_of(config.data)})
    folder = Run(run)
    workers = join_workers()
    if workers.chief or resume:
        check_folder(folder, config, resume, overwrite)

    if config.training.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.training.seed)
    job = prepare(config, workers)
    state = read_state(folder) if resume else None
    position = state.position if state else Position()
    console = Console(quiet=not (progress and workers.chief), highlight=False)
    console.print(
        f"{job.best.count_params():,} parameters, {job.feed.about}, {job.policy}"
        + (f", continued after epoch {position.epoch}" if position.epoch else "")
    )
    claim = Claim(folder)
    try:
        if workers.chief:
            if not resume:
                claim.take(overwrite)
            write_beginning(folder, job, resume)
        with one_thread_per_batch():
            _fit(job, folder, state, position, console)
        if workers.chief:
            _write_record(job, folder, position)
            finish(folder)
    except BaseException as error:
        if workers.chief and not resume:
            (claim.settle if position.epoch else claim.undo)()
        if isinstance(error, tf.errors.ResourceExhaustedError):
            raise UserError(
                f"There is not enough memory to train: lower training.batch_size ({config.training.batch_size}) or "
                f"training.patch_size ({config.training.patch_size})."
            ) from error
        if isinstance(error, KeyboardInterrupt) and position.epoch:
            raise KeyboardInterrupt(
                f"Interrupted: {folder.path} holds {position.epoch} of {config.training.epochs} epochs; continue with "
                "the same command and --resume."
            ) from error
        if isinstance(error, KeyboardInterrupt) and not resume:
            raise KeyboardInterrupt(
                f"Interrupted: no epoch was complete, and nothing is left of {folder.path}"
                + (" but what was there before." if overwrite else ".")
            ) from error
        raise
    claim.settle()
    return folder


def _fit(job: Job, run: Run, state: State | None, position: Position, console: Console) -> None:
    config, workers = job.config, job.workers
    steps = job.feed.steps

    checkpoint = Checkpoint(run, job.best) if workers.chief else None
    for phase in phases_of(config, job.model):
        if position.stopped or position.epoch >= phase.end:
            continue
        settings = config.training
        if phase.end < settings.epochs:  # a phase that has converged is no reason to leave out the next one
            settings = settings.model_copy(update={"early_stopping": None})
        if position.epoch == phase.start:
            position.waited = 0
        started = time.monotonic()
        choose_trainable(job.model, config, phase.frozen)
        if state is not None:
            restore(state, job.model)
        fitted, feed = _head_or_all(job, phase)
        with job.strategy.scope():
            optimiser = make_optimiser(config.training)
            job.compile(fitted, optimiser, job.family.metrics(config) if len(job.feed.counts) else [])
            # Else the first step makes the optimiser's variables, and is traced twice for it.
            fitted.optimizer.build(fitted.trainable_variables)
        workers.share(job.model, optimiser)
        if state is not None and position.epoch > phase.start:
            restore(state, job.model, fitted.optimizer)
        state = None  # a phase after this one goes on from what it has learned
        callbacks: list[keras.callbacks.Callback] = [
            LearningRate(optimiser, functools.partial(_rate, config.training, phase, steps), steps, position),
            EndOfEpoch(job.model, settings, position, workers, checkpoint, started),
        ]
        if workers.chief:
            callbacks.append(keras.callbacks.TensorBoard(str(run.path / "tensorboard"), write_graph=False))
        display, interruptible = Progress(position, config.training.epochs, steps, console), Interruptible()
        try:
            with interruptible.listening():
                fitted.fit(
                    job.training(feed, step=position.epoch * steps),
                    initial_epoch=position.epoch,
                    epochs=phase.end,
                    steps_per_epoch=steps,
                    validation_data=job.validation(feed),
                    callbacks=[*callbacks, display, interruptible],
                    shuffle=False,
                    verbose=0,
                )
        finally:
            display.close()
            if checkpoint is not None:
                checkpoint.write()


def _head_or_all(job: Job, phase: Phase) -> tuple[Any, Feed]:
    """What is fitted, and what it is fed with; only the head, where fixed layers give the same features each epoch."""
    layer = job.family.features_layer
    alone = job.workers.count == 1 and job.strategy.num_replicas_in_sync == 1
    head = head_of(job.model, job.feed, layer) if layer and alone and phase.frozen == WHOLE else None
    return head or (job.family.fitted(job.model, job.config), job.feed)


def _write_record(job: Job, run: Run, position: Position) -> None:
    run.update_record(
        parameters=job.best.count_params(),
        epochs=position.epoch,
        best_epoch=position.best_epoch,
        best_validation_loss=position.best_loss,
        steps_per_epoch=job.feed.steps,
        seconds=round(position.seconds, 1),
    )


def _rate(config: TrainingConfig, phase: Phase, steps: int, step: int) -> float:
    warmup = round(config.warmup_epochs * steps)
    return phase.rate * learning_rate(config, step - phase.start * steps, warmup, (phase.end - phase.start) * steps)
