"""How long a step of a training takes on this machine, measured on a few of the images."""

from __future__ import annotations

import dataclasses
import statistics
import time
from typing import Any

import keras

from kerazoo.config import Config
from kerazoo.data.pipeline import one_thread_per_batch
from kerazoo.data.split import Split, split_pairs
from kerazoo.files.pair import Pair
from kerazoo.files.pairs import pairs_of
from kerazoo.training.distribute import Workers
from kerazoo.training.job import prepare
from kerazoo.training.optimisers import make_optimiser
from kerazoo.training.transfer import choose_trainable, phases_of

IMAGES = 12
"""So many images of each side are read, or one of each class."""
WARMING, MEASURED = 3, 5
"""Steps before and while time is taken."""


@dataclasses.dataclass(frozen=True)
class Duration:
    """Of parts of a training, in seconds."""

    step: float
    """One step with a batch of patches."""
    validation: float
    """The validation after every epoch, all of its images."""
    once: int
    """Steps of an epoch that shows every image once."""


def measure(config: Config) -> Duration:
    """Train a network for a few steps; nothing is written.

    Parameters
    ----------
    config
        With absolute paths.

    Raises
    ------
    UserError
        Something in configuration or data cannot be used.
    """
    pairs = split_pairs(pairs_of(config.data), config.split)
    few = Split(_few(pairs.train), _few(pairs.validation))
    job = prepare(config, Workers(), few)
    phase = phases_of(config, job.model)[-1]
    choose_trainable(job.model, config, phase.frozen)
    fitted: Any = job.family.fitted(job.model, config)
    job.compile(fitted, make_optimiser(config.training), [])
    with one_thread_per_batch():
        batches = iter(job.training(job.feed, step=0))
        times = [_timed(lambda: fitted.train_on_batch(*next(batches))) for _ in range(WARMING + MEASURED)]
        judged = job.validation(job.feed)
        _, seconds = (_timed(lambda: fitted.evaluate(judged, verbose=0)) for _ in range(2))
    keras.backend.clear_session()
    return Duration(
        step=statistics.median(times[WARMING:]),
        validation=seconds * len(pairs.validation) / len(few.validation),
        once=-(-job.feed.steps * len(pairs.train) // len(few.train)),
    )


def _few(pairs: list[Pair]) -> list[Pair]:
    """Evenly spaced ones, and the first of every class."""
    first = {pair.category: pair for pair in reversed(pairs)} if pairs[0].category is not None else {}
    chosen = [*pairs[:: -(-len(pairs) // IMAGES)], *first.values()]
    return sorted({pair.id: pair for pair in chosen}.values(), key=lambda pair: pair.id)


def _timed(call: Any) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
