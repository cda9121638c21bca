"""The inputs of the engines: the test input, other sizes of it, and tiles of a larger image with that image itself.

Sizes and tiles concern the network alone: they are made of the preprocessed test input, which is mirrored where more of
it is needed.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from bmzpack.bundle.contents import Contents
from bmzpack.bundle.described import DescribedAxis, DescribedTensor, every_axis
from bmzpack.engines import relative_error

STEPS = (0, 1, 2)
"""Steps above the smallest size, as bioimageio.core tries them."""
INSIDE = 16
"""Pixels that are left of a tile at least when the halo is cut off."""
LARGEST_IMAGE = 2**22
"""Pixels along all axes together up to which other sizes are tried, and those of the test input."""

Sizes = dict[tuple[str, str], int]
"""In pixels, by tensor and axis."""


@dataclasses.dataclass(frozen=True)
class Tile:
    """A tile, as an entry of the inputs."""

    entry: int
    starts: dict[tuple[str, str], int]
    """Where it begins in the whole image, in pixels, by input and axis."""


@dataclasses.dataclass(frozen=True)
class EngineInputs:
    """Inputs for the engines, by tensor id."""

    entries: list[dict[str, np.ndarray]]
    """First the test input."""
    whole: int | None = None
    """The entry of which the tiles were cut."""
    tiles: list[Tile] = dataclasses.field(default_factory=list)


def plan(contents: Contents, tensors: Mapping[str, np.ndarray]) -> EngineInputs:
    """Choose sizes and tiles that the description allows.

    Parameters
    ----------
    contents
        The bundle.
    tensors
        The preprocessed test input, by tensor id.
    """
    entries = [dict(tensors)]
    for sizes in (sizes_at(contents, tensors, steps) for steps in STEPS):
        entry = {name: _resized(contents, name, array, sizes) for name, array in tensors.items()}
        if _pixels(sizes, contents) <= _most(tensors) and not any(_same(entry, other) for other in entries):
            entries.append(entry)
    tiled = _tiling(contents, tensors)
    if tiled is None:
        return EngineInputs(entries)
    tile, whole, starts = tiled
    image = {name: _resized(contents, name, array, whole) for name, array in tensors.items()}
    number = len(entries)
    entries.append(image)
    tiles = []
    for places in (dict.fromkeys(starts, 0), starts):
        tiles.append(Tile(len(entries), places))
        entries.append({name: _cut(contents, name, array, places, tile) for name, array in image.items()})
    return EngineInputs(entries, number, tiles)


def sizes_at(contents: Contents, tensors: Mapping[str, np.ndarray] | None, steps: int) -> Sizes:
    """Sizes of all input axes, so many steps above the smallest; those that are free or fixed as in the test input."""

    def own(axis: DescribedAxis, fallback: int) -> int:
        if axis.minimum is not None:
            return axis.minimum + steps * (axis.step or 0)
        return fallback if axis.size is None else axis.size

    found: Sizes = {}
    for tensor in contents.inputs:
        for number, axis in enumerate(tensor.axes):
            size = own(axis, 1 if tensors is None else tensors[tensor.id].shape[number])
            referred = contents.referred(axis)
            if referred and referred[0] in contents.inputs and (referred[1].minimum or referred[1].size):
                size = round(own(referred[1], 1) * contents.ratio(axis) + axis.offset)
            found[tensor.id, axis.id] = max(1, size)
    return found


def seam(
    contents: Contents, inputs: EngineInputs, outputs: Sequence[Mapping[str, np.ndarray] | Exception]
) -> float | None:
    """Largest difference between the tiles, their halos cut off, and the whole image, relative to its range.

    Parameters
    ----------
    contents, inputs
        The bundle, and the inputs of the engines.
    outputs
        What the network gave, for each entry of the inputs.

    Returns
    -------
    float or None
        None where nothing was tiled.
    """
    if inputs.whole is None or isinstance(whole := outputs[inputs.whole], Exception):
        return None
    errors = []
    for tile in inputs.tiles:
        part = outputs[tile.entry]
        if isinstance(part, Exception):
            return None
        for tensor in contents.outputs:
            places = _places(contents, tensor, tile, part[tensor.id].shape, whole[tensor.id].shape)
            if places:
                inner, place = part[tensor.id][places[0]], whole[tensor.id][places[1]]
                spread = float(np.ptp(whole[tensor.id].astype(np.float64))) or 1.0
                own = float(np.ptp(place.astype(np.float64))) or 1.0
                errors.append(relative_error(inner, place) * own / spread)
    return float(np.max(errors)) if errors else None


def _places(
    contents: Contents, tensor: DescribedTensor, tile: Tile, part: tuple[int, ...], whole: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]] | None:
    """What is left of a tile's output, in the tile and in the output of the whole image."""
    inner, place, moved = [], [], False
    for axis, size, full in zip(tensor.axes, part, whole, strict=True):
        found = contents.referred(axis)
        start = tile.starts.get((found[0].id, found[1].id)) if found else None
        if start is None:
            if size != full:
                return None
            inner.append(slice(None))
            place.append(slice(None))
            continue
        moved = True
        begin = start * contents.ratio(axis)
        if begin != round(begin) or size <= 2 * axis.halo or round(begin) + size > full:
            return None
        inner.append(slice(axis.halo, size - axis.halo))
        place.append(slice(round(begin) + axis.halo, round(begin) + size - axis.halo))
    return (tuple(inner), tuple(place)) if moved else None


def _tiling(
    contents: Contents, tensors: Mapping[str, np.ndarray]
) -> tuple[Sizes, Sizes, dict[tuple[str, str], int]] | None:
    """Sizes of tile and whole image, and where the second tile begins."""
    cut = _cut_off(contents)
    if not cut or any(axis.kind == "index" for _, axis in every_axis(contents.inputs)):
        return None  # a list of objects tells places in the whole image
    for steps in itertools.count():
        tile = sizes_at(contents, tensors, steps)
        if _pixels(tile, contents) > _most(tensors):
            return None
        if all(tile[key] - 2 * side >= INSIDE for key, side in cut.items()):
            break
    starts = {key: tile[key] - 2 * side for key, side in cut.items()}
    for more in itertools.count(steps + 1):
        whole = sizes_at(contents, tensors, more)
        if _pixels(whole, contents) > _most(tensors):
            return None
        if all(whole[key] >= tile[key] + start for key, start in starts.items()):
            break
    return tile, whole, _along(contents, tile, starts)


def _cut_off(contents: Contents) -> dict[tuple[str, str], int]:
    """What is cut off a tile on each side, in pixels of the input, by tensor and axis that can be tiled."""
    cut: dict[tuple[str, str], int] = {}
    for _, axis in every_axis(contents.outputs):
        found = contents.referred(axis)
        if found and axis.id in ("z", "y", "x") and found[0] in contents.inputs and found[1].minimum and found[1].step:
            ratio = contents.ratio(axis) or 1.0
            side = math.ceil((axis.halo + max(0.0, -axis.offset / 2)) / ratio)
            key = (found[0].id, found[1].id)
            cut[key] = max(cut.get(key, 0), side)
    return cut


def _along(contents: Contents, tile: Sizes, starts: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """The other inputs' tiles begin at the same place of the scene."""
    found = dict(starts)
    for tensor, axis in every_axis(contents.inputs):
        same_axis = next((key for key in starts if key[1] == axis.id), None)
        if same_axis and (tensor.id, axis.id) not in found and (axis.step or axis.reference):
            found[tensor.id, axis.id] = round(starts[same_axis] * tile[tensor.id, axis.id] / tile[same_axis])
    return found


def _resized(contents: Contents, name: str, array: np.ndarray, sizes: Sizes) -> np.ndarray:
    """Cut, or mirrored beyond its end."""
    tensor = _input(contents, name)
    for number, axis in enumerate(tensor.axes):
        size = sizes[name, axis.id]
        array = array[(slice(None),) * number + (slice(0, size),)]
        if array.shape[number] < size:
            more = [(0, 0)] * array.ndim
            more[number] = (0, size - array.shape[number])
            array = np.pad(array, more, mode="symmetric")
    return np.ascontiguousarray(array)


def _cut(
    contents: Contents, name: str, array: np.ndarray, starts: Mapping[tuple[str, str], int], sizes: Sizes
) -> np.ndarray:
    places = []
    for axis in _input(contents, name).axes:
        start = starts.get((name, axis.id), 0)
        places.append(slice(start, start + sizes[name, axis.id]))
    return np.ascontiguousarray(array[tuple(places)])


def _input(contents: Contents, name: str) -> DescribedTensor:
    return next(tensor for tensor in contents.inputs if tensor.id == name)


def _pixels(sizes: Sizes, contents: Contents) -> int:
    """Pixels of the largest input, without channels."""
    return max(
        math.prod(sizes[tensor.id, axis.id] for axis in tensor.axes if axis.id != "channel")
        for tensor in contents.inputs
    )


def _most(tensors: Mapping[str, np.ndarray]) -> int:
    return max(LARGEST_IMAGE, *(array.size for array in tensors.values()))


def _same(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return all(one[name].shape == other[name].shape for name in one)
