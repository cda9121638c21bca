"""What ilastik makes of images with a bundle: its blocks, each processed by itself, in PyTorch.

OpTikTorchClassifierPredict, OpBlockShape and InputAxisUtils of ilastik ebbaf9b (2026-07).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bmzpack.bundle.contents import Contents
from bmzpack.errors import UserError
from bmzpack.testing.parts import Span, halos_of, outputs_of_parts, pieces

BLOCK = 512
"""Pixels that a side of a block has at least where the description leaves its size open (MIN_SIZE_2D)."""


def outputs_in_ilastik(contents: Contents, images: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The outputs that ilastik shows and exports.

    Parameters, results and errors are those of `bmzpack.testing.fiji.outputs_in_fiji`.
    """
    if "torchscript" not in contents.weights:
        raise UserError("This bundle has no TorchScript, which ilastik runs: pack it in that format, too.")
    sizes, halos = block_sizes(contents.rdf["inputs"][0]), halos_of(contents.rdf["outputs"][0])

    def cut(axis: str, length: int) -> list[Span]:
        size, halo = sizes[axis], halos[axis]
        spans = []
        for first, last in pieces(length, size, halo):
            start = first - halo - (size - 2 * halo - (last - first) + 1) // 2  # a smaller block lies in the middle
            spans.append(Span(start, start + size, first, last))
        return spans

    return outputs_of_parts(contents, ("torch", "torchscript"), images, cut, "reflect")


def block_sizes(entry: Mapping[str, Any]) -> dict[str, int]:
    """Sides of a block with its halo, by axis: what the description fixes, or about 512 pixels."""
    axes = {str(axis["id"]): axis["size"] for axis in entry["axes"] if axis["type"] == "space"}
    steps = [
        max(0, math.ceil((BLOCK - size["min"]) / size["step"])) for size in axes.values() if isinstance(size, Mapping)
    ]
    return {
        axis: size["min"] + min(steps) * size["step"] if isinstance(size, Mapping) else size
        for axis, size in axes.items()
    }
