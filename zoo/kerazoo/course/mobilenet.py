"""Table 2 of MobileNetV2 (Sandler et al. 2018), read off a network that was built."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import keras
from keras import layers


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table: as many layers or blocks of one kind as follow each other."""

    size: int
    """Side of the input in pixels."""
    channels: int
    """Channels of the input."""
    operator: str
    expansion: int | None
    """By how much a bottleneck widens its input before the depthwise convolution."""
    filters: int | None
    """Channels of the output."""
    repeats: int
    stride: int | None
    """Stride of the first of the repeats; the others have 1."""


def rows_of(network: keras.Model) -> list[Row]:
    """Read the table off a MobileNetV2.

    Parameters
    ----------
    network
        ``keras.applications.MobileNetV2(weights=None)``, of any width and with any number of classes.

    Returns
    -------
    list of Row
        From the input to the classes.
    """
    blocks = list(_blocks(network))
    rows = [_convolution(network.get_layer("Conv1"), "conv2d")]
    for _, members in itertools.groupby(blocks, key=lambda row: (row.expansion, row.filters)):
        first, *others = members
        rows.append(dataclasses.replace(first, repeats=1 + len(others)))
    last, pooling, classes = network.get_layer("Conv_1"), *network.layers[-2:]
    rows.append(_convolution(last, "conv2d 1x1"))
    size, channels = pooling.input.shape[2:]
    rows.append(Row(size, channels, f"avgpool {size}x{size}", None, None, 1, None))
    rows.append(Row(1, classes.input.shape[-1], "conv2d 1x1", None, classes.output.shape[-1], 1, None))
    return rows


def as_table(network: keras.Model) -> str:
    """The table in Markdown, with the columns of the paper.

    Parameters
    ----------
    network
        As for `rows_of`.
    """
    lines = ["| input | operator | t | c | n | s |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows_of(network):
        cells = (row.operator, row.expansion, row.filters, row.repeats, row.stride)
        values = ("-" if cell is None else cell for cell in cells)
        lines.append(f"| {row.size} x {row.size} x {row.channels} | {' | '.join(map(str, values))} |")
    return "\n".join(lines)


def _blocks(network: keras.Model) -> Iterator[Row]:
    """Every bottleneck: a wide depthwise convolution between two of one pixel, the first one without the wide part."""
    channels = None
    for layer in network.layers:
        if isinstance(layer, layers.DepthwiseConv2D):
            project = network.get_layer(layer.name.replace("_depthwise", "_project"))
            _, size, _, wide = _input_of(layer, network)
            narrow = channels or wide
            channels = project.filters
            yield Row(size, narrow, "bottleneck", wide // narrow, channels, 1, layer.strides[0])


def _input_of(depthwise: Any, network: Any) -> tuple[int, ...]:
    """Shape of a block's depthwise input, before a stride of two pads it by a pixel."""
    name = depthwise.name.replace("_depthwise", "_pad")
    padded = any(layer.name == name for layer in network.layers)
    return (network.get_layer(name) if padded else depthwise).input.shape


def _convolution(layer: Any, operator: str) -> Row:
    _, size, _, channels = layer.input.shape
    return Row(size, channels, operator, None, layer.filters, 1, layer.strides[0])
