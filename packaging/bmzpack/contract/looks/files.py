"""Files of the bundle: that they are there, whole, where programs look for them, and named so that all open them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator

from bmzpack.contract.facts import Facts, is_remote
from bmzpack.contract.findings import Look, Occurrence

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


def not_at_the_top(facts: Facts) -> Iterator[Occurrence]:
    """A description inside a folder of the bundle."""
    if facts.root != facts.folder:
        yield Occurrence(
            f"{facts.root.name}/{facts.file}", f"The bundle's files are inside the folder {facts.root.name}."
        )


def missing(formats: Collection[str] | None = None) -> Look:
    """Files that the description names and the bundle has not; of the weights, those of these formats."""

    def look(facts: Facts) -> Iterator[Occurrence]:
        for place, source, _ in facts.sources():
            other = place.startswith("weights.") and formats is not None and place.split(".")[1] not in formats
            if not other and not is_remote(source) and facts.local(source) is None:
                yield Occurrence(place, f"There is no file {source} in the bundle.")

    return look


def outside(formats: Collection[str]) -> Look:
    """Weights and test tensors that are kept at an address."""

    def look(facts: Facts) -> Iterator[Occurrence]:
        for place, source, _ in facts.sources():
            if is_remote(source) and (not place.startswith("weights.") or place.split(".")[1] in formats):
                yield Occurrence(place, f"{source} is not in the bundle.")

    return look


def changed(facts: Facts) -> Iterator[Occurrence]:
    """Files with another checksum than the description says."""
    for place, source, checksum in facts.sources():
        path = facts.local(source)
        if path is None or checksum is None:
            continue
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != checksum.lower():
                yield Occurrence(place, f"{source} is not the file whose checksum (sha256) the description has.")


def awkward_names(facts: Facts) -> Iterator[Occurrence]:
    """File names that not every system keeps."""
    sources = {source: place for place, source, _ in facts.sources() if not is_remote(source)}
    lower: dict[str, str] = {}
    for source, place in sources.items():
        plain = source.removeprefix("./")
        if not PLAIN.fullmatch(plain):
            yield Occurrence(place, f"The file name {source!r} has other characters than letters, digits and . _ -.")
        elif lower.setdefault(plain.lower(), plain) != plain:
            yield Occurrence(place, f"{source} and {lower[plain.lower()]} are one file on Windows and macOS.")
