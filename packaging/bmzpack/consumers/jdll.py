"""The tiles and transforms of JDLL, the library in Fiji and Icy, where they differ from the specification.

Read in its source (98d3be2, 2026-07): TileCalculator and TileMaker. The results of its transforms were compared
with NumPy's on images of three channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bmzpack.operations.operation import Operation
from bmzpack.operations.scaling import ScaleLinear
from bmzpack.operations.statistics import ScaleRange, ZeroMeanUnitVariance

LARGEST_IMAGE = 4096
"""Sides up to this one are tried, in pixels."""


def tile(size: int, minimum: int, step: int, halo: int) -> int:
    """The side of the tile that JDLL chooses for an image, in pixels.

    Parameters
    ----------
    size
        The image's side, in pixels.
    minimum, step
        The input's smallest size and the step between its sizes; a step of 0 means that only ``minimum`` is allowed.
    halo
        In input pixels.
    """
    if step == 0:
        return minimum
    chosen = (size + 2 * halo) // step * step
    if chosen > 3 * size and chosen - step >= minimum:
        chosen -= step
    at_least = -(-size // step) * step
    if chosen > 3 * size and at_least >= minimum:
        chosen = at_least
    return chosen


def refuses(size: int, minimum: int, step: int, halo: int, margin: float = 0.0) -> str | None:
    """Why JDLL refuses to tile an image of a size, or None.

    Parameters
    ----------
    size, minimum, step, halo
        As for `tile`.
    margin
        Input pixels by which the output is smaller on each side, as in a network without padding.
    """
    chosen = tile(size, minimum, step, halo)
    if chosen > 3 * size:
        return f"the tile of {chosen} pixels is more than three times as large as the image"
    if step and (chosen - minimum) % step:
        return f"the tile of {chosen} pixels is not {minimum} + n x {step}"
    if chosen < minimum:
        return f"the tile of {chosen} pixels is smaller than {minimum}"
    if chosen - 2 * margin - 2 * max(0, halo - margin) <= 0:
        return f"nothing is left of the tile of {chosen} pixels when the halo is cut off"
    return None


def output_sizes(size: np.ndarray, scale: float, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """The sizes that JDLL gives an output: ``scale`` is taken for the factor between output and input.

    Parameters
    ----------
    size
        Sizes of the input, in pixels.
    scale
        The scale of the output's axis in format 0.5, the size of its pixels.
    offset
        The offset of the output's size, in pixels.

    Returns
    -------
    tuple of numpy.ndarray
        Sizes of the whole output, if the input is an image, and of the output of a tile, if it is one.
    """
    return np.trunc(size * scale), np.trunc(size * scale + 2 * offset)


def transformed(operation: Operation, image: np.ndarray, axes: list[str]) -> np.ndarray | None:
    """The result of an operation that JDLL computes; arguments and result as for `Operation.forward`."""
    kwargs = operation.kwargs
    match operation:
        case ScaleLinear():
            first = {key: _first(value) for key, value in kwargs.items() if key in ("gain", "offset")}
            return ScaleLinear(first).forward(image, axes)
        case ZeroMeanUnitVariance():
            return ZeroMeanUnitVariance({"eps": kwargs.get("eps", 1e-6)}).forward(image, axes)
        case ScaleRange():
            over = tuple(n for n, axis in enumerate(axes) if axis in kwargs.get("axes", axes) and axis != "batch")
            return operation.scaled(image, over, "lower")
        case _:
            return operation.forward(image, axes)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value
