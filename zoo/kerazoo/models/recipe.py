"""What turns a raw image into classes or labels beside the network: kept in the run folder and in the bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bmzpack.settings import Section
from kerazoo.config import Config, DecodingConfig
from kerazoo.data.normalise import Normalisation
from kerazoo.data.patches import Patch, patch_of
from kerazoo.data.rescale import Scale

if TYPE_CHECKING:
    from kerazoo.models.family import Family


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

    @property
    def axes(self) -> tuple[str, ...]:
        """Space axes of the network's input, in their order: volumes would have z before them."""
        return ("y", "x")


class Recipe(Section):
    """Everything between an image file and a result, apart from the network's weights."""

    model: str
    """Name in the registry."""
    task: Literal["instances", "semantic", "classification"]
    channels: int
    channel_names: list[str]
    classes: list[str]
    """Names of the output channels; of classes of pixels the background first."""
    targets: str
    """What the network learns, ``targets.kind`` of the configuration; names the family that decodes the output."""
    patch: Patch | None = None
    """How patches are cut, of networks that give one class per patch."""
    scale: Scale | None = None
    """Where images are rescaled."""
    annotation: Literal["labels", "classes", "binary", "image"] = "labels"
    """What the values of the masks mean; those that a bundle is evaluated on are read alike."""
    axes: str | None = None
    """The axes of the image files, where those do not state them."""
    ignore: int | None = None
    normalisation: Normalisation
    decoding: DecodingConfig
    geometry: TileGeometry

    @property
    def binary(self) -> bool:
        """Whether the result is a foreground (1) on a background (0), and not one of several classes."""
        from kerazoo.models.registry import family_of_kind  # it imports this file

        return self.task == "semantic" and family_of_kind(self.targets).is_binary(self.targets)

    @property
    def named_classes(self) -> list[str] | None:
        """Names of the values of a class map; None for labels of objects and for a foreground."""
        return self.classes if self.task == "semantic" and not self.binary else None


def make_recipe(
    config: Config, family: Family, normalisation: Normalisation, geometry: TileGeometry, scale: Scale | None
) -> Recipe:
    """The recipe of a network: what its configuration says, and what was measured.

    Parameters
    ----------
    config
        Configuration of the run.
    family
        Family of the network.
    normalisation, geometry, scale
        As in `Recipe`.
    """
    channels, kind = config.data.channels, str(config.targets.kind)
    task = family.task(kind)
    return Recipe(
        model=config.model.name,
        task=task,
        channels=channels,
        channel_names=config.data.channel_names or [f"channel{number}" for number in range(channels)],
        classes=family.channel_names(config),
        targets=kind,
        patch=patch_of(config) if task == "classification" else None,
        scale=scale,
        annotation=config.data.annotation,
        axes=config.data.axes,
        ignore=config.data.ignored,
        normalisation=normalisation,
        decoding=config.decoding,
        geometry=geometry,
    )
