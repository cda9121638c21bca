"""The tiles into which JDLL cuts images, for images of many sizes at once.

TileCalculator, TileMaker, PatchSpec and the beginning of BioimageIoModelJava.run of 0.6.1; JDLL 98d3be2 has the same
arithmetic. Numbers are Java's: integers cut towards zero, doubles of 64 bits.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from bmzpack.consumers.jdll.descriptor import DTYPES, UNSUPPORTED, Axis, Descriptor, Tensor
from bmzpack.consumers.jdll.java import LARGEST_INT, remainder, truncated, wrapped

LARGEST_TILE = 4096 * 4096 * 3
"""Values of an input's tile."""
LARGEST_OUTPUT = LARGEST_INT
"""Bytes of an output's tile."""
MOST_ROUNDS = 2000
"""So many rounds of the loop that makes tiles smaller are taken for all of them."""
COMPLEX = "JDLL calls the sizes too complex"
LARGEST_LONG = 2**63 - 1

Sizes = list[np.ndarray]
"""By axis: one size for each of the images that are tried."""


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why an image is refused: the place in rdf.yaml, what happens, and the rule that says so."""

    place: str
    why: str
    rule: str


@dataclasses.dataclass
class Trial:
    """What becomes of images of several sizes."""

    count: int
    """Number of images."""
    reasons: list[Reason] = dataclasses.field(default_factory=list)
    refused: np.ndarray = dataclasses.field(init=False)
    """For every image the position in `reasons`, or -1 where it is run."""
    tiles: dict[str, Sizes] = dataclasses.field(default_factory=dict)
    """By input and output: the size of a tile."""
    images: dict[str, Sizes] = dataclasses.field(default_factory=dict)
    """By output: the size of the result."""
    count_of_tiles: np.ndarray = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.refused = np.full(self.count, -1)
        self.count_of_tiles = np.ones(self.count)

    def refuse(self, where: np.ndarray | bool, place: str, why: str, rule: str = "R6") -> None:
        """Note a reason for the images that were not refused before."""
        chosen = np.broadcast_to(where, self.count) & (self.refused < 0)
        if chosen.any():
            self.reasons.append(Reason(place, why, rule))
            self.refused[chosen] = len(self.reasons) - 1

    @property
    def over(self) -> bool:
        """Whether all images are refused."""
        return bool((self.refused >= 0).all())


def tried(model: Descriptor, images: dict[str, Sizes]) -> Trial:
    """Tile images of many sizes.

    Parameters
    ----------
    model
        The description as JDLL has it.
    images
        By input: for every axis the sizes of the images, in pixels.

    Returns
    -------
    Trial
        Reasons for those that are refused, the tiles, and the sizes of the results.
    """
    trial = Trial(len(next(iter(images.values()))[0]) if images else 0)
    for step in (_choose_tiles, _check_inputs, _check_outputs, _check_channels, _check_grids):
        if not trial.over:
            with np.errstate(all="ignore"):
                step(model, images, trial)
    for tensor in model.outputs:
        if tensor.dtype not in DTYPES:
            trial.refuse(True, f"{tensor.place}.data", UNSUPPORTED.format(tensor.dtype), "T11")
    return trial


def _choose_tiles(model: Descriptor, images: dict[str, Sizes], trial: Trial) -> None:
    """`TileCalculator.getOptimalTileSize`."""
    for tensor in model.inputs:
        word = tensor.letters.upper().replace("T", "B")
        if len(word) != len(tensor.axes) or "T" in tensor.letters.upper():
            why = f"JDLL takes the axes of {tensor.name} for the letters {tensor.letters}"
            return trial.refuse(True, f"{tensor.place}.axes", why, "R5")
        for axis in tensor.axes:
            if axis.tensor is not None and axis.letter in "zyx" and axis.minimum == 1 and not axis.step:
                why = f"{axis.letter} of {tensor.name} follows another axis, and JDLL makes tiles of 1 pixel along it"
                trial.refuse(True, axis.place, why)
        trial.tiles[tensor.name] = [
            _tile(axis, images[tensor.name][word.index(axis.letter.upper())], model.tiling) for axis in tensor.axes
        ]
    if not model.tiling or not any(axis.step for tensor in model.inputs for axis in tensor.axes):
        return None
    affected = [tensor for tensor in model.outputs if any(axis.tensor is not None for axis in tensor.axes)]
    too_large = np.zeros(trial.count, bool)
    for tensor in affected:
        sizes = _output_sizes(model, tensor, trial)
        if sizes is None:
            return None
        too_large |= np.prod(np.array(sizes), 0) * DTYPES.get(tensor.dtype, 1) > LARGEST_OUTPUT
    for tensor in model.inputs:
        too_large |= np.prod(np.array(trial.tiles[tensor.name]), 0) > LARGEST_TILE
    _refuse_large(model, trial, too_large, affected)
    return None


def _tile(axis: Axis, size: np.ndarray, tiling: bool) -> np.ndarray:
    """The first choice of a tile's size along an axis."""
    step, minimum = axis.step, axis.minimum
    if not step:
        return size.copy() if minimum == -1 else np.full_like(size, minimum)
    if not tiling:
        return np.full_like(size, -1)
    total = wrapped(size + 2 * axis.halo)
    chosen = np.where(total < 0, -(-total // step), total // step) * step
    chosen = np.where((chosen > 3 * size) & (chosen - step >= minimum), chosen - step, chosen)
    at_least = -(-size // step) * step
    return np.where((chosen > 3 * size) & (at_least >= minimum), at_least, chosen)


def _output_sizes(model: Descriptor, tensor: Tensor, trial: Trial) -> Sizes | None:
    """`calculateByteSizeOfAffectedOutput`: the tiles of an output, or None where that ends with an exception."""
    sizes: list[np.ndarray | None] = []
    for axis in tensor.axes:
        if axis.tensor is None:
            sizes.append(np.full(trial.count, axis.minimum) if axis.minimum else None)
            continue
        found = _referred(model, axis, trial)
        if found is None:
            return None
        sizes.append(truncated(trial.tiles[found[0].name][found[1]] * axis.scale + 2 * axis.offset, LARGEST_LONG))
    references = {axis.tensor for axis in tensor.axes if axis.tensor is not None}
    if len(references) != 1:
        trial.refuse(True, tensor.place, f"{COMPLEX}: those of {tensor.name} follow several inputs", "R7")
        return None
    source = next(other for other in model.inputs if other.name in references)
    found_sizes: Sizes = []
    for axis, size in zip(tensor.axes, sizes, strict=True):
        if size is None:
            position = source.letters.find(axis.letter)
            if position < 0:
                trial.refuse(True, axis.place, f"{COMPLEX}: {axis.letter} of {tensor.name} has no size", "R7")
                return None
            size = trial.tiles[source.name][position]
        found_sizes.append(size)
    return found_sizes


def _referred(model: Descriptor, axis: Axis, trial: Trial) -> tuple[Tensor, int] | None:
    """The input and the position of the axis that a size follows; an exception is noted."""
    source = next((tensor for tensor in model.inputs if tensor.name == axis.tensor), None)
    position = source.letters.find(axis.axis) if source is not None and axis.axis else -1
    if source is None or position < 0:
        trial.refuse(
            True,
            axis.place,
            f"JDLL finds no axis {axis.axis} among the axes {source.letters if source else 'of an input'} of "
            f"{axis.tensor}",
            "R7",
        )
        return None
    return source, position


def _refuse_large(model: Descriptor, trial: Trial, too_large: np.ndarray, affected: Sequence[Tensor]) -> None:
    """`checkOutputSize`: what is larger than JDLL likes never comes to a result."""
    if not too_large.any():
        return
    first = int(np.flatnonzero(too_large)[0])
    tiles = {name: [int(size[first]) for size in sizes] for name, sizes in trial.tiles.items()}
    values = max(math.prod(tile) for tile in tiles.values())
    what = (
        f"the tile has {values:,} values, more than {LARGEST_TILE:,}"
        if values > LARGEST_TILE
        else f"the tile of the result has more than {LARGEST_OUTPUT:,} bytes"
    )
    end = "JDLL looks for a smaller one and never returns" if _never_ends(model, tiles) else "JDLL throws an exception"
    trial.refuse(too_large, model.inputs[0].place, f"{what}, and {end} (TileCalculator.checkOutputSize)")


def _never_ends(model: Descriptor, tiles: dict[str, list[int]]) -> bool:
    """Whether the loop of `checkOutputSize` does not end: it changes the first axis only, whichever it looks at."""
    tiles = {name: list(tile) for name, tile in tiles.items()}
    names = [tensor.name for tensor in model.inputs]
    totals = {name: math.prod(tiles[name]) for name in names}
    seen: set[tuple[int, ...]] = set()
    for _ in range(MOST_ROUNDS):
        ratios = {name: LARGEST_TILE / totals[name] if totals[name] else math.inf for name in names}
        if min(ratios.values()) >= 1:
            return False
        state = tuple(size for name in names for size in (*tiles[name], totals[name]))
        if state in seen:
            return True
        seen.add(state)
        movable = [tensor for tensor in model.inputs if any(axis.step for axis in tensor.axes)]
        tensor = min(movable, key=lambda tensor: ratios[tensor.name], default=None)
        if tensor is None:
            return False
        tile, ratio = tiles[tensor.name], ratios[tensor.name]
        for axis in (axis for axis in tensor.axes if axis.step):
            if not tile[0]:
                return False
            others = totals[tensor.name] // tile[0]
            if tile[0] * ratio < axis.minimum:
                tile[0] = -(-100 // axis.step) * axis.step if axis.minimum > 1 else axis.minimum
            else:
                steps = np.floor((np.float64(tile[0]) * ratio - axis.minimum) / axis.step)
                tile[0] = int(truncated(steps * axis.step + axis.minimum, LARGEST_LONG))
            totals[tensor.name] = others * tile[0]
            ratio = LARGEST_TILE / totals[tensor.name] if totals[tensor.name] else math.inf
    return True


def _check_inputs(model: Descriptor, images: dict[str, Sizes], trial: Trial) -> None:
    """`validateTileVsImageSize` and `validateStepMin`."""
    for tensor in model.inputs:
        for axis, image, tile in zip(tensor.axes, images[tensor.name], trial.tiles[tensor.name], strict=True):
            for side in np.unique(tile[tile > 3 * image])[:1]:
                trial.refuse(
                    tile > 3 * image,
                    axis.place,
                    f"the tile has {side} pixels along {axis.letter}, and more than three times the image is refused",
                )
    for tensor in model.inputs:
        for axis, tile in zip(tensor.axes, trial.tiles[tensor.name], strict=True):
            if axis.step and not model.tiling:
                wrong = remainder(tile - axis.minimum, axis.step) != 0
                why = "config.deepimagej does not say allow_tiling: true, and JDLL makes a tile of -1 pixels"
                trial.refuse(wrong, "config.deepimagej.allow_tiling", why)
            if axis.step:
                wrong = remainder(tile - axis.minimum, axis.step) != 0
                allowed = f"is not {axis.minimum} + n x {axis.step}"
            else:
                wrong = (tile != axis.minimum) & (axis.minimum != -1)
                allowed = f"is not {axis.minimum}"
            for side in tile[wrong][:1]:
                trial.refuse(wrong, axis.place, f"the tile of {side} pixels along {axis.letter} {allowed}")


def _check_outputs(model: Descriptor, images: dict[str, Sizes], trial: Trial) -> None:
    """`getOutputTiles` and `validateTileVsHalo`."""
    for tensor in model.outputs:
        ends = [_output_axis(model, images, tensor, axis, trial) for axis in tensor.axes]
        found = [end for end in ends if end is not None]
        if len(found) < len(ends):
            return
        trial.images[tensor.name], trial.tiles[tensor.name] = [end[0] for end in found], [end[1] for end in found]
        for axis, (image, _) in zip(tensor.axes, found, strict=True):
            trial.refuse(image <= 0, axis.place, f"the result has no pixels along {axis.letter}", "R7")
    for tensor in model.outputs:
        for axis, tile in zip(tensor.axes, trial.tiles[tensor.name], strict=True):
            nothing = tile - wrapped(2 * axis.halo) <= 0
            for side in tile[nothing & (trial.refused < 0)][:1]:
                trial.refuse(
                    nothing,
                    axis.place,
                    f"nothing is left of a tile of {side} pixels along {axis.letter} when the halo of {axis.halo} is "
                    "cut off",
                )


def _output_axis(
    model: Descriptor, images: dict[str, Sizes], tensor: Tensor, axis: Axis, trial: Trial
) -> tuple[np.ndarray, np.ndarray] | None:
    """Sizes of the whole result and of a tile of it along an axis; None where all images are refused."""
    fixed = np.full(trial.count, axis.minimum)
    if not model.tiling and not axis.step:
        return fixed, fixed
    if axis.tensor is not None and model.tiling:
        found = _referred(model, axis, trial)
        if found is None:
            return None
        image, tile = images[found[0].name][found[1]], trial.tiles[found[0].name][found[1]]
        sizes = [
            truncated(side * axis.scale + axis.offset * 2, LARGEST_LONG)
            for side in (image, np.where(tile == -1, image, tile))
        ]
        return sizes[0], sizes[1]
    source = next((other for other in model.inputs if other.is_image), None)
    if axis.step or not axis.minimum or source is None:
        trial.refuse(True, axis.place, f"{COMPLEX}: JDLL cannot tell the size of {axis.letter} of {tensor.name}", "R7")
        return None
    position = source.letters.find(axis.letter)
    if position < 0:
        return fixed, fixed
    whole = axis.minimum * (images[source.name][position] / trial.tiles[source.name][position])
    trial.refuse(
        np.floor(whole) != whole,
        axis.place,
        f"{COMPLEX}: {axis.letter} of {tensor.name} is always {axis.minimum}, and the image no whole number of tiles",
        "R7",
    )
    return truncated(whole, LARGEST_LONG), fixed


def _check_channels(model: Descriptor, images: dict[str, Sizes], trial: Trial) -> None:
    """`validateTileVsImageChannel`."""
    for tensor in model.inputs:
        position = tensor.letters.find("c")
        if position < 0:
            # position -1 of an array (TileMaker.java:288)
            return trial.refuse(True, f"{tensor.place}.axes", f"{tensor.name} has no channel axis", "T2")
        trial.refuse(
            trial.tiles[tensor.name][position] != images[tensor.name][position],
            tensor.axes[position].place,
            f"an image of {tensor.name} has another number of channels",
        )
    return None


def _check_grids(model: Descriptor, images: dict[str, Sizes], trial: Trial) -> None:
    """`computePatchSpecs`: every image needs as many tiles; other tensors are given whole to every tile."""
    if not model.tiling:
        return
    counts: list[np.ndarray] = []
    pictures = [tensor for tensor in [*model.inputs, *model.outputs] if tensor.is_image]
    for tensor in pictures:
        sizes = images[tensor.name] if tensor in model.inputs else trial.images[tensor.name]
        count = np.ones(trial.count)
        for axis, image, tile in zip(tensor.axes, sizes, trial.tiles[tensor.name], strict=True):
            used = tile - wrapped(2 * axis.halo)
            trial.refuse(
                used <= 0, axis.place, f"nothing of a tile is used along {axis.letter} with a halo of {axis.halo}"
            )
            count *= np.ceil(image / used)
        counts.append(count)
    for tensor, count in zip(pictures[1:], counts[1:], strict=True):
        why = f"{tensor.name} is cut into another number of tiles than {pictures[0].name}"
        trial.refuse(count != counts[0], tensor.place, why, "R7")
    trial.count_of_tiles = counts[0] if counts else trial.count_of_tiles
