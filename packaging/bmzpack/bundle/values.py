"""Values of a description that anybody may have written: read leniently, None or nothing in place of what is unfit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

NO_AUTHOR = "Author not stated"
"""Stands where QuPath needs an author and none is given."""


def is_remote(source: str) -> bool:
    """Whether a source is an address."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", source) is not None


def source_of(value: Any) -> str | None:
    """The source of a file's entry."""
    value = value.get("source") if isinstance(value, Mapping) else value
    return value if isinstance(value, str) else None


def text(value: Any) -> str | None:
    """A text, or None."""
    return value if isinstance(value, str) else None


def number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e15 else None


def integer(value: Any) -> int | None:
    """A whole number that is not negative, or None."""
    found = number(value)
    return int(found) if found is not None and found >= 0 and found == int(found) else None


def mapping(value: Any) -> Mapping[str, Any]:
    """A mapping; an empty one for others."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: Any) -> Sequence[Any]:
    """A list; an empty one for others."""
    return value if isinstance(value, list) else []
