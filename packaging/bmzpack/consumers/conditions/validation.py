"""What bioimageio.spec does not accept in a description."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bmzpack.bundle.contents import Contents
from bmzpack.bundle.specification import without_files
from bmzpack.consumers.conditions.metadata import has_file_mappings
from bmzpack.consumers.findings import Occurrence
from bmzpack.consumers.per_bundle import per_bundle

LONGEST_MESSAGE = 200
"""Characters of a message of bioimageio.spec: it lists all licences where one is wrong."""


def invalid_description(contents: Contents) -> Iterator[Occurrence]:
    """What bioimageio.spec does not accept."""
    yield from _validated(contents)


def invalid_apart_from_file_mappings(contents: Contents) -> Iterator[Occurrence]:
    """What bioimageio.spec does not accept, also before documentation and covers became mappings."""
    for occurrence in _validated(contents):
        if not (has_file_mappings(contents) and occurrence.where.startswith(("documentation", "covers"))):
            yield occurrence


@per_bundle
def _validated(contents: Contents) -> list[Occurrence]:
    from bioimageio.spec import InvalidDescr, build_description

    try:
        with without_files(contents.root, contents.file):
            loaded = build_description(dict(contents.rdf))
        if not isinstance(loaded, InvalidDescr):
            return []
        errors = [error for detail in loaded.validation_summary.details for error in detail.errors]
    except RecursionError:
        return [Occurrence(contents.file, "The description is nested too deeply.")]
    except Exception as error:  # its own faults on descriptions that nobody thought of
        return [Occurrence(contents.file, f"bioimageio.spec fails on it: {type(error).__name__}: {error}"[:300])]
    found: dict[tuple[str, ...], Occurrence] = {}
    for error in sorted(errors, key=lambda error: len(_place(error.loc, contents.rdf))):
        place = _place(error.loc, contents.rdf)
        if not any(place[:n] in found for n in range(1, len(place) + 1)):
            where = ".".join(place)
            message = " ".join(error.msg.split()).rstrip(".")
            if len(message) > LONGEST_MESSAGE:
                message = f"{message[:LONGEST_MESSAGE]} .."
            found[place] = Occurrence(where or contents.file, f"{where or contents.file}: {message}.")
    # comparisons between tensors fail where one of them is not valid
    within = any(len(place) > 1 and place[0] in ("inputs", "outputs") for place in found)
    follows = {("inputs",), ("outputs",), ()} if within else set()
    return [occurrence for place, occurrence in found.items() if place not in follows]


def _place(loc: Sequence[int | str], content: Any) -> tuple[str, ...]:
    """An error's place as keys of the description, without the types that were tried; the last may be missing there."""
    place: tuple[str, ...] = ()
    for part in loc:
        if not isinstance(content, Mapping | list):
            break
        with contextlib.suppress(KeyError, IndexError, TypeError):
            content = content[part]  # pyright: ignore[reportArgumentType, reportCallIssue]
            place += (str(part),)
    last = loc[-1] if loc else None
    missing = isinstance(last, str) and isinstance(content, Mapping) and re.fullmatch(r"[a-z][a-z0-9_]*", last)
    return (*place, str(last)) if missing and place[-1:] != (last,) else place
