"""What a family proposes for a data set: the settings that `kerazoo init` writes, and why they have their values."""

from __future__ import annotations

import dataclasses
import json
from typing import Any


@dataclasses.dataclass(frozen=True)
class Setting:
    """A line of the configuration."""

    key: str
    value: Any
    """A word of the configuration is written as it is, any other value as JSON, see `as_yaml`."""
    reason: str = ""
    """The comment behind it."""

    def __str__(self) -> str:
        value = self.value if isinstance(self.value, str) else as_yaml(self.value)
        return f"  {self.key}: {value}" + (f"  # {self.reason}" if self.reason else "")


Settings = list[Setting]


@dataclasses.dataclass(frozen=True)
class Proposal:
    """The sections of a configuration that depend on the network."""

    model: Settings
    """All but its name."""
    normalisation: Settings
    augmentation: Settings
    targets: Settings
    training: Settings
    decoding: Settings
    """None where nothing is decoded: then the section is left out."""
    validation: float
    """Part of the images that is held out."""
    title: str
    """An example of a bundle's title."""


def held_out(images: int, validation: float) -> int:
    """How many images are held out."""
    return max(1, round(validation * images))


def as_yaml(value: Any) -> str:
    """A value on one line; JSON is YAML."""
    return json.dumps(value, ensure_ascii=False)
