"""What label images in a TorchScript program have in common: areas, parts that touch, growth, numbers without gaps.

`kerazoo.models.shared.label_graph` in PyTorch's operations. TorchScript compiles the text of these functions: constants
of modules reach it as default values of arguments only, and nothing in it may be newer than PyTorch 2.0.
"""

from __future__ import annotations

import torch
from torch import Tensor


def keep(labels: Tensor, kept: Tensor) -> Tensor:
    """The labels for which ``kept`` is true, numbered without gaps in the same order; 0 stays background."""
    kept = torch.cat([torch.zeros_like(kept[:1]), kept[1:]])
    return (kept.cumsum(0) * kept)[labels]


def areas_of(labels: Tensor) -> Tensor:
    """Pixels of every label from 0 on, int64."""
    return torch.bincount(labels.reshape(-1))


def of_labels(values: Tensor, labels: Tensor, reduction: str) -> Tensor:
    """Values of pixels by their label, from 0 to the largest; 0 for labels that no pixel has.

    Parameters
    ----------
    values
        (pixel,).
    labels
        int64 (pixel,).
    reduction
        ``sum``, ``mean``, ``amin`` or ``amax``.
    """
    count = int(with_none(labels).max()) + 1
    empty = torch.zeros([count], dtype=values.dtype, device=values.device)
    return empty.scatter_reduce(0, labels, values, reduction, include_self=False)


def finished(labels: Tensor, minimum_size: int) -> Tensor:
    """Remove small objects, and give the label image (y, x) the form of an output: (1, y, x, 1), float32."""
    labels = keep(labels, areas_of(labels) >= max(minimum_size, 1))
    return labels.to(torch.float32)[None, :, :, None]


def image_of(values: Tensor, places: Tensor, shape: list[int]) -> Tensor:
    """An image (y, x, ...) with values at places, int64 (pixel, 2), and 0 elsewhere."""
    image = torch.zeros(shape, dtype=values.dtype, device=values.device)
    image[places[:, 0], places[:, 1]] = values
    return image


def neighbours_of(places: Tensor, shape: list[int], square: int = 2) -> Tensor:
    """The places in the list, from 1 on, of the neighbours of every pixel; 0 outside of it; int64 (neighbour, pixel).

    Parameters
    ----------
    places
        The list: y and x of pixels, int64 (pixel, 2).
    shape
        Height and width of the image.
    square
        Square of the distance in pixels up to which pixels are neighbours: 1 at the sides, 2 also at the corners.
    """
    reach = int(square**0.5)
    along = torch.arange(-reach, reach + 1, device=places.device)
    distance = along[:, None] * along[:, None] + along * along
    offsets = torch.nonzero((distance > 0) & (distance <= square)) - reach
    width = shape[1] + 2 * reach
    flat = (places[:, 0] + reach) * width + places[:, 1] + reach
    numbers = torch.zeros([(shape[0] + 2 * reach) * width], dtype=torch.int64, device=places.device)
    numbers[flat] = torch.arange(1, len(flat) + 1, device=places.device)
    return numbers[flat + (offsets[:, 0] * width + offsets[:, 1])[:, None]]


def quotient(dividend: Tensor, divisor: Tensor) -> Tensor:
    """A quotient that is 0 where the divisor is."""
    return torch.where(divisor == 0, 0.0, dividend / divisor)


def with_none(values: Tensor) -> Tensor:
    """A list with 0 at its begin, for pixels that are not in it."""
    return torch.cat([torch.zeros([1], dtype=values.dtype, device=values.device), values])


def largest_around(values: Tensor, neighbours: Tensor) -> Tensor:
    """The largest value among the neighbours of every pixel; 0 where it has none."""
    return with_none(values)[neighbours].amax(0)


def components(mask: Tensor, neighbours: Tensor) -> Tensor:
    """Parts that touch at sides or corners, numbered by their last pixel row by row, int64 (pixel,)."""
    own = torch.arange(1, len(mask) + 1, device=mask.device)
    labels = torch.where(mask, own, 0)
    changed = bool(mask.any())
    while changed:
        # the largest number around, and the largest that is known where that is
        spread = torch.where(mask, torch.maximum(labels, largest_around(labels, neighbours)), 0)
        spread = torch.maximum(spread, with_none(spread)[spread])
        changed = not torch.equal(spread, labels)
        labels = spread
    ranks = (mask & (labels == own)).cumsum(0)
    return torch.where(mask, with_none(ranks)[labels], 0)


def grown(labels: Tensor, mask: Tensor, neighbours: Tensor) -> Tensor:
    """Labels after they have grown over a mask, one pixel after the other."""
    free = torch.nonzero(mask & (labels == 0))[:, 0]
    labels = labels.clone()
    while len(free) > 0:
        new = largest_around(labels, neighbours[:, free])
        reached = new > 0
        labels[free[reached]] = new[reached]
        free = free[~reached] if bool(reached.any()) else free[:0]
    return labels


def with_the_rest(labels: Tensor, neighbours: Tensor) -> Tensor:
    """Labels of the pixels of a list, those without one being objects of their own, numbered behind the others."""
    others = components(labels == 0, neighbours)
    return torch.where(others > 0, others + with_none(labels).max(), labels)


def filled(labels: Tensor, smaller_than: int | None = None) -> Tensor:
    """A label image whose holes belong to the object that they lie in, if it is one alone; or only smaller ones."""
    # all pixels of a hole see the same object on all sides, and so do few others; none of them is at the rim
    enclosed = enclosing(labels) > 0
    places = torch.nonzero(enclosed)
    parts = components(
        torch.ones_like(places[:, 0], dtype=torch.bool), neighbours_of(places, list(labels.shape), square=1)
    )
    known = torch.where((labels == 0) & ~enclosed, -1, labels).reshape(-1)
    width = labels.shape[1]
    own = places[:, 0] * width + places[:, 1]
    around = torch.stack([known[own - width], known[own - 1], known[own + 1], known[own + width]])
    owner = of_labels(around.amax(0), parts, "amax")
    alone = of_labels(torch.where(around == 0, labels.max(), around).amin(0), parts, "amin") == owner
    if smaller_than is not None:
        alone = alone & (torch.bincount(parts, minlength=len(alone)) < smaller_than)
    result = labels.clone()
    result[enclosed] = torch.where(alone, owner, 0)[parts]
    return result


def enclosing(labels: Tensor) -> Tensor:
    """The object that a pixel of the background sees on all four sides; 0 where there is no such one, or several."""
    up, down = nearest_along(labels, 0, True), nearest_along(labels, 0, False)
    left, right = nearest_along(labels, 1, True), nearest_along(labels, 1, False)
    return torch.where((labels == 0) & (up == down) & (up == left) & (up == right), up, 0)


def nearest_along(labels: Tensor, axis: int, forward: bool) -> Tensor:
    """The nearest label that is not 0 along an axis, the pixel's own included; 0 where there is none."""
    labels = labels if forward else labels.flip([axis])
    place = torch.arange(labels.shape[axis], device=labels.device)
    place = torch.where(labels > 0, place[:, None] if axis == 0 else place[None], 0)
    nearest = labels.gather(axis, place.cummax(axis)[0])
    return nearest if forward else nearest.flip([axis])
