"""Cellpose: what the registry, cards, bundles and reports say."""

from __future__ import annotations

from kerazoo.models.entry import Card, Model

MODELS = (
    Model(
        name="cellpose2d",
        title="Cellpose",
        task="instances",
        builder="kerazoo.models.cellpose.network:cellpose",
        parameters=6_610_387,
        paper="Stringer et al. 2021",
        citation="Stringer, Wang, Michaelos and Pachitariu (2021), Cellpose: a generalist algorithm for cellular "
        "segmentation",
        doi="10.1038/s41592-020-01018-x",
        purpose="Single cells of many shapes, by flows that lead every pixel to the centre of its cell.",
        limits=(
            "Objects should have the diameter that it was trained with: images are rescaled for that.",
            "Very long or bent cells are split, as their flows lead to several centres: see `omnipose2d`.",
            "As in the official package, an object of more than 40 % of the image is taken for background.",
        ),
        output="flows",
        targets="flows",
        card=Card(
            output="the flow along y and x that leads to the centre of the cell, five times a unit vector, and the "
            "logit of the cell probability.",
        ),
    ),
)

OUTPUT = "Flow along y, flow along x, logit of the cell probability"
USE = (
    "Each pixel gets a flow (y, x) that leads to the centre of its cell, five times a unit vector, and the logit of "
    "the probability that it lies in a cell. Cells are found by `kerazoo predict`, or in another program by the flow "
    "dynamics of Cellpose."
)
