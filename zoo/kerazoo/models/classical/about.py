"""The method without training: what the registry, cards, bundles and reports say."""

from __future__ import annotations

from kerazoo.models.entry import Card, Model

MODELS = (
    Model(
        name="classical2d",
        title="Blur, threshold, watershed",
        task="objects",
        builder=None,
        parameters=0,
        paper="Otsu 1979",
        citation="Otsu (1979), A Threshold Selection Method from Gray-Level Histograms",
        doi="10.1109/TSMC.1979.4310076",
        baseline=True,
        purpose="Explicit programming: the result that every trained network for objects has to beat.",
        limits=(
            "It finds bright objects on a dark background, brighter than one threshold for the whole image.",
            "Objects that overlap or touch along a wide front are joined, textured ones are split.",
        ),
        card=Card(
            input="an image (y, x) or (y, x, channel) of any numeric type; the mean of its channels is taken",
            output="a label image (y, x; int32): 0 for the background, 1, 2, ... for the objects",
        ),
    ),
)
