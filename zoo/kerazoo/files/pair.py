"""An image and its annotation as files."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Pair:
    """An image file and its annotation file."""

    id: str
    """The image's stem; unique in its set."""
    image: Path
    mask: Path | None = None
    group: str | None = None
    """Images of one group stay on one side of the split."""
    columns: dict[str, str] = dataclasses.field(default_factory=dict, repr=False, compare=False)
    """All columns of the pair's row, where it comes from a table."""
    category: str | None = None
    """The class of the whole image, where it has one instead of a mask."""


def stem_of(path: Path) -> str:
    """The name without suffix, and without the `.ome` before it."""
    return path.stem.removesuffix(".ome")
