"""Non-maximum suppression and rendering of star-convex polygons in PyTorch, for the end of a TorchScript program.

`kerazoo.models.stardist.graph` in TorchScript, see `kerazoo.models.shared.torch_label_graph`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kerazoo.models.shared.torch_label_graph import finished, quotient
from kerazoo.models.stardist.decoding import GREATEST_DISTANCE, LEAST_DISTANCE, ROUNDING


def find_stars(
    output: Tensor,
    border: int,
    threshold: float,
    overlap: float,
    minimum_size: int,
    least: float = LEAST_DISTANCE,
    greatest: float = GREATEST_DISTANCE,
    rounding: float = ROUNDING,
) -> Tensor:
    """Label image of a network output, see `kerazoo.models.stardist.graph.find_stars`."""
    height, width = output.shape[1], output.shape[2]
    probability = output[0, :, :, 0]
    candidates = torch.zeros_like(probability, dtype=torch.bool)
    candidates[border : height - border, border : width - border] = True
    candidates = candidates & (probability > threshold)
    order = torch.sort(probability[candidates], stable=True, dim=0, descending=True)[1]
    centres = torch.nonzero(candidates)[order].to(torch.float32)
    distances = output[0, :, :, 1:][candidates][order]
    distances = torch.where(distances.isnan(), least, distances).clamp(least, greatest)
    outlines = _outlines(distances)
    # stardist cuts corners down to whole numbers before it compares areas
    corners = (outlines + centres[:, None]).trunc()
    areas = _areas(corners)
    labels = torch.zeros([height, width], dtype=torch.int64, device=output.device)
    if len(centres) > 0:
        low, high = corners.amin(1), corners.amax(1)
        rest, count = torch.arange(len(centres), device=output.device), 0
        while len(rest) > 0:
            first, rest = rest[0], rest[1:]
            count += 1
            _draw(labels, centres[first], outlines[first], count)
            limits = (overlap + rounding) * torch.minimum(areas[first], areas[rest])
            # the extent that both have in common is larger than what they share
            common = (torch.minimum(high[rest], high[first]) - torch.maximum(low[rest], low[first])).clamp(min=0.0)
            stays = common[:, 0] * common[:, 1] <= limits
            near = torch.nonzero(~stays)[:, 0]
            stays[near] = _shared_areas(corners[first], corners[rest[near]]) <= limits[near]
            rest = rest[stays]
    return finished(labels, minimum_size)


def _outlines(distances: Tensor) -> Tensor:
    """Corners of the polygons, relative to their centres, float32 (polygon, ray, 2)."""
    rays = distances.shape[1]
    # with the rounding of stardist: of a corner between two pixels it decides which one is meant
    angle = torch.arange(rays, dtype=torch.float32, device=distances.device) * (2 * math.pi / rays)
    angle = angle.to(torch.float64)
    return torch.stack([distances * angle.sin().to(torch.float32), distances * angle.cos().to(torch.float32)], -1)


def _areas(corners: Tensor) -> Tensor:
    """Areas of polygons (polygon, corner, 2), float32 (polygon,)."""
    corners = corners - corners[:, :1]
    following = corners.roll([-1], [1])
    return 0.5 * (corners[..., 1] * following[..., 0] - corners[..., 0] * following[..., 1]).sum(1).abs()


def _draw(labels: Tensor, centre: Tensor, outline: Tensor, label: int) -> None:
    """Give the pixels of a polygon, its edge included, a label where they have none: ``labels`` is changed."""
    low, high = (outline + centre).amin(0).floor(), (outline + centre).amax(0).ceil()
    top, left = max(int(low[0]), 0), max(int(low[1]), 0)
    box = labels[top : int(high[0]) + 1, left : int(high[1]) + 1]
    y = (torch.arange(top, top + box.shape[0], device=labels.device) - centre[0])[:, None]
    x = (torch.arange(left, left + box.shape[1], device=labels.device) - centre[1])[None]
    box[_inside(y, x, outline) & (box == 0)] = label


def _inside(y: Tensor, x: Tensor, outline: Tensor) -> Tensor:
    """Whether pixels, relative to the centre, lie in a polygon or on its edge, bool (y, x)."""
    rays = len(outline)
    turn = torch.remainder(torch.atan2(y, x) / (2 * math.pi), 1.0)
    sector = (turn * rays).to(torch.int64) % rays
    here = outline[sector]
    along = outline[(sector + 1) % rays] - here
    return along[..., 1] * (y - here[..., 0]) - along[..., 0] * (x - here[..., 1]) >= -1e-4


def _shared_areas(polygon: Tensor, others: Tensor) -> Tensor:
    """Area that a polygon (corner, 2) shares with each of several (polygon, corner, 2), float32 (polygon,).

    The sum of `kerazoo.models.stardist.graph`, of the areas below edges.
    """
    base = torch.cat([polygon, others.reshape(-1, 2)]).amin(0)
    left, right, sign, slope, start = _edges(polygon - base)[:, None, :, None].unbind()
    other_left, other_right, other_sign, other_slope, other_start = _edges(others - base)[:, :, None].unbind()
    left, right = torch.maximum(left, other_left), torch.minimum(right, other_right)
    slopes, starts = slope + other_slope, start + other_start
    steeper, higher = slope - other_slope, start - other_start
    first, last = steeper * left + higher, steeper * right + higher
    one, two = first.abs(), last.abs()
    apart = torch.where(first * last < 0, quotient(one * one + two * two, one + two), one + two)
    below = 0.25 * (right - left).clamp(min=0.0) * (slopes * (left + right) + 2 * starts - apart)
    return (sign * other_sign * below).sum([-2, -1]).abs()


def _edges(corners: Tensor) -> Tensor:
    """Of the edges of polygons (..., corner, 2): the ends along x, the direction, the slope, and y where x is 0.

    Float32 (5, ..., corner).
    """
    following = corners.roll([-1], [-2])
    y, x, to_y, to_x = corners[..., 0], corners[..., 1], following[..., 0], following[..., 1]
    slope = quotient(to_y - y, to_x - x)
    return torch.stack([torch.minimum(x, to_x), torch.maximum(x, to_x), (to_x - x).sign(), slope, y - slope * x])
