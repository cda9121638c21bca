"""What a training is fed with: the pixels of images, or patches with one class each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from kerazoo.config import Config
from kerazoo.data import patch_batches, pipeline
from kerazoo.data.normalise import Normalisation
from kerazoo.data.patches import check_patches, cut_patches
from kerazoo.files.pairs import Sample
from kerazoo.models.pixels.targets import make_target
from kerazoo.models.target_kinds import PixelClasses, target_of


class Feed(Protocol):
    """Batches of (x, y) for a network, from images in memory."""

    steps: int
    """Batches per epoch."""
    counts: np.ndarray
    """Training pixels or patches of each class; none where single objects are learned."""
    about: str
    """What is trained on, in words."""

    def training(self, config: Config, step: int) -> tf.data.Dataset:
        """Batches without end from a global step on; of the configuration only batch size and seed may differ."""
        ...

    def validation(self) -> tf.data.Dataset:
        """All that is held out, once."""
        ...


class PixelFeed:
    """Parts of images with a class index per pixel.

    Parameters
    ----------
    train, validation
        The two sides.
    config
        Of the run.
    normalisation
        As fitted on the training images.
    margin
        The network's output is smaller than its input by so many pixels on each side.
    """

    def __init__(
        self,
        train: Sequence[Sample],
        validation: Sequence[Sample],
        config: Config,
        normalisation: Normalisation,
        margin: int,
    ) -> None:
        self._train, self._validation, self._config = train, validation, config
        self._normalisation, self._margin = normalisation, margin
        self.steps = pipeline.steps_per_epoch(train, config)
        self.counts = np.zeros(0, np.int64)
        if isinstance(target_of(config), PixelClasses):
            counts = [np.bincount(make_target(sample.mask, config).ravel(), minlength=256) for sample in train]
            self.counts = np.sum(counts, axis=0)[: len(config.class_names)]
        self.about = f"{len(train)} images to train and {len(validation)} to validate"

    def training(self, config: Config, step: int) -> tf.data.Dataset:
        """See `Feed`."""
        return pipeline.training_dataset(self._train, config, self._normalisation, self._margin, start_step=step)

    def validation(self) -> tf.data.Dataset:
        """See `Feed`."""
        return pipeline.validation_dataset(self._validation, self._config, self._normalisation, self._margin)


class PatchFeed:
    """Patches with a class index each.

    Parameters
    ----------
    train, validation, config, normalisation
        As for `PixelFeed`.

    Raises
    ------
    UserError
        An image does not fit, or one side lacks patches.
    """

    def __init__(
        self, train: Sequence[Sample], validation: Sequence[Sample], config: Config, normalisation: Normalisation
    ) -> None:
        self.config = config
        self.train_patches = cut_patches(train, config, normalisation)
        self.validation_patches = cut_patches(validation, config, normalisation)
        check_patches(self.train_patches, config, "train")
        check_patches(self.validation_patches, config, "validate")
        self.steps = patch_batches.patches_per_epoch(self.train_patches, config)
        self.counts = np.bincount(self.train_patches.category, minlength=len(config.class_names))
        self.about = (
            f"{len(self.train_patches):,} patches of {len(train)} images to train and "
            f"{len(self.validation_patches):,} of {len(validation)} to validate"
        )

    def training(self, config: Config, step: int) -> tf.data.Dataset:
        """See `Feed`."""
        return patch_batches.training_patches(self.train_patches, config, start_step=step)

    def validation(self) -> tf.data.Dataset:
        """See `Feed`."""
        return patch_batches.plain_patches(self.validation_patches, self.config)
