"""What a family proposes for a data set: the settings that `kerazoo init` writes, and why they have their values."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

Settings = dict[str, Any]
"""Values by key, or a tuple of a value and its comment. Words of the configuration are strings, what a user has named
comes from `as_yaml`."""


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
    """Empty where nothing is decoded: then the section is left out."""
    validation: float
    """Part of the images that is held out."""
    title: str
    """An example of a bundle's title."""


def lines_of(settings: Settings) -> list[str]:
    """The lines of a section in YAML."""
    pairs = [(key, value if isinstance(value, tuple) else (value, "")) for key, value in settings.items()]
    return [
        f"  {key}: {value if isinstance(value, str) else as_yaml(value)}" + (f"  # {reason}" if reason else "")
        for key, (value, reason) in pairs
    ]


def as_yaml(value: Any) -> str:
    """A value on one line; JSON is YAML."""
    return json.dumps(value, ensure_ascii=False)


def held_out(images: int, validation: float) -> int:
    """How many images are held out."""
    return max(1, round(validation * images))
