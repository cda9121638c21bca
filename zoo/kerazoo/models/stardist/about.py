"""StarDist: what the registry, cards, bundles and reports say."""

from __future__ import annotations

from kerazoo.models.entry import IMAGENET_BACKBONES, Card, Model

MODELS = (
    Model(
        name="stardist2d",
        title="StarDist",
        task="instances",
        builder="kerazoo.models.stardist.network:stardist",
        parameters=1_425_185,
        paper="Schmidt et al. 2018",
        citation="Schmidt, Weigert, Broaddus and Myers (2018), Cell Detection with Star-Convex Polygons",
        doi="10.1007/978-3-030-00934-2_30",
        purpose="Single objects as star-convex polygons, such as nuclei, also where they are crowded and touch.",
        limits=(
            "An object has to be star-convex: all of its outline is seen from its centre. Long or bent cells are not.",
            "Objects much larger than the receptive field, or than those of the training images, fall apart: bring "
            "images to one pixel size, or choose a larger grid.",
        ),
        backbones=IMAGENET_BACKBONES,
        output="stars",
        targets="stars",
        card=Card(
            output="the object probability between 0 and 1, then the distance to the object's outline along each ray, "
            "in pixels of the image.",
        ),
    ),
)

OUTPUT = "Object probability, then star distances in pixels"
USE = (
    "Each pixel gets the probability that it is near the centre of an object, and the distances in pixels from there "
    "to the object's outline, along rays at equal angles, the first to the right, the next ones clockwise. Between the "
    "pixels of the network's grid the probability is 0. Objects are found by `kerazoo predict`, or in another program "
    "by the non-maximum suppression of StarDist."
)
