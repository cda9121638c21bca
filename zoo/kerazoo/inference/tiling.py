"""Covering an image of any size with tiles that a network accepts. Plain geometry on arrays, no framework.

The untiled result is defined as follows: the image is extended by reflection to the next size that the network
accepts (at the bottom and the right; for a network of valid convolutions, whose output is smaller than its input, also
at the top and the left by its margin: the overlap-tile strategy of Ronneberger et al. 2015), the network runs once,
and its output is cropped to the image. The tiled result equals it wherever the halo covers the receptive field: tiles
begin at multiples of the network's step; each pixel is taken from a tile in which it is at least the halo away from
every edge that is not the image's own; and tiles at the image's border begin there, so that the network pads them as
it pads the whole image.

A network that sees the whole image at once (global pooling) has no halo that is large enough; its tiles fade into each
other linearly.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from bmzpack.errors import UserError
from kerazoo.models.recipe import TileGeometry

FADE = 64
"""Half width in pixels of the strip over which the tiles of a network without a halo fade into each other."""


@dataclasses.dataclass(frozen=True)
class Span:
    """A tile along one axis, in pixels."""

    origin: int
    """First input pixel in the extended image; a multiple of the step."""
    size: int
    """Number of input pixels."""
    start: int
    """First pixel of the result that this tile contributes to; in the tile's output it is pixel ``start - origin``."""
    stop: int
    """One after the last."""
    fade_in: int = 0
    """Over so many pixels from `start` on, the tile's weight grows to 1 while that of the tile before it falls."""
    fade_out: int = 0
    """The same before `stop`, with the tile after it."""

    @property
    def weights(self) -> np.ndarray:
        """Weights (pixels,) float32 of the tile's contribution; those of all tiles add up to 1 everywhere."""
        weights = np.ones(self.stop - self.start, np.float32)
        weights[: self.fade_in] *= (np.arange(self.fade_in) + 0.5) / max(self.fade_in, 1)
        weights[len(weights) - self.fade_out :] *= 1 - (np.arange(self.fade_out) + 0.5) / max(self.fade_out, 1)
        return weights


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis of an image and the tiles that may lie on it."""

    length: int
    """Pixels of the image."""
    geometry: TileGeometry

    @property
    def extended(self) -> int:
        """Pixels of the extended image: the smallest accepted size whose output covers the image."""
        return self._accepted(self.length + 2 * self.geometry.margin)

    @property
    def choices(self) -> dict[int, int]:
        """The smallest input size of a tile, by the number of tiles needed to cover the axis."""
        choices = {1: self.extended}
        smallest = 2 * (self._rim + self.geometry.margin) + self.geometry.step
        if self.geometry.halo is None:
            smallest += 4 * FADE + self.geometry.step  # so that no more than two tiles fade into each other
        for size in range(self._accepted(smallest), self.extended, self.geometry.step):
            choices.setdefault(self._count(size), size)
        return choices

    def spans(self, size: int) -> list[Span]:
        """The fewest tiles of ``size`` input pixels that cover the axis, spread evenly."""
        step, margin = self.geometry.step, self.geometry.margin
        count = self._count(size)
        origins = [index * (self.extended - size) // max(count - 1, 1) // step * step for index in range(count)]
        # Both are right from the beginning of the second plus the rim to the end of the first minus the rim.
        middles = [
            (after + before + size - 2 * margin) // 2 // self.geometry.grid * self.geometry.grid
            for before, after in itertools.pairwise(origins)
        ]
        fade = FADE if self.geometry.halo is None else 0
        starts = [0, *(max(middle - fade, 0) for middle in middles)]
        stops = [*(min(middle + fade, self.length) for middle in middles), self.length]
        fades = [stop - start for start, stop in zip(starts[1:], stops[:-1], strict=True)]
        return [
            Span(origin, size, start, stop, fade_in, fade_out)
            for origin, start, stop, fade_in, fade_out in zip(
                origins, starts, stops, [0, *fades], [*fades, 0], strict=True
            )
        ]

    def pixels(self, span: Span) -> slice | np.ndarray:
        """Which pixels of the image a tile reads: a slice, or indices where it reaches over the image's border."""
        first = span.origin - self.geometry.margin
        if first >= 0 and first + span.size <= self.length:
            return slice(first, first + span.size)
        # Reflection at the border pixels, which are not repeated, as often as needed.
        period = max(2 * (self.length - 1), 1)
        position = np.arange(first, first + span.size) % period
        return np.minimum(position, period - position) if self.length > 1 else np.zeros_like(position)

    @property
    def _rim(self) -> int:
        """Output pixels at a tile's inner edges that are not used."""
        if self.geometry.halo is None:
            return FADE
        return math.ceil(max(0, self.geometry.halo - self.geometry.margin) / self.geometry.grid) * self.geometry.grid

    def _accepted(self, size: int) -> int:
        """The smallest size of at least ``size`` pixels that the network accepts."""
        minimum, step = self.geometry.minimum, self.geometry.step
        return minimum + max(0, math.ceil((size - minimum) / step)) * step

    def _count(self, size: int) -> int:
        """How many tiles of ``size`` input pixels cover the axis."""
        if size >= self.extended:
            return 1
        distance = (size - 2 * (self.geometry.margin + self._rim)) // self.geometry.step * self.geometry.step
        return 1 + math.ceil((self.extended - size) / distance)


class Tiling:
    """The tiles of one image size: all of one shape, chosen so that the least is computed twice.

    Tiles are chosen along the space axes of the geometry, however many there are; `apply` takes images with two.

    Parameters
    ----------
    shape
        Pixels of the image along the space axes of the geometry: height and width.
    geometry
        How the network may be fed.
    area
        Largest number of input pixels of a tile; exceeded only where the halo leaves no smaller tile.
    side
        Largest side of a tile in pixels, if any.

    Raises
    ------
    UserError
        ``side`` leaves nothing between the halos.
    """

    def __init__(
        self, shape: tuple[int, ...], geometry: TileGeometry, area: int = 2**21, side: int | None = None
    ) -> None:
        self.shape = shape
        self.geometry = geometry
        self._axes = {name: Axis(length, geometry) for name, length in zip(geometry.axes, shape, strict=True)}
        choices = [
            [(count, size) for count, size in axis.choices.items() if side is None or size <= side]
            for axis in self._axes.values()
        ]
        if not all(choices):
            needed = max(min(axis.choices.values()) for axis in self._axes.values())
            raise UserError(f"A tile of {side} pixels is too small for this network: use --tile {needed} or more.")
        tilings = [
            (math.prod(count * size for count, size in tiling), tuple(size for _, size in tiling))
            for tiling in itertools.product(*choices)
        ]
        fitting = [tiling for tiling in tilings if math.prod(tiling[1]) <= area]
        _, self.tile_shape = min(fitting or [min(tilings, key=lambda tiling: math.prod(tiling[1]))])
        """Sides of every tile, in input pixels."""

    @property
    def rows(self) -> list[Span]:
        """The tiles' extents along y."""
        return self._axes["y"].spans(self.tile_shape[0])

    @property
    def columns(self) -> list[Span]:
        """The tiles' extents along x."""
        return self._axes["x"].spans(self.tile_shape[1])

    def apply(
        self, network: Callable[[np.ndarray], np.ndarray], image: np.ndarray
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Compute the network's output for a whole image, one row of tiles after the other.

        Parameters
        ----------
        network
            Takes a tile (y, x, channel) and returns (y, x, class), smaller by the margin on each side, and then by the
            grid.
        image
            The image (y, x, channel).

        Yields
        ------
        tuple of slice and numpy.ndarray
            The next rows of the output, and the network's output (y, x, class) for them. Without a grid they are the
            rows of the image.
        """
        grid = self.geometry.grid
        unfinished: np.ndarray | float = 0
        for y in self.rows:
            band = self._row(network, image, y)
            finished = len(band) - -(-y.fade_out // grid)
            if self.geometry.halo is None:
                band = band * y.weights[::grid, None, None]
                band[: -(-y.fade_in // grid)] += unfinished
                unfinished = band[finished:]
            yield slice(y.start // grid, y.start // grid + finished), band[:finished]

    def _row(self, network: Callable[[np.ndarray], np.ndarray], image: np.ndarray, y: Span) -> np.ndarray:
        """The output (y, x, class) of one row of tiles, all that they contribute along y and faded along x."""
        grid = self.geometry.grid
        row, width = None, -(-self.shape[1] // grid)
        for x in self.columns:
            result = network(image[self._axes["y"].pixels(y)][:, self._axes["x"].pixels(x)])
            part = result[self._output(y)][:, self._output(x)]
            if part.shape[1] == width:
                return part
            if row is None:
                row = np.zeros((len(part), width, part.shape[2]), part.dtype)
            place = slice(x.start // grid, x.start // grid + part.shape[1])
            row[:, place] += part * x.weights[::grid, None] if self.geometry.halo is None else part
        assert row is not None
        return row

    def _output(self, span: Span) -> slice:
        """What a tile contributes, in pixels of its output."""
        grid = self.geometry.grid
        return slice((span.start - span.origin) // grid, -((span.origin - span.stop) // grid))
