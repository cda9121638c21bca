"""What turns a raw image into classes or labels beside the network: kept in the run folder and in the bundle."""

from __future__ import annotations

from typing import Literal

from kerazoo.config import DecodingConfig, Section
from kerazoo.data.normalise import Normalisation


class TileGeometry(Section):
    """How the network may be fed, in pixels, the same for y and x; measured from the network, never typed."""

    step: int
    """Input sizes are multiples of this."""
    halo: int | None
    """Half width of the receptive field: so much of a tile's rim differs from the untiled result. None where
    it is the whole image (global pooling)."""
    margin: int = 0
    """The output is smaller than the input by this on each side (valid convolutions)."""
    minimum: int
    """Smallest input size."""
    grid: int = 1
    """The output has one pixel for so many pixels of the input, along y and x."""


class Scale(Section):
    """To which size images are brought for the network."""

    network: float
    """Median diameter in pixels of the objects that the network sees."""
    images: float
    """Median diameter in pixels of the objects on the training images."""


class Patch(Section):
    """How patches are cut out of images, in pixels."""

    size: int
    """Side of the patches."""
    stride: int
    """Distance of those that are cut out of annotated images."""
    purity: float
    """Part of a patch that one class has to cover."""


class Recipe(Section):
    """Everything between an image file and a result, apart from the network's weights."""

    model: str
    """Name in the registry."""
    task: Literal["instances", "semantic", "classification"]
    channels: int
    channel_names: list[str]
    classes: list[str]
    """Names of the output channels; of classes of pixels the background first."""
    targets: Literal["classes", "foreground", "border", "stars", "flows", "fields", "patch"]
    patch: Patch | None = None
    """How patches are cut, for `patch` targets."""
    scale: Scale | None = None
    """Where images are rescaled, for `flows` and `fields` targets."""
    annotation: Literal["labels", "classes", "binary", "image"] = "labels"
    """What the values of the masks mean; those that a bundle is evaluated on are read alike."""
    axes: str | None = None
    """The axes of the image files, where those do not state them."""
    ignore: int | None = None
    normalisation: Normalisation
    decoding: DecodingConfig
    geometry: TileGeometry
