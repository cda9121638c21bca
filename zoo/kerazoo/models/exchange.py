"""What families give and take besides Keras models: applied networks, outputs, converted checkpoints, label endings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import keras
    import numpy as np

    from kerazoo.data.normalise import Normalisation
    from kerazoo.data.rescale import Scale
    from kerazoo.models.recipe import TileGeometry

Outputs = dict[str, "np.ndarray"]
"""Arrays (y, x, channel), float32, by the id of the network's output."""


class AppliedNetwork(Protocol):
    """A network as predictors use it, whether it runs in this process or, that of a bundle, in another one."""

    channels: dict[str, int]
    """Channels of the outputs, by id."""
    axes: int
    """Number of axes of every output, the batch axis included."""
    side: int | None
    """Height and width of the images that it takes; None for any."""

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs for a batch, float32, both by id."""
        ...

    def memory_per_pixel(self, size: int) -> int:
        """Bytes that it takes for every pixel of an input with sides of ``size`` pixels, an estimate."""
        ...

    def prompted(self) -> Any:
        """What answers prompts, see `kerazoo.models.family.Family.prompted`.

        Raises
        ------
        UserError
            The network is that of a bundle, which answers none.
        """
        ...


class ImageOutputs(Protocol):
    """What a network gives for one image of any size, computed part by part as it is asked for."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        ...

    def bands(self) -> Iterator[tuple[slice, Outputs]]:
        """Rows of the output one after the other, and the outputs (y, x, channel) of these rows."""
        ...

    def part(self, rows: slice, columns: slice) -> Outputs:
        """The outputs of a part of the image, at the size of the image where that was rescaled."""
        ...

    def in_blocks(self, objects: Callable[[slice, slice], np.ndarray]) -> np.ndarray:
        """Join the label images that a function gives for blocks of the image: labels without gaps, int32 (y, x)."""
        ...


@dataclasses.dataclass(frozen=True)
class Converted:
    """What a run of an official checkpoint is made of."""

    network: keras.Model
    content: dict[str, Any]
    """Content of the configuration, by section and key."""
    scale: Scale | None = None
    """Where images are rescaled."""
    grid: int = 1
    """As in `kerazoo.models.recipe.TileGeometry`."""
    geometry: TileGeometry | None = None
    """None: measured from the network."""
    normalisation: Normalisation | None = None
    """None: that of the configuration."""


@dataclasses.dataclass(frozen=True)
class LabelsEnding:
    """What makes a label image of a network's output in a bundle: an operation of the zoo, or TensorFlow operations."""

    labels: Callable[[np.ndarray], np.ndarray]
    """The same in NumPy: from outputs (batch, ...) to label images with the same axes and one channel."""
    operation: dict[str, Any] = dataclasses.field(default_factory=dict)
    """`id` and `kwargs` as in rdf.yaml."""
    function: str | None = None
    """`module:function` of TensorFlow operations behind the output."""
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments of the function."""
    channels_first: bool = False
    """Whether the operation takes (batch, channel, y, x)."""
    remark: str = ""
    """A sentence on how it differs from `kerazoo predict`."""
