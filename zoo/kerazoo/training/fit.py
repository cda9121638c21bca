"""Training, from a configuration to a run folder."""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import yaml
from rich.console import Console

from bmzpack.errors import UserError
from bmzpack.files import new_file
from bmzpack.measure.geometry import Geometry, measure
from kerazoo.config import Config, TrainingConfig, make_config, read_config
from kerazoo.data.normalise import Normalisation, fit_normalisation
from kerazoo.data.patch_batches import is_augmented
from kerazoo.data.patches import patch_of
from kerazoo.data.rescale import rescaled_to, typical_diameter
from kerazoo.data.split import split_pairs
from kerazoo.files.pairs import Pair, load_pair, pairs_of, separated, sha256_of
from kerazoo.models.patches.network import FEATURES
from kerazoo.models.recipe import Recipe, Scale, TileGeometry
from kerazoo.models.registry import create_model, get_model
from kerazoo.models.shared.class_loss import loss_of
from kerazoo.models.shared.metrics import ConfusionMetrics
from kerazoo.models.target_kinds import target_of
from kerazoo.models.weights import load_head
from kerazoo.runs.environment import describe_environment, now
from kerazoo.runs.run import Run
from kerazoo.training.callbacks import EndOfEpoch, LearningRate
from kerazoo.training.checkpoint import Checkpoint
from kerazoo.training.checks import check_copies, check_ignored, check_normalisation
from kerazoo.training.distribute import Workers, join_workers, replicas
from kerazoo.training.features import head_of
from kerazoo.training.feed import Feed, PatchFeed, PixelFeed
from kerazoo.training.optimisers import learning_rate, make_optimiser
from kerazoo.training.precision import dtype_policy, policy
from kerazoo.training.progress import Progress
from kerazoo.training.state import Position, State, read_state, remove_unfinished_files, restore
from kerazoo.training.transfer import WHOLE, Phase, check_transfer, choose_trainable, is_same_problem, phases_of


def train(
    config: Config | str | os.PathLike[str],
    run: str | os.PathLike[str] | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    overrides: Iterable[str] = (),
) -> Run:
    """Train a network and validate it.

    Parameters
    ----------
    config
        A configuration, or its YAML file.
    run
        The run folder; by default runs/NAME, after the file or the model.
    resume
        Whether to continue an interrupted run after its last complete epoch. Its history becomes the same as if it had
        not been interrupted.
    overwrite
        Whether an existing run may be replaced; it is removed when everything is checked and training begins.
    progress
        Whether to show a live table (in a terminal) or a line per epoch (elsewhere) on standard output.
    overrides
        Changes of the file, of the form ``section.key=value``.

    Returns
    -------
    Run
        The run folder, with the network of the best epoch, recipe, record and figures.

    Raises
    ------
    UserError
        Something in configuration or data cannot be used, the folder exists, or the loss became NaN.
    KeyboardInterrupt
        With a message on how to continue, where an epoch was complete. Without one, the folder is removed.

    Notes
    -----
    All workers of a `TF_CONFIG` call this alike, on a shared file system; ``training.batch_size`` is divided among
    them, and worker 0 writes and validates.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError(f"Training needs KERAS_BACKEND=tensorflow, but it is {keras.backend.backend()}: set it.")
    if not isinstance(config, Config):
        path = Path(config)
        config = read_config(path, overrides)
        run = run or Path("runs") / path.stem
    else:
        config = make_config(
            config.model_dump(exclude_unset=True), folder=Path.cwd()
        )  # a run folder keeps absolute paths
    if config.data.annotation == "image" and not config.data.classes:
        config.data.classes = sorted({str(pair.category) for pair in pairs_of(config.data)})
    folder = Run(run or Path("runs") / config.model.name)
    workers = join_workers()
    if workers.chief or resume:
        _check_folder(folder, config, resume, overwrite)

    if config.training.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.training.seed)
    job = _prepare(config, workers)
    state = read_state(folder) if resume else None
    position = state.position if state else Position()
    console = Console(quiet=not (progress and workers.chief), highlight=False)
    console.print(
        f"{job.best.count_params():,} parameters, {job.feed.about}, {job.policy}"
        + (f", continued after epoch {position.epoch}" if position.epoch else "")
    )
    try:
        if workers.chief:
            _open_folder(folder, job, overwrite, resume)
        _fit(job, folder, state, position, console)
        if workers.chief:
            _finish(job, folder, position)
    except BaseException as error:
        if workers.chief and not position.epoch and not resume:
            shutil.rmtree(folder.path, ignore_errors=True)
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
        raise
    return folder


@dataclasses.dataclass(frozen=True)
class _Job:
    """What a training works with; all of it is checked."""

    config: Config
    workers: Workers
    split: dict[str, list[dict[str, Any]]]
    feed: Feed
    normalisation: Normalisation
    loss: keras.losses.Loss
    policy: str
    strategy: tf.distribute.Strategy
    model: keras.Model
    """The network that is trained, in the policy's precision."""
    best: keras.Model
    """The same in float32: its weights are set and saved when an epoch was the best."""
    geometry: TileGeometry
    scale: Scale | None


def _prepare(config: Config, workers: Workers) -> _Job:
    if len(config.class_names) < 2:
        raise UserError(f"data.classes has {len(config.class_names)} names: name at least two classes.")
    if config.training.batch_size % workers.count:
        raise UserError(
            f"training.batch_size is {config.training.batch_size}: with {workers.count} workers, choose a multiple."
        )
    check_ignored(config)
    check_normalisation(config)
    check_transfer(config)
    name = dtype_policy(config.training)
    if name == "mixed_float16" and workers.count > 1:
        raise UserError("training.precision float16 is not supported with several workers: choose bfloat16.")

    pairs = split_pairs(pairs_of(config.data), config.split)
    split = {"train": [_described(pair) for pair in pairs.train]}
    split["validation"] = [_described(pair) for pair in pairs.validation]
    check_copies(split)
    train = [load_pair(pair, config.data) for pair in pairs.train]
    validation = [load_pair(pair, config.data) for pair in pairs.validation]
    if config.data.annotation == "binary" and get_model(config.model.name).targets:
        train, validation = ([separated(sample, config.data.ignore) for sample in side] for side in (train, validation))
    scale = None
    if config.targets.diameter is not None:
        scale = Scale(network=config.targets.diameter, images=typical_diameter(train, config.data.ignore))
        train, validation = (
            [rescaled_to(sample, scale, config.data.ignore) for sample in samples] for samples in (train, validation)
        )
    normalisation = fit_normalisation(config.normalisation, train)

    strategy = replicas()
    with strategy.scope(), policy(name):
        model = _network(config)
    with policy("float32"):
        best = _network(config)
    phases_of(config, best)
    outputs = best.outputs[0].shape[-1]
    if get_model(config.model.name).targets and outputs != len(config.class_names):
        raise UserError(
            f"{config.model.name} has {outputs} outputs with these model.arguments, but is trained with "
            f"{len(config.class_names)}: leave the argument out that changes their number."
        )
    if config.task == "classification":
        size = config.training.patch_size
        geometry = TileGeometry(step=size, halo=0, minimum=size)
        feed: Feed = PatchFeed(train, validation, config, normalisation)
    else:
        measured = measure(best)
        _check_patch_size(config.training, measured)
        geometry = TileGeometry(**dataclasses.asdict(measured), grid=target_of(config).grid)
        feed = PixelFeed(train, validation, config, normalisation, geometry.margin)
    loss = loss_of(config, feed.counts)
    job = _Job(config, workers, split, feed, normalisation, loss, name, strategy, model, best, geometry, scale)
    # What only the pipeline can find wrong is said before anything is written.
    _training_data(job, feed, step=0)
    feed.validation()
    return job


def _network(config: Config) -> keras.Model:
    size = config.training.patch_size if config.task == "classification" else None
    arguments: dict[str, Any] = {
        "input_shape": (size, size, config.data.channels),
        "classes": None if get_model(config.model.name).targets else len(config.class_names),
        "backbone": config.model.backbone,
        "weights": config.model.weights,
    }
    for key in arguments:
        if key in config.model.arguments:
            raise UserError(f"model.arguments.{key} is set by the configuration's other keys: leave it out.")
    given = {key: value for key, value in arguments.items() if value is not None}
    model = create_model(config.model.name, **given, **config.model.arguments)
    if is_same_problem(config):
        load_head(model, str(config.model.weights))
    return model


def _fit(job: _Job, run: Run, state: State | None, position: Position, console: Console) -> None:
    config, workers = job.config, job.workers
    steps = job.feed.steps

    def metrics() -> list[keras.metrics.Metric]:
        if not len(job.feed.counts):
            return []
        foreground, patches = config.targets.kind in ("border", "foreground"), config.task == "classification"
        return [ConfusionMetrics(len(config.class_names), foreground, patches)]

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
        fitted, feed = _fitted(job, phase)
        with job.strategy.scope():
            optimiser = make_optimiser(config.training)
            fitted.compile(
                optimiser,
                job.loss,
                metrics=metrics(),
                # XLA's kernels for the CPU are several times slower than oneDNN's.
                jit_compile=bool(tf.config.list_logical_devices("GPU")),
            )
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
        display = Progress(position, config.training.epochs, steps, console)
        try:
            fitted.fit(
                _training_data(job, feed, step=position.epoch * steps),
                initial_epoch=position.epoch,
                epochs=phase.end,
                steps_per_epoch=steps,
                validation_data=feed.validation(),
                callbacks=[*callbacks, display],
                shuffle=False,
                verbose=0,
            )
        finally:
            display.close()
            if checkpoint is not None:
                checkpoint.write()


def _fitted(job: _Job, phase: Phase) -> tuple[Any, Feed]:
    """The network and what it is fed with; only the head, where fixed layers give the same features each epoch."""
    feed = job.feed
    if phase.frozen != WHOLE or not isinstance(feed, PatchFeed) or is_augmented(feed.config):
        return job.model, feed
    if job.workers.count > 1 or job.strategy.num_replicas_in_sync > 1:
        return job.model, feed
    if FEATURES not in {layer.name for layer in job.model.layers}:
        return job.model, feed
    head = head_of(job.model, feed)
    return head.model, head.feed


def _finish(job: _Job, run: Run, position: Position) -> None:
    run.update(
        "record",
        parameters=job.best.count_params(),
        epochs=position.epoch,
        best_epoch=position.best_epoch,
        best_validation_loss=position.best_loss,
        steps_per_epoch=job.feed.steps,
        seconds=round(position.seconds, 1),
    )
    from kerazoo.evaluation.validate import validate

    validate(run)


def _rate(config: TrainingConfig, phase: Phase, steps: int, step: int) -> float:
    warmup = round(config.warmup_epochs * steps)
    return phase.rate * learning_rate(config, step - phase.start * steps, warmup, (phase.end - phase.start) * steps)


def _training_data(job: _Job, feed: Feed, step: int) -> tf.data.Dataset:
    config = job.config.model_copy(deep=True)
    config.training.batch_size //= job.workers.count
    config.training.seed += job.workers.index
    return feed.training(config, step)


def _check_patch_size(config: TrainingConfig, geometry: Geometry) -> None:
    size = config.patch_size
    if size >= geometry.minimum and (size - geometry.minimum) % geometry.step == 0:
        return
    below = geometry.minimum + max(0, size - geometry.minimum) // geometry.step * geometry.step
    raise UserError(
        f"training.patch_size {size} does not fit the network, which takes {geometry.minimum} + {geometry.step} n "
        f"pixels: choose {below} or {below + geometry.step}."
    )


def _check_folder(run: Run, config: Config, resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise UserError("Either continue the run (--resume) or replace it (--overwrite), not both.")
    if not resume:
        run.refuse_to_replace(overwrite)
        return
    if not run.is_there:
        raise UserError(f"There is no run in {run.path} to continue: leave out --resume, or correct the name.")
    before, after = run.config.model_dump(), config.model_dump()
    changed = [f"{a}.{b}" for a in after for b in after[a] if before[a][b] != after[a][b]]
    if changed:
        raise UserError(
            f"{run.path} was begun with another configuration ({', '.join(changed)} differ): continue it with its own, "
            f"{run.path / 'config.yaml'}, or train anew."
        )


def _open_folder(run: Run, job: _Job, overwrite: bool, resume: bool) -> None:
    """Write all that is known before the first step."""
    if resume:
        if run.read("split") not in ({}, job.split):
            raise UserError(f"Images or masks have changed since {run.path} was begun: train anew.")
        remove_unfinished_files(run)
    elif overwrite and run.path.exists():
        shutil.rmtree(run.path)
    config = job.config
    with new_file(run.path / "config.yaml", overwrite=True) as path:
        content = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        path.write_text(content, encoding="utf-8")
    run.write("split", job.split)
    environment = run.read("environment") or describe_environment(job.policy, job.workers.count)
    if resume:
        environment["resumed"] = [*environment.get("resumed", []), now()]
    run.write("environment", environment)
    channels = config.data.channels
    recipe = Recipe(
        model=config.model.name,
        task=config.task,
        channels=channels,
        channel_names=config.data.channel_names or [f"channel{number}" for number in range(channels)],
        classes=config.class_names,
        targets=config.targets.kind,
        patch=patch_of(config) if config.task == "classification" else None,
        scale=job.scale,
        annotation=config.data.annotation,
        axes=config.data.axes,
        ignore=config.data.ignore,
        normalisation=job.normalisation,
        decoding=config.decoding,
        geometry=job.geometry,
    )
    run.write("recipe", recipe.model_dump(mode="json"))


def _described(pair: Pair) -> dict[str, Any]:
    files = {"image": pair.image, "mask": pair.mask}
    files = {name: path for name, path in files.items() if path is not None}
    return {
        "id": pair.id,
        **{name: str(path) for name, path in files.items()},
        **({"class": pair.category} if pair.category is not None else {}),
        "group": pair.group,
        "sha256": {name: sha256_of(path) for name, path in files.items()},
    }
