"""All objects as PyTorch operations, for the end of a TorchScript program.

`kerazoo.models.sam.graph` in TorchScript, see `kerazoo.models.shared.torch_label_graph`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kerazoo.models.sam.decoding import LEVELS
from kerazoo.models.shared.torch_label_graph import (
    components,
    finished,
    grown,
    image_of,
    neighbours_of,
    with_the_rest,
)


def find_objects(
    output: Tensor,
    threshold: float,
    seed_threshold: float,
    minimum_size: int,
    levels: tuple[float, float, float, float, float] = LEVELS,
) -> Tensor:
    """Label image of a network output, see `kerazoo.models.sam.graph.find_objects`; levels are those of the decoder."""
    foreground = output[0, :, :, 0] > threshold
    places, shape = torch.nonzero(foreground), list(foreground.shape)
    pixels = output[0][foreground]
    boundary = pixels[:, 2]
    neighbours = neighbours_of(places, shape)
    labels = components((pixels[:, 1] < seed_threshold) & (boundary < seed_threshold), neighbours)
    for level in levels:
        labels = grown(labels, boundary < level, neighbours)
    labels = with_the_rest(labels, neighbours)
    return finished(image_of(labels, places, shape), minimum_size)
