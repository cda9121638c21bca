"""What a training works with, put together and checked before anything is written."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from bmzpack.errors import UserError
from kerazoo.config import Config
from kerazoo.data.feed import Feed
from kerazoo.data.normalise import Normalisation, fit_normalisation
from kerazoo.data.rescale import Scale, rescaled_to, typical_diameter
from kerazoo.data.split import Split, split_pairs
from kerazoo.files.pairs import Pair, load_pair, pairs_of, separated, sha256_of
from kerazoo.models.configure import family_of
from kerazoo.models.family import Family
from kerazoo.models.recipe import Recipe, TileGeometry, make_recipe
from kerazoo.models.weights import load_head
from kerazoo.runs.records import SplitEntry, SplitRecord
from kerazoo.training.checks import check_annotated, check_copies, check_ignored, check_normalisation
from kerazoo.training.distribute import Workers, replicas
from kerazoo.training.precision import dtype_policy, policy
from kerazoo.training.transfer import check_transfer, is_same_problem, phases_of


@dataclasses.dataclass(frozen=True)
class Job:
    """What a training works with; all of it is checked."""

    config: Config
    workers: Workers
    family: Family
    split: SplitRecord
    feed: Feed
    normalisation: Normalisation
    loss: Any
    policy: str
    strategy: tf.distribute.Strategy
    model: keras.Model
    """The network that is trained, in the policy's precision."""
    best: keras.Model
    """The same in float32: its weights are set and saved when an epoch was the best."""
    geometry: TileGeometry
    scale: Scale | None

    def training(self, feed: Feed, step: int) -> tf.data.Dataset:
        """The batches of this worker from a global step on, in the form that Keras takes."""
        config = self.config.model_copy(deep=True)
        config.training.batch_size //= self.workers.count
        config.training.seed += self.workers.index
        return _for_keras(feed.training(config, step))

    def validation(self, feed: Feed) -> tf.data.Dataset:
        """The batches of the validation, in the form that Keras takes."""
        return _for_keras(feed.validation())

    def compile(self, fitted: Any, optimiser: keras.optimizers.Optimizer, metrics: list[Any]) -> None:
        """Prepare what is fitted for its training."""
        # XLA's kernels for the CPU are several times slower than oneDNN's
        compiled = bool(tf.config.list_logical_devices("GPU"))
        fitted.compile(optimiser, self.loss, metrics=metrics, jit_compile=compiled)

    def recipe(self) -> Recipe:
        """What is kept of a training beside the network."""
        return make_recipe(self.config, self.family, self.normalisation, self.geometry, self.scale)


def prepare(config: Config, workers: Workers, pairs: Split | None = None) -> Job:
    """Read the data, build the network, and find out all that can be wrong.

    Parameters
    ----------
    config
        With absolute paths.
    workers
        The processes that train together.
    pairs
        The images of both sides; by default those of the configuration.

    Raises
    ------
    UserError
        Something in configuration or data cannot be used.
    """
    family = family_of(config)
    names = family.channel_names(config)
    if len(names) < 2 and not family.learns_objects:
        raise UserError(f"data.classes has {len(names)} names: name at least two classes.")
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

    pairs = pairs or split_pairs(pairs_of(config.data), config.split)
    split = SplitRecord(
        train=[_entry(pair) for pair in pairs.train], validation=[_entry(pair) for pair in pairs.validation]
    )
    check_copies(split)
    train = [load_pair(pair, config.data) for pair in pairs.train]
    validation = [load_pair(pair, config.data) for pair in pairs.validation]
    check_annotated(train, validation, config)
    if config.data.annotation == "binary" and family.learns_objects:
        train, validation = (
            [separated(sample, config.data.ignored) for sample in side] for side in (train, validation)
        )
    scale = None
    if config.targets.diameter is not None:
        scale = Scale(network=config.targets.diameter, images=typical_diameter(train, config.data.ignored))
        train, validation = (
            [rescaled_to(sample, scale, config.data.ignored) for sample in samples] for samples in (train, validation)
        )
    normalisation = fit_normalisation(config.normalisation, train)

    strategy = replicas()
    with strategy.scope(), policy(name):
        model = _network(config, family)
    with policy("float32"):
        best = _network(config, family)
    phases_of(config, best)
    outputs = sum(output.shape[-1] for output in family.image_network(best).outputs)
    if family.learns_objects and outputs != len(names):
        raise UserError(
            f"{config.model.name} has {outputs} outputs with these model.arguments, but is trained with {len(names)}: "
            "leave the argument out that changes their number."
        )
    geometry = family.geometry(best, config)
    feed = family.feed(train, validation, config, normalisation, geometry.margin, best.output_names)
    loss = family.loss(config, feed.counts)
    return Job(config, workers, family, split, feed, normalisation, loss, name, strategy, model, best, geometry, scale)


def _network(config: Config, family: Family) -> keras.Model:
    model = family.build(config)
    if is_same_problem(config):
        load_head(model, str(config.model.weights))
    return model


def _for_keras(data: tf.data.Dataset) -> tf.data.Dataset:
    """A network with one input and one output takes tensors, not dicts."""

    def plain(named: dict[str, Any]) -> Any:
        return named if len(named) > 1 else next(iter(named.values()))

    return data.map(lambda inputs, targets: (plain(inputs), plain(targets)))


def _entry(pair: Pair) -> SplitEntry:
    files = {name: path for name, path in {"image": pair.image, "mask": pair.mask}.items() if path is not None}
    content = {"id": pair.id, **{name: str(path) for name, path in files.items()}}
    if pair.category is not None:
        content["class"] = pair.category
    hashes = {name: sha256_of(path) for name, path in files.items()}
    return SplitEntry.model_validate({**content, "group": pair.group, "sha256": hashes})
