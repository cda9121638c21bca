"""What an operation of pre- or postprocessing is, and what it computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation of the BioImage Model Zoo with its arguments; subclasses say what it does.

    bioimageio.core, and ilastik with it, computes all of them as specified. Which of them another program computes says
    the file of that consumer.
    """

    id: ClassVar[str]
    """Its name in rdf.yaml."""
    has_layer: ClassVar[bool] = False
    """Whether Keras has a layer for it."""
    package: ClassVar[str | None] = None
    """The package with which bioimageio.core computes it, where that does not come with it."""

    kwargs: Mapping[str, Any]
    """As rdf.yaml has them, which may be anything in a stranger's bundle."""

    @property
    def needs_graph(self) -> bool:
        """Whether some program computes it wrongly, so that it has to be a part of the network."""
        return False

    @property
    def prefers_graph(self) -> bool:
        """Whether it is a part of the network where that is possible, as no form of it is read by every program."""
        return self.needs_graph

    def forward(self, image: np.ndarray, axes: list[str]) -> np.ndarray | None:
        """The result as the specification means it.

        Parameters
        ----------
        image
            Any dtype, in the order of ``axes``.
        axes
            Axis ids of the zoo.

        Returns
        -------
        numpy.ndarray or None
            float64; None where it is not computed here.
        """
        return None

    def layer(self, axes: str, name: str) -> keras.layers.Layer:
        """The Keras layer that computes it.

        Parameters
        ----------
        axes
            One letter per axis of the tensor, c being that of the channels.
        name
            Name of the layer.
        """
        raise NotImplementedError(f"{self.id} cannot be put into a graph")

    def declared(self, axes: list[str], channels: int) -> Operation:
        """The operation, or another one that means the same, in the form that every program reads.

        Parameters
        ----------
        axes
            Axis ids of the tensor.
        channels
            Length of its channel axis.
        """
        return self


def along_channels(value: Any, kwargs: Mapping[str, Any], axes: list[str]) -> np.ndarray:
    """A number, or one per channel, in the shape that fits the tensor."""
    array = np.asarray(value, np.float64)
    if array.ndim == 0:
        return array
    shape = [1] * len(axes)
    shape[axes.index(str(kwargs.get("axis", "channel")))] = -1
    return array.reshape(shape)


def is_per_channel(kwargs: Mapping[str, Any]) -> bool:
    """Whether an argument has one number per channel."""
    return any(isinstance(value, Sequence) and not isinstance(value, str) for value in kwargs.values())
