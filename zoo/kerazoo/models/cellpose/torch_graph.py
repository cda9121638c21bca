"""The flow dynamics of Cellpose as PyTorch operations, for the end of a TorchScript program.

`kerazoo.models.cellpose.graph` in TorchScript, see `kerazoo.models.shared.torch_label_graph`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kerazoo.models.cellpose.decoding import FLOW_SCALE, LARGEST, REACH
from kerazoo.models.shared.torch_label_graph import (
    areas_of,
    enclosing,
    finished,
    image_of,
    keep,
    neighbours_of,
    of_labels,
    with_none,
)


def find_flow_objects(
    output: Tensor,
    threshold: float,
    flow_error: float,
    minimum_size: int,
    iterations: int,
    scale: float = FLOW_SCALE,
    largest: float = LARGEST,
) -> Tensor:
    """Label image of a network output, see `kerazoo.models.cellpose.graph.find_flow_objects`."""
    inside = output[0, :, :, 2] > threshold
    flows = output[0, :, :, :2] / scale
    flows = torch.where(inside[:, :, None] & flows.isfinite(), flows, 0.0)
    places, shape = torch.nonzero(inside), list(inside.shape)
    labels = image_of(_clusters(_ends(flows, places, iterations), shape), places, shape)
    areas = areas_of(labels)
    labels = keep(labels, (areas > 0) & (areas <= largest * inside.numel()))
    if flow_error > 0:
        labels = keep(labels, _flow_errors(labels, flows) <= flow_error)
    labels = keep(labels, areas_of(labels) >= max(minimum_size, 1))
    return finished(labels + enclosing(labels), minimum_size)


def _ends(flows: Tensor, places: Tensor, iterations: int) -> Tensor:
    """Where the pixels end that drift along the flows, int64 (pixel, 2)."""
    height, width = flows.shape[0], flows.shape[1]
    last = torch.tensor([height - 1, width - 1], dtype=torch.float32, device=flows.device)
    # a pixel and its neighbours below and to the right lie side by side: positions are looked up once a step
    below, right = torch.cat([flows[1:], flows[-1:]]), torch.cat([flows[:, 1:], flows[:, -1:]], 1)
    across = torch.cat([below[:, 1:], below[:, -1:]], 1)
    corners = torch.stack([flows, right, below, across], 2).reshape(-1, 4, 2)
    position = places.to(torch.float32)
    for _ in range(iterations):
        corner = position.to(torch.int64)
        part = position - corner
        down, along = part[:, 0], part[:, 1]
        shares = torch.stack([(1 - down) * (1 - along), (1 - down) * along, down * (1 - along), down * along], 1)
        move = (corners[corner[:, 0] * width + corner[:, 1]] * shares[:, :, None]).sum(1)
        position = torch.minimum((position + move).clamp(min=0.0), last)
    return position.to(torch.int64)


def _clusters(ends: Tensor, shape: list[int], reach: int = REACH) -> Tensor:
    """One label for the pixels that end near each other, 0 for those without a crowd; int64 (pixel,)."""
    height, width = shape[0] + 2 * reach, shape[1] + 2 * reach
    place = (ends[:, 0] + reach) * width + ends[:, 1] + reach
    count = torch.bincount(place, minlength=height * width).reshape(1, 1, height, width).to(torch.float32)
    summit = torch.max_pool2d(count, [5, 5], [1, 1], [2, 2])
    seeds = torch.nonzero(((count > 10) & (count >= summit)).reshape(-1))[:, 0]
    count = count.reshape(-1)
    # where seeds meet, the one with more pixels wins
    seeds = seeds[torch.sort(count[seeds], stable=True, dim=0)[1]]
    along = torch.arange(-reach, reach + 1, device=ends.device)
    around = seeds[:, None, None] + along[:, None] * width + along
    free = count[around] > 2
    grown = torch.zeros_like(free)
    grown[:, reach, reach] = True
    for _ in range(reach):
        spread = torch.max_pool2d(grown.to(torch.float32)[:, None], [3, 3], [1, 1], [1, 1])[:, 0]
        grown = grown | ((spread > 0) & free)
    rank = torch.arange(1, len(seeds) + 1, device=ends.device)[:, None, None].expand_as(around)
    labels = torch.zeros([height * width], dtype=torch.int64, device=ends.device)
    return labels.scatter_reduce(0, around[grown], rank[grown], "amax")[place]


def _flow_errors(labels: Tensor, flows: Tensor) -> Tensor:
    """Mean squared error between the flows and those of the objects' shapes, by label, float32."""
    places = torch.nonzero(labels)
    label = labels[places[:, 0], places[:, 1]]
    distance = torch.zeros_like(label, dtype=torch.float64)
    steps = torch.full_like(label, 12)
    for axis in range(2):
        along = places[:, axis]
        distance += (along - of_labels(along.to(torch.float64), label, "mean")[label]).square()
        steps += 2 * (of_labels(along, label, "amax") - of_labels(along, label, "amin"))[label]
    own = torch.arange(len(label), device=labels.device)
    middle = distance == of_labels(distance, label, "amin")[label]
    source = (own == of_labels(torch.where(middle, own, len(own)), label, "amin")[label]).to(torch.float64)
    neighbours = neighbours_of(places, list(labels.shape))
    neighbours = torch.where(with_none(label)[neighbours] == label, neighbours, 0)
    heat = torch.zeros_like(source)
    for step in range(int(with_none(steps).max())):
        fed = heat + source
        heat = torch.where(step < steps, (fed + with_none(fed)[neighbours].sum(0)) / 9, heat)
    up, left, right, down = with_none(heat)[neighbours[[1, 3, 4, 6]]].unbind()
    slope = torch.stack([down - up, right - left], 1)
    direction = slope / (1e-60 + slope.square().sum(1, keepdim=True).sqrt())
    difference = direction.to(torch.float32) - flows[places[:, 0], places[:, 1]]
    return of_labels(difference.square().sum(1), label, "mean")
