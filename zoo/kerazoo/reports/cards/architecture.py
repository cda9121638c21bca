"""The figure of a network: blocks as high as their images and as wide as their channels, in the order of the graph."""

from __future__ import annotations

import math

from kerazoo.reports.cards.graph import Block
from kerazoo.reports.cards.svg import GREY, INK, Drawing

WIDTH = 900

COLOURS = {
    "input": "#b8bec4",
    "convolution": "#4c86c6",
    "depthwise convolution": "#8fc1e8",
    "pooling": "#d6604d",
    "upsampling": "#5aa469",
    "concatenation": "#b39ac8",
    "addition": "#e3b04b",
    "fully connected": "#8c6bb1",
}
"""By kind of block."""

_RIM, _TALLEST, _SHORTEST, _PARALLEL = 34.0, 150.0, 10.0, 8.0
"""Pixels: around the figure, of the largest image, of the smallest, and between blocks that lie beside each other."""


def draw_architecture(blocks: list[Block], title: str, output: str) -> str:
    """Draw a network that takes images.

    Parameters
    ----------
    blocks
        From `kerazoo.reports.cards.graph`.
    title
        What the figure shows.
    output
        Name of the network's output.

    Returns
    -------
    str
        SVG, 900 pixels wide.
    """
    columns = sorted({(block.stage, block.column) for block in blocks})
    widths = {
        place: max(_width(block) for block in blocks if (block.stage, block.column) == place) for place in columns
    }
    # Between stages there is room for the label of the sizes.
    gaps = [0.0 if place == columns[0] else 2.6 if place[1] == 0 else 1.0 for place in columns]
    gap = min(34.0, (WIDTH - 2 * _RIM - sum(widths.values())) / sum(gaps))
    lefts, x = {}, (WIDTH - sum(widths.values()) - gap * sum(gaps)) / 2
    for place, space in zip(columns, gaps, strict=True):
        lefts[place] = x + space * gap
        x = lefts[place] + widths[place]

    skips = sorted(
        (number, source)
        for number, block in enumerate(blocks)
        for source in block.sources
        if block.stage - blocks[source].stage > 1
    )
    largest = max(max(block.shape[:-1], default=1) for block in blocks)
    top = _RIM + 14 * len(skips) + 16
    middle = top + _TALLEST / 2
    height = middle + _TALLEST / 2 + 110
    drawing = Drawing(WIDTH, height, title)
    drawing.line([(_RIM, middle), (WIDTH - _RIM, middle)], "#c8c8c8")

    boxes = _boxes(blocks, lefts, middle, largest)
    for level, (target, source) in enumerate(skips, start=1):
        (x0, y0, w0, _), (x1, y1, w1, _) = boxes[source], boxes[target]
        y = top - 14 - 14 * level
        start, end = x0 + w0 / 2, x1 + w1 / 2
        drawing.line(
            [(start, y0 - (20 if blocks[source].layers > 1 else 14)), (start, y), (end, y), (end, y1 - 15)],
            INK,
            arrow=True,
        )
    for block, (x, y, width, tall) in zip(blocks, boxes, strict=True):
        for copy in range(3 if block.layers > 1 else 1, 0, -1):  # a sheaf stands for many layers
            shift = 3 * (copy - 1)
            drawing.rectangle(x + shift, y - shift, width, tall, COLOURS[block.kind], "#ffffff")
        drawing.text(x + width / 2, y - (11 if block.layers > 1 else 5), str(block.shape[-1]), 9)
    _label_stages(drawing, blocks, boxes, output)
    _legend(drawing, blocks, any(blocks[target].cropped for target, _ in skips) if skips else None, height)
    return str(drawing)


def _width(block: Block) -> float:
    return 3 + 1.6 * math.log2(1 + block.shape[-1]) + (22 if block.layers > 1 else 0)


def _boxes(
    blocks: list[Block], lefts: dict[tuple[int, int], float], middle: float, largest: int
) -> list[tuple[float, float, float, float]]:
    """Left, top, width and height of every block; those of one column lie below each other."""
    boxes: dict[int, tuple[float, float, float, float]] = {}
    for place, left in lefts.items():
        beside = [number for number, block in enumerate(blocks) if (block.stage, block.column) == place]
        tall = [_height(blocks[number], largest) / len(beside) ** 0.5 for number in beside]
        y = middle - (sum(tall) + _PARALLEL * 2 * (len(beside) - 1)) / 2
        for number, height in zip(beside, tall, strict=True):
            boxes[number] = (left, y, _width(blocks[number]), height)
            y += height + 2 * _PARALLEL
    return [boxes[number] for number in range(len(blocks))]


def _height(block: Block, largest: int) -> float:
    if len(block.shape) == 1:
        return 12 + 5 * math.log2(block.shape[0])
    return _SHORTEST + (_TALLEST - _SHORTEST) * (max(block.shape[:-1]) / largest) ** 0.5


def _label_stages(
    drawing: Drawing, blocks: list[Block], boxes: list[tuple[float, float, float, float]], output: str
) -> None:
    """Under every stage its sizes, where they change within it the first and the last; names at both ends."""
    for stage in range(blocks[-1].stage + 1):
        members = [number for number, block in enumerate(blocks) if block.stage == stage]
        left = min(boxes[number][0] for number in members)
        right = max(boxes[number][0] + boxes[number][2] for number in members)
        low = max(boxes[number][1] + boxes[number][3] for number in members)
        first, last = blocks[members[0]], blocks[members[-1]]
        lines = [(size, GREY) for size in dict.fromkeys((_size(first), _size(last)))]
        lines += [(f"x {blocks[number].layers}", GREY) for number in members if blocks[number].layers > 1]
        if stage == 0:
            lines.insert(0, (first.name, INK))
        if last is blocks[-1]:
            lines += [(last.activation, GREY), (output, INK)]
        for row, (line, colour) in enumerate(line for line in lines if line[0]):
            drawing.text((left + right) / 2, low + 14 + 12 * row, line, 9, fill=colour, bold=colour == INK)


def _size(block: Block) -> str:
    return " x ".join(map(str, block.shape[:-1])) if len(block.shape) > 1 else ""


def _legend(drawing: Drawing, blocks: list[Block], cropped: bool | None, height: float) -> None:
    x, y = _RIM, height - 30
    for kind in (kind for kind in COLOURS if any(block.kind == kind for block in blocks)):
        drawing.rectangle(x, y - 9, 11, 11, COLOURS[kind])
        drawing.text(x + 16, y, kind, 11, "start")
        x += 30 + 6.1 * len(kind)
    if cropped is not None:
        drawing.line([(x, y - 3), (x + 18, y - 3)], INK, arrow=True)
        drawing.text(x + 23, y, "copied and cropped" if cropped else "copied", 11, "start")
    note = "Height: pixels. Width and number above: channels."
    if any(block.layers > 1 for block in blocks):
        note += " A sheaf stands for as many convolutions as are written below it, and what lies between them."
    drawing.text(_RIM, height - 11, note, 10, "start", GREY)
