"""Polygons of images that are too large for all their candidates to be in memory: strip by strip."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from kerazoo.models.recipe import Recipe
from kerazoo.models.shared.watershed import remove_small
from kerazoo.models.stardist.decoding import Candidates, find_candidates, render, suppress

BORDER = 2
"""Pixels of the output along the edges of the image that are no candidates, as in StarDist."""
CONTEXT = 512
"""Pixels below a strip's accepted rows, and above them, whose candidates are suppressed together with them. Objects
smaller than half of this come out as if suppressed at once."""


def find_stars_in_strips(
    bands: Iterable[tuple[slice, np.ndarray]], shape: tuple[int, int], recipe: Recipe, context: int = CONTEXT
) -> np.ndarray:
    """Find objects as `kerazoo.models.stardist.decoding.find_stars` does, with the memory of some rows.

    An object belongs to the strip in which its centre is. Of each strip the candidates are suppressed together with
    those around it; the survivors of all strips once more, so that none is found twice.

    Parameters
    ----------
    bands
        Rows of the network's output, one after the other, and their content (y, x, 1 + rays), float32.
    shape
        Height and width of the image in pixels.
    recipe
        Its grid and decoding.
    context
        Pixels, see `CONTEXT`.

    Returns
    -------
    numpy.ndarray
        Labels without gaps, int32 (y, x).
    """
    grid, decoding = recipe.geometry.grid, recipe.decoding
    accepted: list[Candidates] = []
    near: list[Candidates] = []
    first, height = 0, -(-shape[0] // grid)
    for rows, band in bands:
        border = (BORDER if rows.start == 0 else 0, BORDER if rows.stop == height else 0)
        origin = (rows.start * grid, 0)
        near.append(find_candidates(band, (grid, grid), decoding.threshold, origin, border=(border, (BORDER, BORDER))))
        last = rows.stop * grid - (0 if rows.stop == height else context)
        if last <= first:
            continue
        together = _joined(near)
        survivors = together.take(suppress(together, decoding.overlap))
        row = survivors.points[:, 0]
        accepted.append(survivors.take(np.flatnonzero((row >= first) & (row < last))))
        near = [together.take(np.flatnonzero(together.points[:, 0] >= last - context))]
        first = last
    found = _joined(accepted)
    if len(accepted) > 1:
        found = found.take(suppress(found, decoding.overlap))
    labels = render(found, shape)
    return remove_small(labels, decoding.minimum_size, out=labels)


def _joined(parts: Sequence[Candidates]) -> Candidates:
    fields = [field.name for field in dataclasses.fields(Candidates)]
    return Candidates(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))
