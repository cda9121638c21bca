"""The network that is written, and what several weights formats are made from."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bmzpack.engines import TensorNames

if TYPE_CHECKING:
    import keras

    from bmzpack.weights.frozen import Frozen


class Network:
    """A model in the process that writes it.

    Parameters
    ----------
    model
        Computes in float32.
    names
        Tensor ids.
    labels
        A function that makes labels of the output, see `bmzpack.operations.labels.LabelsPostprocessing.in_graph`.
    """

    def __init__(self, model: keras.Model, names: TensorNames, labels: Mapping[str, Any] | None = None) -> None:
        self.model = model
        self.names = names
        self.labels = labels

    @functools.cached_property
    def frozen(self) -> Frozen:
        """The TensorFlow graph, which ends in labels where there is a function that makes them."""
        from bmzpack.weights.frozen import freeze, freeze_with_labels

        if self.labels:
            return freeze_with_labels(self.model, self.names.inputs[0], self.labels)
        return freeze(self.model, self.names.inputs)
