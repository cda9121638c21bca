"""What QuPath makes of images with a bundle: its tiles, each processed by itself.

BioimageIoTools, PixelClassificationImageServer, ServerTools and OpenCVTools.applyTiled of QuPath e7662d8 (2026-08).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bmzpack.bundle.contents import Contents
from bmzpack.consumers.qupath import ORDER
from bmzpack.errors import UserError
from bmzpack.testing.parts import Span, halos_of, outputs_of_parts, pieces
from bmzpack.weights.tensorflow_saved_model_bundle import SAVED_MODEL

ENGINES = {"torchscript": "torch", SAVED_MODEL: "tensorflow", "onnx": "onnxruntime"}
TILE = 512
"""Pixels that a side of a tile has at most where the description leaves its size open."""


def outputs_in_qupath(contents: Contents, images: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The outputs of which QuPath makes objects.

    Parameters, results and errors are those of `bmzpack.testing.fiji.outputs_in_fiji`.
    """
    name = next((name for name in ORDER if name in contents.weights), None)
    if name is None:
        raise UserError(f"This bundle has no weights that QuPath runs: pack it in one of {', '.join(ORDER)}, too.")
    sizes, halos = tile_sizes(contents.rdf["inputs"][0]), halos_of(contents.rdf["outputs"][0])

    def cut(axis: str, length: int) -> list[Span]:
        size, halo = sizes[axis], halos[axis]
        spans = []
        for first, last in pieces(length, size, halo):
            lacking = size - 2 * halo - (last - first)  # a smaller tile lies in the middle
            spans.append(Span(first - halo, last + halo, first, last, lacking // 2, lacking - lacking // 2))
        return spans

    return outputs_of_parts(contents, (ENGINES[name], name), images, cut, "edge")


def tile_sizes(entry: Mapping[str, Any]) -> dict[str, int]:
    """Sides of a tile with its halo, by axis.

    QuPath takes the smallest size of an open axis for its step as well.
    """
    axes = {str(axis["id"]): axis["size"] for axis in entry["axes"] if axis["type"] == "space"}
    return {
        axis: max(TILE // size["min"], 1) * size["min"] if isinstance(size, Mapping) else size
        for axis, size in axes.items()
    }
