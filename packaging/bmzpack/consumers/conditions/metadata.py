"""rdf.yaml itself: its version, the form of its entries, and what is said about the model."""

from __future__ import annotations

import contextlib
import functools
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from bmzpack.bundle.contents import Facts, opened_picture, source_of, text
from bmzpack.consumers.findings import Look, Occurrence

LAST_PLAIN = (0, 5, 10)
"""The last format whose documentation and covers are plain texts."""
LARGEST_COVER = 500_000
"""Bytes, of the specification."""
LONGEST_MESSAGE = 200
"""Characters of a message of bioimageio.spec: it lists all licences where one is wrong."""


def unreadable(facts: Facts) -> Iterator[Occurrence]:
    """Parts of the description that are not of the form that everything else needs."""
    for place, what in facts.problems:
        yield Occurrence(place, f"{place}: {what}.")
        if place == facts.file:
            return
    if text(facts.rdf.get("type")) != "model":
        yield Occurrence("type", f"The type is {facts.rdf.get('type')!r}, not model.")
    if not facts.problems:
        for key, tensors in (("inputs", facts.inputs), ("outputs", facts.outputs)):
            if not tensors:
                yield Occurrence(key, f"There are no {key}.")
            for tensor in tensors:
                if not tensor.axes:
                    yield Occurrence(f"{tensor.place}.axes", f"{tensor.id} has no axes.")


def versions_besides(*known: str) -> Look:
    """A format version that begins with none of these."""

    def look(facts: Facts) -> Iterator[Occurrence]:
        if not facts.version.startswith(known):
            yield Occurrence("format_version", f"The format is {facts.rdf.get('format_version')!r}.")

    return look


def files_in_mappings(facts: Facts) -> Iterator[Occurrence]:
    """Documentation and covers written as mappings, as the formats from 0.5.11 on have them."""
    if facts.is_old:
        return
    if isinstance(facts.rdf.get("documentation"), Mapping):
        yield Occurrence("documentation", "The documentation is written as a mapping of source and sha256.")
    covers = facts.rdf.get("covers")
    for n, cover in enumerate(covers if isinstance(covers, list) else []):
        if isinstance(cover, Mapping):
            yield Occurrence(f"covers.{n}", "The cover is written as a mapping of source and sha256.")


def documentation_in_a_mapping(facts: Facts) -> Iterator[Occurrence]:
    """Documentation written as a mapping: covers are not read."""
    yield from (occurrence for occurrence in files_in_mappings(facts) if occurrence.where == "documentation")


def plain_files_in_new_format(facts: Facts) -> Iterator[Occurrence]:
    """Plain texts under a format version that has none."""
    if not _has_mappings(facts):
        return
    if isinstance(facts.rdf.get("documentation"), str):
        yield Occurrence("documentation", f"The documentation is a plain text, but the format is {facts.version}.")
    covers = facts.rdf.get("covers")
    for n, cover in enumerate(covers if isinstance(covers, list) else []):
        if isinstance(cover, str):
            yield Occurrence(f"covers.{n}", f"The cover is a plain text, but the format is {facts.version}.")


def missing_nickname(facts: Facts) -> Iterator[Occurrence]:
    """Neither an id nor a nickname, where there is a config."""
    config = facts.rdf.get("config")
    zoo = config.get("bioimageio") if isinstance(config, Mapping) else None
    nickname = zoo.get("nickname") if isinstance(zoo, Mapping) else None
    if not facts.is_old and isinstance(config, Mapping) and not facts.rdf.get("id") and not nickname:
        yield Occurrence("config.bioimageio.nickname", "There is a config, but no id and no nickname in it.")


def own_id(facts: Facts) -> Iterator[Occurrence]:
    """An id that the zoo has not given."""
    if facts.rdf.get("id") is not None:
        yield Occurrence("id", f"The id is set to {facts.rdf['id']!r}.")


def other_name(facts: Facts) -> Iterator[Occurrence]:
    """A description that is not called rdf.yaml."""
    if facts.file != "rdf.yaml":
        yield Occurrence(facts.file, f"The description is called {facts.file}.")


def missing_link(link: str) -> Look:
    """A program's entry that is not among the links."""

    def look(facts: Facts) -> Iterator[Occurrence]:
        links = facts.rdf.get("links")
        if link not in (links if isinstance(links, list) else []):
            yield Occurrence("links", f"{link} is not among the links.")

    return look


def incomplete(facts: Facts) -> Iterator[Occurrence]:
    """What the zoo's guide for contributors asks for, and is not there."""
    asked = {
        "authors": "who made the model",
        "cite": "what to cite",
        "description": "what the model does",
        "documentation": "how it is used",
        "license": "what others may do with it",
        "maintainers": "who answers for it",
        "tags": "words to find it by",
    }
    for key, what in asked.items():
        if not facts.rdf.get(key):
            yield Occurrence(key, f"It does not say {what}.")
    path = facts.local(source_of(facts.rdf.get("documentation")))
    if path is not None and not _has_validation(path):
        yield Occurrence("documentation", f"{path.name} has no section Validation.")


def covers(facts: Facts) -> Iterator[Occurrence]:
    """No cover, or one that the zoo does not show."""
    entries = facts.rdf.get("covers")
    if not isinstance(entries, list) or not entries:
        yield Occurrence("covers", "There is no cover image.")
        return
    for n, entry in enumerate(entries):
        path = facts.local(source_of(entry))
        if path is None:
            continue
        if path.stat().st_size > LARGEST_COVER:
            yield Occurrence(f"covers.{n}", f"{path.name} has {path.stat().st_size / 1000:.0f} kB.")
        elif path.suffix.lower() != ".svg":
            yield from _shape(path, f"covers.{n}")


def stardist_that_is_not_found(facts: Facts) -> Iterator[Occurrence]:
    """A StarDist configuration without the name, or the name without the configuration."""
    named, configured = "stardist" in facts.name.lower(), isinstance(facts.config.get("stardist"), Mapping)
    if configured and not named:
        yield Occurrence("name", "There is a config.stardist, but the name does not hold the word StarDist.")
    if named and not configured:
        yield Occurrence("config.stardist", "The name says StarDist, but there is no config.stardist.")


def cellpose(facts: Facts) -> Iterator[Occurrence]:
    """A Cellpose configuration, for which Fiji has no postprocessing."""
    if isinstance(facts.config.get("cellpose"), Mapping):
        yield Occurrence("config.cellpose", "There is a config.cellpose, which Fiji does not use.")


def environment(_: Facts) -> Iterator[Occurrence]:
    """A pydantic under which bioimageio.spec 0.5.12 does not work."""
    try:
        spec, pydantic = metadata.version("bioimageio.spec"), metadata.version("pydantic")
    except metadata.PackageNotFoundError:
        return
    if spec.startswith("0.5.12") and tuple(int(part) for part in re.findall(r"\d+", pydantic)[:2]) >= (2, 14):
        yield Occurrence("the Python environment", f"bioimageio.spec {spec} is installed with pydantic {pydantic}.")


def invalid(facts: Facts) -> Iterator[Occurrence]:
    """What bioimageio.spec does not accept."""
    yield from _validated(facts)


def invalid_besides_files(facts: Facts) -> Iterator[Occurrence]:
    """What bioimageio.spec does not accept, also before documentation and covers became mappings."""
    for occurrence in _validated(facts):
        if not (_has_mappings(facts) and occurrence.where.startswith(("documentation", "covers"))):
            yield occurrence


def _has_mappings(facts: Facts) -> bool:
    """Whether the format's documentation and covers are mappings."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", facts.version)[:3])
    return not facts.is_old and numbers > LAST_PLAIN


@functools.lru_cache(maxsize=1)
def _validated(facts: Facts) -> list[Occurrence]:
    from bioimageio.spec import InvalidDescr, ValidationContext, build_description

    from bmzpack.describe.rdf import known_people

    try:
        known_people(facts.rdf)
        context = ValidationContext(root=facts.root.resolve(), file_name=facts.file, perform_io_checks=False)
        with context, warnings.catch_warnings(), _silent():
            warnings.simplefilter("ignore")
            loaded = build_description(dict(facts.rdf))
        if not isinstance(loaded, InvalidDescr):
            return []
        errors = [error for detail in loaded.validation_summary.details for error in detail.errors]
    except RecursionError:
        return [Occurrence(facts.file, "The description is nested too deeply.")]
    except Exception as error:  # its own faults on descriptions that nobody thought of
        return [Occurrence(facts.file, f"bioimageio.spec fails on it: {type(error).__name__}: {error}"[:300])]
    found: dict[tuple[str, ...], Occurrence] = {}
    for error in sorted(errors, key=lambda error: len(_place(error.loc, facts.rdf))):
        place = _place(error.loc, facts.rdf)
        if not any(place[:n] in found for n in range(1, len(place) + 1)):
            where = ".".join(place)
            message = " ".join(error.msg.split()).rstrip(".")
            if len(message) > LONGEST_MESSAGE:
                message = f"{message[:LONGEST_MESSAGE]} .."
            found[place] = Occurrence(where or facts.file, f"{where or facts.file}: {message}.")
    # comparisons between tensors fail where one of them is not valid
    within = any(len(place) > 1 and place[0] in ("inputs", "outputs") for place in found)
    follows = {("inputs",), ("outputs",), ()} if within else set()
    return [occurrence for place, occurrence in found.items() if place not in follows]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Its log says what its errors say."""
    from loguru import logger

    logger.disable("bioimageio.spec")
    try:
        yield
    finally:
        logger.enable("bioimageio.spec")


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


def _has_validation(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        content = file.read(1_000_000)
    return re.search(r"^#+[^\n]*validation", content, re.IGNORECASE | re.MULTILINE) is not None


def _shape(path: Path, place: str) -> Iterator[Occurrence]:
    with opened_picture(path) as picture:
        if picture is None:
            yield Occurrence(place, f"{path.name} is no picture.")
        elif picture.width not in (picture.height, 2 * picture.height):
            yield Occurrence(place, f"{path.name} has {picture.width} x {picture.height} pixels.")
