"""The figure of a network that takes a vector: a circle for every number, a line for every weight."""

from __future__ import annotations

import itertools

from kerazoo.reports.cards.architecture import COLOURS, WIDTH
from kerazoo.reports.cards.graph import Block
from kerazoo.reports.cards.svg import GREY, Drawing

_MOST = 10
"""Neurons of a layer that are drawn at most; of a larger one, the first and the last."""
_GAP, _RADIUS = 30.0, 9.0
"""Distance and size of the neurons, in pixels."""


def draw_neurons(blocks: list[Block], title: str, output: str) -> str:
    """Draw a network of fully connected layers.

    Parameters
    ----------
    blocks
        From `kerazoo.reports.cards.graph`, the input first, then one after the other.
    title
        What the figure shows.
    output
        Name of the network's output.

    Returns
    -------
    str
        SVG, 900 pixels wide.
    """
    counts = [block.shape[0] for block in blocks]
    rows = [list(range(count)) if count <= _MOST else [*range(_MOST // 2), *range(-_MOST // 2, 0)] for count in counts]
    height = max(len(row) for row in rows) * _GAP + 110
    middle = (height - 62) / 2
    distance = min(220.0, (WIDTH - 160) / max(1, len(blocks) - 1))
    drawing = Drawing(WIDTH, height, title)
    places = []
    for number, row in enumerate(rows):
        x = WIDTH / 2 + (number - (len(blocks) - 1) / 2) * distance
        places.append([(x, middle + (place - (len(row) - 1) / 2) * _GAP) for place in range(len(row))])

    for before, after in itertools.pairwise(places):
        for start in before:
            for end in after:
                drawing.line([start, end], "#c0c6cc", 0.8)
    for number, (block, row) in enumerate(zip(blocks, places, strict=True)):
        for x, y in row:
            drawing.circle(x, y, _RADIUS, COLOURS[block.kind], "#ffffff")
        x, low = row[0][0], middle + max(map(len, places)) / 2 * _GAP
        last = number == len(blocks) - 1
        drawing.text(x, low + 20, output if last else block.name, 11, bold=number == 0 or last)
        what = "neuron" if number else "number"
        drawing.text(x, low + 35, f"{block.shape[0]} {what}{'s' * (block.shape[0] != 1)}", 10, fill=GREY)
        if block.activation:
            drawing.text(x, low + 49, block.activation, 10, fill=GREY)
        if block.shape[0] > _MOST:
            drawing.text(x, middle + 4, "...", 14)
    note = "Every line is a weight; every neuron has a bias too."
    drawing.text(WIDTH / 2, height - 11, note, 10, fill=GREY)
    return str(drawing)
