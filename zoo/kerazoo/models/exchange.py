"""What families give and take besides Keras models: applied networks, outputs, converted checkpoints, label endings."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import keras
    import numpy as np

    from kerazoo.data.normalise import Normalisation
    from kerazoo.data.rescale import Scale
    from kerazoo.models.recipe import TileGeometry

Outputs = dict[str, "np.ndarray"]
"""Arrays (y, x, channel), float32, by the id of the network's output."""


class Mask(Protocol):
    """A mask of an object that was asked for."""

    @property
    def rows(self) -> slice:
        """Rows of the part of the image outside of which there is nothing."""
        ...

    @property
    def columns(self) -> slice:
        """Its columns."""
        ...

    @property
    def inside(self) -> np.ndarray:
        """bool (y, x) of that part: what belongs to the object."""
        ...

    @property
    def score(self) -> float:
        """Predicted intersection over union with the object."""
        ...


class Embedding(Protocol):
    """What a network makes of an image before it is asked for objects."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an `.npz` file."""
        ...


class PromptNetwork(Protocol):
    """A network that answers prompts: points, boxes or masks of objects."""

    @property
    def window(self) -> int | None:
        """Side in pixels of the part of an image that is seen for a prompt; None for the whole image."""
        ...

    def embed(self, image: np.ndarray, offset: np.ndarray | float = 0.0, scale: np.ndarray | float = 1.0) -> Embedding:
        """The embedding of an image (y, x, channel), of which ``offset`` is taken before it is divided by ``scale``."""
        ...

    def masks(
        self,
        embedding: Any,
        points: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        boxes: np.ndarray | None = None,
        prompts: np.ndarray | None = None,
        *,
        several: bool = False,
        batch: int = 64,
    ) -> Iterator[Sequence[Mask]]:
        """Masks of objects one after the other, each in one mask or in three.

        Parameters
        ----------
        embedding
            From `embed`.
        points, labels
            float (object, point, 2), x and y in pixels of the image; int (object, point): 1 in the object, 0 outside.
        boxes
            float (object, 4): x and y of the first and of the last corner, in pixels of the image.
        prompts
            Masks that the network gave before, as it gave them.
        several
            Whether three masks are given for prompts that may mean several things.
        batch
            Objects that are asked for at once.
        """
        ...


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

    def prompted(self) -> PromptNetwork:
        """The same network for prompts, see `kerazoo.models.family.Family.prompted`.

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
    """What makes a label image of a network's output in a bundle: an operation of the zoo, or more of the graph."""

    labels: Callable[[np.ndarray], np.ndarray]
    """The same in NumPy: from outputs (batch, ...) to label images with the same axes and one channel."""
    operation: dict[str, Any] = dataclasses.field(default_factory=dict)
    """`id` and `kwargs` as in rdf.yaml."""
    function: str | None = None
    """`module:function` of TensorFlow operations behind the output."""
    torch_function: str | None = None
    """`module:function` of the same operations of PyTorch, which TorchScript takes."""
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments of both functions."""
    channels_first: bool = False
    """Whether the operation takes (batch, channel, y, x)."""
    remark: str = ""
    """A sentence on how it differs from `kerazoo predict`."""
