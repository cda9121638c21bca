"""Feeding with parts of images that have a target in every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from kerazoo.config import Config
from kerazoo.data import pipeline
from kerazoo.data.feed import Named, named
from kerazoo.data.normalise import Normalisation
from kerazoo.data.target import Target
from kerazoo.files.pairs import Sample


class PixelFeed:
    """Random parts of the training images, and all of the validation images in tiles; see `kerazoo.data.feed.Feed`.

    Parameters
    ----------
    train, validation
        The two sides.
    config
        Configuration of the run.
    normalisation
        As fitted on the training images.
    margin
        The network's output is smaller than its input by so many pixels on each side.
    target
        What is learned.
    inputs, targets
        Names of a batch's images, and of its targets.

    Raises
    ------
    UserError
        An image is smaller than the patches or has another number of channels.
    """

    def __init__(
        self,
        train: Sequence[Sample],
        validation: Sequence[Sample],
        config: Config,
        normalisation: Normalisation,
        margin: int,
        target: Target,
        inputs: Named,
        targets: Named,
    ) -> None:
        self._config, self._margin, self._target = config, margin, target
        self._inputs, self._targets = inputs, targets
        self._train = pipeline.prepare(train, config, normalisation, margin, target)
        self._validation = pipeline.prepare(validation, config, normalisation, margin, target)
        self.steps = pipeline.steps_per_epoch(len(train), config)
        self.counts = target.counts([source.kept for source in self._train])
        self.about = f"{len(train)} images to train and {len(validation)} to validate"

    def training(self, config: Config, step: int) -> tf.data.Dataset:
        data = pipeline.training_dataset(self._train, config, self._margin, self._target, start_step=step)
        return named(data, self._inputs, self._targets)

    def validation(self) -> tf.data.Dataset:
        data = pipeline.validation_dataset(self._validation, self._config, self._margin, self._target)
        return named(data, self._inputs, self._targets)

    def of_features(self, encoder: Any) -> None:
        """See `kerazoo.data.feed.Feed`: random parts are others each time."""
