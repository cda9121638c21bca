"""rdf.yaml itself: its version, the form of its entries, and what is said about the model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from bmzpack.bundle.contents import Contents
from bmzpack.bundle.data_files import opened_picture
from bmzpack.bundle.specification import is_known_user
from bmzpack.bundle.values import NO_AUTHOR, mapping, sequence, source_of, text
from bmzpack.consumers.findings import Condition, Occurrence

LAST_PLAIN = (0, 5, 10)
"""The last format whose documentation and covers are plain texts."""
LARGEST_COVER = 500_000
"""Bytes, of the specification."""


def malformed_description(contents: Contents) -> Iterator[Occurrence]:
    """Parts of the description that are not of the form that everything else needs."""
    for place, what in contents.problems:
        yield Occurrence(place, f"{place}: {what}.")
        if place == contents.file:
            return
    if text(contents.rdf.get("type")) != "model":
        yield Occurrence("type", f"The type is {contents.rdf.get('type')!r}, not model.")
    if not contents.problems:
        for key, tensors in (("inputs", contents.inputs), ("outputs", contents.outputs)):
            if not tensors:
                yield Occurrence(key, f"There are no {key}.")
            for tensor in tensors:
                if not tensor.axes:
                    yield Occurrence(f"{tensor.place}.axes", f"{tensor.id} has no axes.")


def format_version_other_than(*known: str) -> Condition:
    """A format version that begins with none of these."""

    def condition(contents: Contents) -> Iterator[Occurrence]:
        if not contents.version.startswith(known):
            yield Occurrence("format_version", f"The format is {contents.rdf.get('format_version')!r}.")

    return condition


def files_as_mappings(contents: Contents) -> Iterator[Occurrence]:
    """Documentation and covers written as mappings, as the formats from 0.5.11 on have them."""
    for place, what, entry in _documentation_and_covers(contents):
        if isinstance(entry, Mapping) and not contents.is_old:
            yield Occurrence(place, f"The {what} is written as a mapping of source and sha256.")


def documentation_as_mapping(contents: Contents) -> Iterator[Occurrence]:
    """Documentation written as a mapping: covers are not read."""
    yield from (occurrence for occurrence in files_as_mappings(contents) if occurrence.where == "documentation")


def plain_files_in_new_format(contents: Contents) -> Iterator[Occurrence]:
    """Plain texts under a format version that has none."""
    for place, what, entry in _documentation_and_covers(contents):
        if isinstance(entry, str) and has_file_mappings(contents):
            yield Occurrence(place, f"The {what} is a plain text, but the format is {contents.version}.")


def missing_nickname(contents: Contents) -> Iterator[Occurrence]:
    """Neither an id nor a nickname, where there is a config."""
    config = contents.rdf.get("config")
    zoo = config.get("bioimageio") if isinstance(config, Mapping) else None
    nickname = zoo.get("nickname") if isinstance(zoo, Mapping) else None
    if not contents.is_old and isinstance(config, Mapping) and not contents.rdf.get("id") and not nickname:
        yield Occurrence("config.bioimageio.nickname", "There is a config, but no id and no nickname in it.")


def id_not_from_zoo(contents: Contents) -> Iterator[Occurrence]:
    """An id that is set in the description: the zoo chooses ids."""
    if contents.rdf.get("id") is not None:
        yield Occurrence("id", f"The id is set to {contents.rdf['id']!r}.")


def description_not_rdf_yaml(contents: Contents) -> Iterator[Occurrence]:
    """A description that is not called rdf.yaml."""
    if contents.file != "rdf.yaml":
        yield Occurrence(contents.file, f"The description is called {contents.file}.")


def missing_link(link: str) -> Condition:
    """A program's entry that is not among the links."""

    def condition(contents: Contents) -> Iterator[Occurrence]:
        links = contents.rdf.get("links")
        if link not in (links if isinstance(links, list) else []):
            yield Occurrence("links", f"{link} is not among the links.")

    return condition


def incomplete_metadata(contents: Contents) -> Iterator[Occurrence]:
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
        value = contents.rdf.get(key)
        if not value or value == [{"name": NO_AUTHOR}]:
            yield Occurrence(key, f"It does not say {what}.")
    path = contents.local(source_of(contents.rdf.get("documentation")))
    if path is not None and not _has_validation(path):
        yield Occurrence("documentation", f"{path.name} has no section Validation.")


def unverified_github_users(contents: Contents) -> Iterator[Occurrence]:
    """GitHub users that bioimageio.spec asks GitHub for."""
    for key in ("authors", "maintainers"):
        for n, person in enumerate(sequence(contents.rdf.get(key))):
            user = mapping(person).get("github_user")
            if isinstance(user, str) and not is_known_user(user):
                yield Occurrence(f"{key}.{n}.github_user", f"{user} is looked up at GitHub.")


def missing_or_unfit_cover(contents: Contents) -> Iterator[Occurrence]:
    """No cover, or one that the zoo does not show."""
    entries = contents.rdf.get("covers")
    if not isinstance(entries, list) or not entries:
        yield Occurrence("covers", "There is no cover image.")
        return
    for n, entry in enumerate(entries):
        path = contents.local(source_of(entry))
        if path is None:
            continue
        if path.stat().st_size > LARGEST_COVER:
            yield Occurrence(f"covers.{n}", f"{path.name} has {path.stat().st_size / 1000:.0f} kB.")
        elif path.suffix.lower() != ".svg":
            yield from _shape(path, f"covers.{n}")


def cellpose_configuration_ignored(contents: Contents) -> Iterator[Occurrence]:
    """A Cellpose configuration, for which Fiji has no postprocessing."""
    if isinstance(contents.config.get("cellpose"), Mapping):
        yield Occurrence("config.cellpose", "There is a config.cellpose, which Fiji does not use.")


def incompatible_pydantic(_: Contents) -> Iterator[Occurrence]:
    """A pydantic under which bioimageio.spec 0.5.12 does not work."""
    try:
        spec, pydantic = metadata.version("bioimageio.spec"), metadata.version("pydantic")
    except metadata.PackageNotFoundError:
        return
    if spec.startswith("0.5.12") and tuple(int(part) for part in re.findall(r"\d+", pydantic)[:2]) >= (2, 14):
        yield Occurrence("the Python environment", f"bioimageio.spec {spec} is installed with pydantic {pydantic}.")


def has_file_mappings(contents: Contents) -> bool:
    """Whether the format's documentation and covers are mappings."""
    return not contents.is_old and contents.version_numbers > LAST_PLAIN


def _documentation_and_covers(contents: Contents) -> Iterator[tuple[str, str, Any]]:
    """Place, kind and entry of these files."""
    yield "documentation", "documentation", contents.rdf.get("documentation")
    for n, cover in enumerate(sequence(contents.rdf.get("covers"))):
        yield f"covers.{n}", "cover", cover


def _has_validation(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        content = file.read(1_000_000)
    return any(line.startswith("#") and "validation" in line.lower() for line in content.splitlines())


def _shape(path: Path, place: str) -> Iterator[Occurrence]:
    with opened_picture(path) as picture:
        if picture is None:
            yield Occurrence(place, f"{path.name} is no picture.")
        elif picture.width not in (picture.height, 2 * picture.height):
            yield Occurrence(place, f"{path.name} has {picture.width} x {picture.height} pixels.")
