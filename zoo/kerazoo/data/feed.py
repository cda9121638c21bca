"""What a training is fed with: batches of named inputs and targets, from images in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

    from kerazoo.config import Config

Named = Callable[[Any], dict[str, Any]]
"""From a batch to its parts by the ids of the network's inputs or outputs."""


class Feed(Protocol):
    """Batches of (inputs, targets) for a network: two dicts of tensors by id."""

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

    def of_features(self, encoder: Any) -> Feed | None:
        """The same patches as an encoder (a `keras.Model`) sees them; None where they are others in every epoch."""
        ...


def named(dataset: tf.data.Dataset, inputs: Named, targets: Named) -> tf.data.Dataset:
    """Batches (x, y) as two dicts."""
    return dataset.map(lambda x, y: (inputs(x), targets(y)))
