"""Segment Anything: what the registry, cards, bundles and reports say."""

from __future__ import annotations

from kerazoo.models.entry import Card, InputSizes, Model

WINDOW = 256
"""Side in pixels of the part of an image that the prompts of `sam_tiny` refer to."""

TINY = "sam_tiny"


def _official(letter: str, parameters: int) -> Model:
    return Model(
        name=f"sam_vit_{letter}",
        title=f"Segment Anything, ViT-{letter.upper()}",
        task="instances",
        builder=f"kerazoo.models.sam.network:sam_vit_{letter}",
        parameters=parameters,
        paper="Kirillov et al. 2023",
        citation="Kirillov et al. (2023), Segment Anything",
        doi="10.1109/ICCV51070.2023.00371",
        purpose="Single objects, each from a point, a box or a mask; and all objects at once, by the decoder of Archit "
        "et al. (2025). For official weights (`kerazoo convert sam`), and to train on from them.",
        limits=(
            "It sees whole images, brought to 1024 pixels: what is small on a large image is lost.",
            "Without weights to start from it learns nothing from a few hundred images; with a processor alone a "
            "training takes days.",
        ),
        sizes=InputSizes(minimum=1024, step=0),
        card=Card(
            size=1024,
            output="the foreground, the distance to the centre of the object and to its boundary, between 0 and 1.",
        ),
        output="maps",
        targets="prompts",
    )


MODELS = (
    Model(
        name=TINY,
        title="Segment Anything, small",
        task="instances",
        builder="kerazoo.models.sam.network:sam_tiny",
        parameters=1_367_151,
        paper="Kirillov et al. 2023",
        citation="Kirillov et al. (2023), Segment Anything",
        doi="10.1109/ICCV51070.2023.00371",
        purpose="Single objects, each from a point, a box or a mask; all objects at once; and masks for the objects of "
        "another network. Small enough to be trained without a GPU.",
        limits=(
            "It knows what it was trained on, and nothing else.",
            "A prompt is for objects that lie within 256 x 256 pixels.",
        ),
        sizes=InputSizes(minimum=8, step=8),
        card=Card(
            output="the foreground, the distance to the centre of the object and to its boundary, between 0 and 1.",
        ),
        output="maps",
        targets="prompts",
    ),
    _official("b", 103_328_883),
    _official("l", 321_936_243),
    _official("h", 650_684_019),
)

OUTPUT = "Foreground, distance to the centre, distance to the boundary"
USE = (
    "Each pixel gets the probability that it lies in an object, its distance to the centre of the object divided by "
    "the largest one, and 1 minus its distance to the object's boundary divided by the largest one. Objects are found "
    "by `kerazoo predict`, or in another program by a watershed from seeds where both distances are below 0.5."
)
