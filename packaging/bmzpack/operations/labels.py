"""What follows a network and makes objects of its output: an operation of the zoo, or more operations in its graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from bmzpack.operations.registry import OPERATIONS

if TYPE_CHECKING:
    from bmzpack.operations.section import Processing

TO_LABELS = {name: operation.package for name, operation in OPERATIONS.items() if operation.package}
"""Operations of the zoo that make labels, and the packages with which bioimageio.core computes them."""
CHANNEL_NAMES = ["labels"]
"""Channels of a label image in a bundle."""
MASK_NAMES = ["objects"]
"""Channels of a mask whose connected areas are objects."""
REPRODUCED = {"mismatched_elements_per_million": 1000}
"""What bioimageio.core tolerates of labels: at outlines a pixel goes where the last bit leads."""
AFTER = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Where the neighbours of a pixel lie that come after it row by row: y and x."""
TOLERANCE = 0.02
"""Largest part of the objects' pixels that may belong to other objects when a graph makes them."""


@dataclasses.dataclass(frozen=True)
class LabelsPostprocessing:
    """Makes labels of objects of the only output of a network."""

    decode: Callable[[np.ndarray], np.ndarray]
    """The same in NumPy, for the test tensor: from the network's output to a tensor with the same axes and one
    channel, of the dtype that the operation gives."""
    operation: Processing | None = None
    """The zoo's ``stardist_postprocessing`` or ``cellpose_flow_dynamics``, which bioimageio.core computes where the
    package of that name is installed. Else the graph ends in labels."""
    function: str | None = None
    """``package.module:name`` of a function of TensorFlow operations, from the network's output with a batch of one to
    the labels, float32. Saved models and ONNX hold its loops; Keras files have none whose length depends on the
    image."""
    torch_function: str | None = None
    """The same in PyTorch, of the operations and the Python that ``torch.jit.script`` of PyTorch 2.0 takes, with the
    same arguments; TorchScript holds its loops. None: the labels are not written in TorchScript."""
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Keyword arguments of both functions, as JSON has them."""
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    """``minimum`` and ``step`` of the sizes that the network takes; the graph extends images of other sizes, and cuts
    the network's output to them. Empty: the graph takes what the network takes."""

    as_mask: bool = False
    """Whether the graph goes on to a mask of the objects, see `mask_of`: that can be put together from tiles, and
    programs that know no labels find its objects."""

    @property
    def channel_names(self) -> list[str]:
        """Channels of the result."""
        return MASK_NAMES if self.as_mask else CHANNEL_NAMES

    @property
    def in_graph(self) -> dict[str, Any] | None:
        """What a process that writes a graph needs."""
        if not self.function:
            return None
        return {
            "function": self.function,
            "torch_function": self.torch_function,
            "arguments": self.arguments,
            "sizes": self.sizes,
            "as_mask": self.as_mask,
        }


def mask_of(labels: np.ndarray) -> np.ndarray:
    """A mask, float32, of label images (batch, y, x, 1): 1 in objects, 0 in the background and between objects.

    Of two pixels that touch, also at their corners, and belong to different objects, the first row by row becomes
    background, so that every connected area is one object.
    """
    padded = np.pad(labels, ((0, 0), (0, 1), (1, 1), (0, 0)))
    height, width = labels.shape[1:3]
    kept = labels > 0
    for dy, dx in AFTER:
        other = padded[:, dy : dy + height, 1 + dx : 1 + dx + width]
        kept &= (other == 0) | (other == labels)
    return kept.astype(np.float32)


def are_objects(tensor: np.ndarray) -> bool:
    """Whether a tensor can be a label image or a mask: whole numbers from 0 on."""
    return bool(tensor.min() >= 0 and tensor.max() > 0 and np.array_equal(tensor, np.rint(tensor)))


def are_labels(tensor: np.ndarray) -> bool:
    """Whether a tensor can be a label image, and is more than a mask."""
    return are_objects(tensor) and bool(tensor.max() > 1)


def disagreement(labels: np.ndarray, reference: np.ndarray) -> float:
    """How much two label images differ, whatever the numbers of the labels are.

    Parameters
    ----------
    labels, reference
        Label images of one shape; 0 is background.

    Returns
    -------
    float
        The part of the pixels that belong to an object in either image which does not belong to the same one. What
        objects have in common is counted from both sides, each with the one that shares most pixels with it, and the
        smaller count is taken, so that merged objects and objects in parts are both seen.
    """
    flat, expected = (np.unique(image.astype(np.int64), return_inverse=True) for image in (labels, reference))
    shared = np.zeros((len(expected[0]), len(flat[0])), np.int64)
    np.add.at(shared, (expected[1].ravel(), flat[1].ravel()), 1)
    if not shared[expected[0] != 0].any() and not shared[:, flat[0] != 0].any():
        return 0.0
    background = shared[expected[0] == 0][:, flat[0] == 0].sum()
    same = shared[expected[0] != 0][:, flat[0] != 0]
    common = min(same.max(axis=axis, initial=0).sum() for axis in (0, 1))
    return 1 - float(common) / float(labels.size - background)
