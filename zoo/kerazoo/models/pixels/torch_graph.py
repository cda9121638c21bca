"""Objects of interior and border as PyTorch operations, for the end of a TorchScript program.

`kerazoo.models.pixels.graph` in TorchScript, see `kerazoo.models.shared.torch_label_graph`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kerazoo.models.pixels.flooding import FAR, FARTHEST, LEVEL, STEP
from kerazoo.models.shared.torch_label_graph import (
    components,
    filled,
    finished,
    image_of,
    largest_around,
    neighbours_of,
    of_labels,
    with_none,
    with_the_rest,
)
from kerazoo.models.shared.watershed import SMOOTHING


def find_objects(
    output: Tensor,
    threshold: float,
    seed_threshold: float,
    neck: float,
    minimum_size: int,
    farthest: float = FARTHEST,
) -> Tensor:
    """Label image of a network output, see `kerazoo.models.pixels.graph.find_objects`."""
    foreground = output[0, :, :, 1] + output[0, :, :, 2] > threshold
    shape = list(foreground.shape)
    interior = foreground & (output[0, :, :, 1] > seed_threshold)
    inside, outside = torch.nonzero(interior), torch.nonzero(foreground & ~interior)
    height = _smoothed(image_of(_distance(interior, inside), inside, shape))
    height[outside[:, 0], outside[:, 1]] = -_distance(~interior, outside, farthest)
    places = torch.nonzero(foreground)
    heights = height[places[:, 0], places[:, 1]]
    around = neighbours_of(places, shape)
    seeds = components(_summits(heights.clamp(min=0.0), neck, around), around)
    sides = neighbours_of(places, shape, square=1)
    labels = _numbered(with_the_rest(_flooded(seeds, heights, sides), sides))
    return finished(filled(image_of(labels, places, shape)), minimum_size)


def _distance(mask: Tensor, places: Tensor, farthest: float = FAR, far: float = FAR) -> Tensor:
    """Distance from pixels of a mask to the next one outside it, at most ``farthest``; where there is none: all 1.

    Parameters
    ----------
    mask
        bool (y, x).
    places
        The pixels whose distance is asked for, int64 (pixel, 2), all within the mask.
    farthest
        In pixels.
    far
        A distance where there is nothing to be distant from.

    Returns
    -------
    Tensor
        float32 (pixel,).
    """
    if bool(mask.all()):
        return torch.ones_like(places[:, 0], dtype=torch.float32)
    height, width = mask.shape[0], mask.shape[1]
    row = torch.arange(height, dtype=torch.float32, device=mask.device)[:, None]
    before = torch.where(mask, -far, row).cummax(0)[0]
    after = torch.where(mask, far, row).flip([0]).cummin(0)[0].flip([0])
    square = torch.minimum(row - before, after - row).square().reshape(-1)
    start, x = places[:, 0] * width, places[:, 1]
    nearest = square[start + x]
    by, limit = 1, min(float(width), farthest)
    while by < limit and by * by < float(with_none(nearest).max()):
        # beyond an end stands the last pixel of the row, which is nearer and has been seen
        left, right = (x - by).clamp(min=0), (x + by).clamp(max=width - 1)
        nearest = torch.minimum(nearest, torch.minimum(square[start + left], square[start + right]) + by * by)
        by += 1
    return nearest.sqrt().clamp(max=farthest)


def _smoothed(image: Tensor, deviation: float = SMOOTHING) -> Tensor:
    """The blur of `kerazoo.models.shared.watershed`, mirrored at the rim."""
    radius = int(4 * deviation + 0.5)
    along = torch.arange(-radius, radius + 1, device=image.device) / deviation
    weights = torch.exp(-along.square() / 2)
    weights = (weights / weights.sum())[None, None, :, None]
    rows, columns = _mirrored(image.shape[0], radius, image.device), _mirrored(image.shape[1], radius, image.device)
    image = image[rows][:, columns][None, None]
    return torch.conv2d(torch.conv2d(image, weights), weights.transpose(2, 3))[0, 0]


def _mirrored(size: int, radius: int, device: torch.device) -> Tensor:
    """Places in an axis of any size, and beyond its ends, where it is mirrored."""
    period = max(2 * size - 2, 1)
    place = torch.arange(-radius, size + radius, device=device) % period
    return torch.minimum(place, period - place)


def _summits(heights: Tensor, neck: float, neighbours: Tensor, level: float = LEVEL) -> Tensor:
    """The upper parts of hills; two whose pass is nearly as high as the lower one are a single hill."""
    cut = _reconstructed(heights * max(neck, level), heights, neighbours)
    return _reconstructed(cut * (1 - level), cut, neighbours) < cut


def _reconstructed(start: Tensor, ceiling: Tensor, neighbours: Tensor) -> Tensor:
    """Heights that spread to their neighbours as far as there is a ceiling above them."""
    heights, changed = start, True
    while changed:
        spread = torch.minimum(torch.maximum(heights, largest_around(heights, neighbours)), ceiling)
        changed = not torch.equal(spread, heights)
        heights = spread
    return heights


def _flooded(labels: Tensor, heights: Tensor, neighbours: Tensor, step: float = STEP) -> Tensor:
    """Labels after they have grown downhill; a pixel goes to the highest of its neighbours that have one."""
    bottom = float(with_none(heights).min())
    level = float(with_none(heights).max())
    above = with_none(heights - bottom + 1)
    known = with_none(labels)
    free = torch.nonzero(labels == 0)[:, 0]
    changed = True
    while len(free) > 0 and (changed or level > bottom - step):
        flooded = free[heights[free] >= level]
        around = neighbours[:, flooded]
        beside = known[around]
        height = torch.where(beside > 0, above[around], 0.0)
        new = torch.where(height == height.amax(0), beside, 0).amax(0)
        known[flooded + 1] = new
        changed = bool((new > 0).any())
        if changed:
            free = free[known[free + 1] == 0]
        else:
            level -= step
    return known[1:]


def _numbered(labels: Tensor) -> Tensor:
    """Labels in the order of their last pixels, which depends on rounding less than that of the seeds."""
    last = of_labels(torch.arange(len(labels), device=labels.device), labels, "amax")
    numbers = torch.zeros_like(last)
    numbers[1 + last[1:].argsort()] = torch.arange(1, len(last), device=labels.device)
    return numbers[labels]
