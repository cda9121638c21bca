"""What the registry says of a model: names, texts and numbers, without Keras."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from bmzpack.errors import UserError

if TYPE_CHECKING:
    import keras

IMAGENET_BACKBONES = ("mobilenet_v2", "efficientnet_v2_b0", "resnet50_v2")

ModelTask = Literal["semantic", "instances", "classification", "measurements", "objects"]


@dataclasses.dataclass(frozen=True)
class InputSizes:
    """Sides of the images that a network takes, in pixels, so that a configuration can be written without Keras.

    Training measures them of the network; a test holds both against each other.
    """

    minimum: int = 32
    """Smallest side."""
    step: int = 32
    """All sides are the smallest one and a multiple of this; 0: the smallest one only."""
    margin: int = 0
    """The output is smaller by this on each side."""


@dataclasses.dataclass(frozen=True)
class Card:
    """What only the card of a model needs."""

    size: int = 256
    """Side in pixels of the images for which the network is counted and drawn: that of the paper where there is one."""
    input: str = ""
    """What the model takes, where there is no network that says it."""
    output: str = ""
    """What the values of the output are, with `{classes}` for the number of its channels; empty where the activation of
    the last layer says it."""
    program: str = ""
    """Lines of Python that train and apply the network, where no command does."""


@dataclasses.dataclass(frozen=True)
class Model:
    """An entry of the registry."""

    name: str
    title: str
    task: ModelTask
    """`semantic`: one probability per pixel and class; `instances`: what single objects are decoded from;
    `classification`: one probability per patch and class; `measurements`: one answer per vector of numbers; `objects`:
    a label image, without any training."""
    builder: str | None
    """`module:function`; the function returns a `keras.Model`. None where there is no network."""
    parameters: int
    """Count with the builder's default arguments, statistics of batch normalisation included; 0 without a network."""
    paper: str
    """Authors and year, for tables."""
    citation: str
    """Authors, year and title, for bundles."""
    doi: str
    purpose: str
    """What it is for, in one or two sentences."""
    limits: tuple[str, ...]
    """Where it fails, one sentence each."""
    backbones: tuple[str, ...] = ()
    output: str = "probability"
    """Name of the output; `score` where its values lie around +1 and -1 and are trained with squared errors."""
    targets: str | None = None
    """What a network for `instances` learns, a value of ``targets.kind``."""
    baseline: bool = False
    """Whether networks for single objects are compared with it; one entry is."""
    sizes: InputSizes = dataclasses.field(default=InputSizes(), repr=False)
    card: Card = dataclasses.field(default=Card(), repr=False)

    def build(self, **arguments: Any) -> keras.Model:
        """Call the builder.

        Raises
        ------
        UserError
            The entry has no network, or its builder does not take an argument.
        """
        function, known = self._function(), self.arguments()
        for name in arguments:
            if name not in known and not any(parameter.kind == parameter.VAR_KEYWORD for parameter in known.values()):
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
                raise UserError(
                    f"{self.name} takes no argument {name!r}; did you mean {near!r}? All: {', '.join(known)}."
                )
        return function(**arguments)

    def arguments(self) -> Mapping[str, inspect.Parameter]:
        """The arguments of the builder, which is imported for that."""
        return inspect.signature(self._function()).parameters

    def _function(self) -> Any:
        if self.builder is None:
            raise UserError(
                f"{self.name} has no network to build: apply it with `kerazoo predict {self.name} IMAGE...`."
            )
        module, function = self.builder.split(":")
        return getattr(importlib.import_module(module), function)

    def as_dict(self) -> dict[str, Any]:
        """As `kerazoo models --json` prints it."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in ("sizes", "card")}
