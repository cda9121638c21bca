"""The flow dynamics of Omnipose as PyTorch operations, for the end of a TorchScript program.

`kerazoo.models.omnipose.graph` in TorchScript, see `kerazoo.models.shared.torch_label_graph`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kerazoo.models.omnipose.decoding import CROWD, EXTREMES, FINE, ITERATIONS, REACH, THIN, WEAK
from kerazoo.models.omnipose.targets import CONVERGED, FLOW_SCALE
from kerazoo.models.shared.torch_label_graph import (
    areas_of,
    components,
    filled,
    finished,
    image_of,
    keep,
    largest_around,
    neighbours_of,
    of_labels,
    quotient,
    with_none,
)


def find_field_objects(output: Tensor, threshold: float, flow_error: float, minimum_size: int) -> Tensor:
    """Label image of a network output, see `kerazoo.models.omnipose.graph.find_field_objects`."""
    flow, distance = output[0, :, :, :2], output[0, :, :, 2]
    places, shape = _foreground(distance, threshold), list(distance.shape)
    ends = _ends(flow, places)
    labels = image_of(_clusters(ends, distance[places[:, 0], places[:, 1]], shape), places, shape)
    labels = keep(labels, areas_of(labels) >= max(minimum_size, 1))
    labels = filled(labels, smaller_than=minimum_size)
    if flow_error > 0:
        labels = keep(labels, _flow_errors(labels, flow) <= flow_error)
    return finished(labels, minimum_size)


def _foreground(distance: Tensor, threshold: float, weak: float = WEAK) -> Tensor:
    """Pixels above the weaker threshold in parts that have some above the threshold, int64 (pixel, 2)."""
    places = torch.nonzero(distance > threshold - weak)
    neighbours = neighbours_of(places, list(distance.shape), square=1)
    parts = components(torch.ones_like(places[:, 0], dtype=torch.bool), neighbours)
    strong = of_labels((distance[places[:, 0], places[:, 1]] > threshold).to(torch.int64), parts, "amax")
    return places[strong[parts] > 0]


def _ends(
    flow: Tensor,
    places: Tensor,
    iterations: int = ITERATIONS,
    lowest: float = EXTREMES[0],
    highest: float = EXTREMES[1],
) -> Tensor:
    """Where the pixels end that follow the flows by suppressed Euler steps, float32 (pixel, 2)."""
    height, width = flow.shape[0], flow.shape[1]
    own = flow[places[:, 0], places[:, 1]]
    length = own.square().sum(1, keepdim=True).sqrt()
    known = (length > 0) & length.isfinite()
    direction = image_of(torch.where(known, own / length, 0.0), places, [height, width, 2])
    divergence = _slope(direction[:, :, 0], 0) + _slope(direction[:, :, 1], 1)
    ordered = torch.sort(divergence.reshape(-1))[0]
    low, high = _percentile(ordered, lowest), _percentile(ordered, highest)
    speed = ((divergence - low) / max(high - low, 1e-6)).clamp(0.0, 1.0)
    velocities = (speed[:, :, None] * direction).reshape(-1, 2)
    last = torch.tensor([height - 1, width - 1], dtype=torch.float32, device=flow.device)
    position = places.to(torch.float32)
    velocity = velocities[places[:, 0] * width + places[:, 1]]
    for number in range(1, iterations + 1):
        nearest = position.round().to(torch.int64)
        velocity = 0.5 * (velocity + velocities[nearest[:, 0] * width + nearest[:, 1]])
        position = torch.minimum((position + velocity * (1 / number)).clamp(min=0.0), last)
    return position


def _slope(image: Tensor, axis: int) -> Tensor:
    """Central differences along an axis, one-sided at the edges of the image."""
    size = image.shape[axis]
    place = torch.arange(size, device=image.device)
    before, after = (place - 1).clamp(min=0), (place + 1).clamp(max=size - 1)
    apart = (after - before).clamp(min=1)
    change = image.index_select(axis, after) - image.index_select(axis, before)
    return change / (apart[:, None] if axis == 0 else apart)


def _percentile(ordered: Tensor, percent: float) -> float:
    """A percentile of values in ascending order, interpolated linearly."""
    place = (len(ordered) - 1) * percent / 100
    first = int(place)
    following = min(first + 1, len(ordered) - 1)
    return float(ordered[first]) * (1 - place + first) + float(ordered[following]) * (place - first)


def _clusters(
    ends: Tensor,
    distance: Tensor,
    shape: list[int],
    thinnest: float = THIN,
    fine: int = FINE,
    reach: float = REACH,
    crowd: int = CROWD,
) -> Tensor:
    """One label for the points that end near each other, int64 (point,); 0 for those without a crowd."""
    thin = float(distance.sum()) <= thinnest * max(len(distance), 1)
    # of thick objects only the nearest pixels touch
    cells, square = (fine * ends).to(torch.int64), int((fine * reach) ** 2 + 0.5)
    height, width = fine * shape[0], fine * shape[1]
    if not thin:
        cells, square = ends.round().to(torch.int64), 2
        height, width = shape[0], shape[1]
    grid = [height, width]
    points = torch.bincount(cells[:, 0] * width + cells[:, 1], minlength=height * width).reshape(grid)
    occupied = torch.nonzero(points)
    own = points[occupied[:, 0], occupied[:, 1]]
    neighbours = neighbours_of(occupied, grid, square)
    core = own + with_none(own)[neighbours].sum(0) >= (crowd if thin else 1)
    labels = components(core, neighbours)
    labels = torch.where(core, labels, largest_around(labels, neighbours))
    return image_of(labels, occupied, grid)[cells[:, 0], cells[:, 1]]


def _flow_errors(labels: Tensor, flow: Tensor, scale: float = FLOW_SCALE) -> Tensor:
    """Mean squared error between the flows and those of the objects' shapes, by label, float32."""
    places = torch.nonzero(labels)
    label = labels[places[:, 0], places[:, 1]]
    difference = _flows_of(labels, places, label) - flow[places[:, 0], places[:, 1]] / scale
    return of_labels(difference.square().sum(1), label, "mean")


def _flows_of(labels: Tensor, places: Tensor, label: Tensor, converged: float = CONVERGED) -> Tensor:
    """The flow that the shape of its object gives a pixel, see `kerazoo.models.omnipose.targets.distance_fields`."""
    height, width = labels.shape[0], labels.shape[1]
    numbers = image_of(torch.arange(1, len(label) + 1, device=labels.device), places, list(labels.shape))
    offsets = torch.tensor([[-1, 0], [1, 0], [0, -1], [0, 1], [-1, -1], [1, 1], [-1, 1], [1, -1]], device=labels.device)
    # the field goes on unchanged beyond the edge of the image
    y = (places[:, 0] + offsets[:, :1]).clamp(0, height - 1)
    x = (places[:, 1] + offsets[:, 1:]).clamp(0, width - 1)
    neighbours = torch.where(labels[y, x] == label, numbers[y, x], 0)

    field = with_none(_stepped(torch.ones_like(label, dtype=torch.float32), neighbours))[neighbours].sum(0) / 9
    number, changing = 0, True
    while changing and number < 2 * (height + width):
        following = _stepped(field, neighbours)
        changing = float((following - field).square().sum()) > converged * len(label)
        number += 1
        field = following
    near = with_none(field)[neighbours]
    falling, rising = near[5] - near[4], near[6] - near[7]
    gradient_y = (near[1] - near[0]) / 4 + (falling - rising) / 8
    gradient_x = (near[3] - near[2]) / 4 + (falling + rising) / 8
    beside_y, beside_x = with_none(gradient_y)[neighbours], with_none(gradient_x)[neighbours]
    weights = (gradient_y * beside_y + gradient_x * beside_x).abs()
    flows = torch.stack([(weights * beside_y).sum(0), (weights * beside_x).sum(0)], 1)
    return quotient(flows, weights.sum(0)[:, None])


def _stepped(field: Tensor, neighbours: Tensor) -> Tensor:
    """The field after one more step of the eikonal equation's solution."""
    near = with_none(field)[neighbours]
    return (_solution(near[:4], 1.0) * _solution(near[4:], 2.0)).sqrt()


def _solution(near: Tensor, square: float) -> Tensor:
    """The larger u of (u - a)^2 + (u - b)^2 = square; the mean of a and b where there is none."""
    a, b = torch.minimum(near[0], near[1]), torch.minimum(near[2], near[3])
    total = a + b
    discriminant = total * total - 2 * ((a * a + b * b) - square)
    return 0.5 * (total + discriminant.clamp(min=0.0).sqrt())
