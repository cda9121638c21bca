"""What JDLL, the library in Fiji and Icy, computes where it differs from the specification: tiles and processing.

Read in its source (98d3be2, 2026-07): TileCalculator, TileMaker, and the transforms, whose results were compared with
NumPy's on images of three channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

LARGEST_IMAGE = 4096
"""Sides up to this one are tried, in pixels."""


def tile(size: int, minimum: int, step: int, halo: int) -> int:
    """The side of the tile that JDLL chooses for an image, in pixels.

    Parameters
    ----------
    size
        Of the image.
    minimum, step
        Of the input's size; a step of 0 means that only ``minimum`` is allowed.
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
        Of the output's axis in format 0.5, the size of its pixels.
    offset
        Of the output's size.

    Returns
    -------
    tuple of numpy.ndarray
        Of the whole output, if the input is an image, and of the output of a tile, if it is one.
    """
    return np.trunc(size * scale), np.trunc(size * scale + 2 * offset)


def specified(name: str, kwargs: Mapping[str, Any], image: np.ndarray, axes: list[str]) -> np.ndarray | None:
    """An operation as the specification means it; None for one that is not computed here.

    Parameters
    ----------
    name, kwargs
        Of the operation.
    image
        Of any dtype, in the order of ``axes``.
    axes
        Axis ids.
    """
    given = kwargs.get("axes")
    chosen = [axis for axis in axes if axis != "batch"] if given is None else [axis for axis in axes if axis in given]
    over = tuple(axes.index(axis) for axis in chosen)
    image = np.asarray(image, np.float64)
    match name:
        case "zero_mean_unit_variance":
            eps = kwargs.get("eps", 1e-6)
            return (image - image.mean(over, keepdims=True)) / (image.std(over, keepdims=True) + eps)
        case "scale_range":
            low, high = _percentiles(kwargs, image, over, "linear")
            return (image - low) / (high - low + kwargs.get("eps", 1e-6))
        case "scale_linear":
            return image * _along(kwargs.get("gain", 1.0), kwargs, axes) + _along(
                kwargs.get("offset", 0.0), kwargs, axes
            )
        case "fixed_zero_mean_unit_variance":
            return (image - _along(kwargs["mean"], kwargs, axes)) / (_along(kwargs["std"], kwargs, axes) + 1e-6)
        case "binarize":
            return (image > _along(kwargs["threshold"], kwargs, axes)).astype(np.float64)
        case "clip":
            return np.clip(image, kwargs.get("min"), kwargs.get("max"))
        case "sigmoid":
            return 1 / (1 + np.exp(-image))
        case "softmax":
            over = axes.index(str(kwargs.get("axis", "channel")))
            powers = np.exp(image - image.max(over, keepdims=True))
            return powers / powers.sum(over, keepdims=True)
        case "ensure_dtype":
            return image.astype(np.dtype(kwargs["dtype"])).astype(np.float64)
    return None


def in_fiji(name: str, kwargs: Mapping[str, Any], image: np.ndarray, axes: list[str]) -> np.ndarray | None:
    """An operation as JDLL computes it, where that is not what `specified` gives."""
    match name:
        case "zero_mean_unit_variance":
            return specified(name, {"eps": kwargs.get("eps", 1e-6)}, image, axes)
        case "scale_range":
            over = tuple(n for n, axis in enumerate(axes) if axis in kwargs.get("axes", axes) and axis != "batch")
            image = np.asarray(image, np.float64)
            low, high = _percentiles(kwargs, image, over, "lower")
            return (image - low) / (high - low + kwargs.get("eps", 1e-6))
        case "scale_linear":
            first = {key: _first(kwargs.get(key, default)) for key, default in (("gain", 1.0), ("offset", 0.0))}
            return specified(name, first, image, axes)
    return np.asarray(image, np.float64)


def _percentiles(kwargs: Mapping[str, Any], image: np.ndarray, over: tuple[int, ...], method: Any) -> tuple[Any, Any]:
    ends = [kwargs.get("min_percentile", 0.0), kwargs.get("max_percentile", 100.0)]
    low, high = np.percentile(image, ends, axis=over, keepdims=True, method=method)
    return low, high


def _along(value: Any, kwargs: Mapping[str, Any], axes: list[str]) -> np.ndarray:
    """A number, or one per channel, in the shape that fits the tensor."""
    array = np.asarray(value, np.float64)
    if array.ndim == 0:
        return array
    shape = [1] * len(axes)
    shape[axes.index(str(kwargs.get("axis", "channel")))] = -1
    return array.reshape(shape)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value
