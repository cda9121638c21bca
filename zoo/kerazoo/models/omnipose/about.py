"""Omnipose: what the registry, cards, bundles and reports say."""

from __future__ import annotations

from kerazoo.models.entry import Card, Model

MODELS = (
    Model(
        name="omnipose2d",
        title="Omnipose",
        task="instances",
        builder="kerazoo.models.omnipose.network:omnipose",
        parameters=6_610_420,
        paper="Cutler et al. 2022",
        citation="Cutler et al. (2022), Omnipose: a high-precision morphology-independent solution for bacterial cell "
        "segmentation",
        doi="10.1038/s41592-022-01639-4",
        purpose="Single objects of any shape, such as long and bent bacteria, by a distance field and its gradient.",
        limits=(
            "Objects thinner than about three pixels have no distance field to follow.",
            "It is trained at the pixel size of the images: bring new images to the same.",
        ),
        output="flows",
        targets="fields",
        card=Card(
            output="the flow along y and x that leads to the middle of the object, the distance to its outline, and "
            "the logit of the boundary.",
        ),
    ),
)

OUTPUT = "Flow along y, flow along x, distance field, logit of the boundary"
USE = (
    "Each pixel gets a flow (y, x) that leads to the middle line of its object, five times its length, the distance to "
    "its outline, and the logit of the probability that it lies on the outline. Objects are found by `kerazoo "
    "predict`, or in another program by the Euler integration of Omnipose."
)
