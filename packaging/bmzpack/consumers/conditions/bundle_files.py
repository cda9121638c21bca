"""Files of the bundle: that they are there, whole, where programs look for them, and named so that all open them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bmzpack.bundle.contents import Facts, is_remote
from bmzpack.consumers.findings import Look, Occurrence, Severity

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


def not_at_the_top(facts: Facts) -> Iterator[Occurrence]:
    """A description inside a folder of the bundle."""
    if facts.root != facts.folder:
        yield Occurrence(
            f"{facts.root.name}/{facts.file}", f"The bundle's files are inside the folder {facts.root.name}."
        )


def missing(facts: Facts) -> Iterator[Occurrence]:
    """Files that the description names and the bundle has not."""
    for place, source, _ in facts.sources():
        if not is_remote(source) and facts.local(source) is None:
            # bioimageio.spec does not look for it
            severity = Severity.ADVICE if place == "documentation" else None
            yield Occurrence(place, f"There is no file {source} in the bundle.", severity)


def outside(facts: Facts) -> Iterator[Occurrence]:
    """Files that are kept at an address."""
    for place, source, _ in facts.sources():
        if is_remote(source):
            yield Occurrence(place, f"{source} is not in the bundle.")


def of_weights(look: Look) -> Look:
    """The places of a look that concern weights."""
    return lambda facts: (found for found in look(facts) if found.where.startswith("weights."))


def of_weights_and_tensors(look: Look) -> Look:
    """The places of a look that concern weights, test tensors and sample tensors."""
    return lambda facts: (
        found for found in look(facts) if found.where.startswith(("weights", "inputs", "outputs", "test_", "sample_"))
    )


def of_all_but_documentation(look: Look) -> Look:
    """The places of a look that do not concern the documentation."""
    return lambda facts: (found for found in look(facts) if found.where != "documentation")


def changed(facts: Facts) -> Iterator[Occurrence]:
    """Files with another checksum than the description says."""
    for place, source, checksum in facts.sources():
        if checksum is not None and facts.checksums.get(source, checksum.lower()) != checksum.lower():
            yield Occurrence(place, f"{source} is not the file whose checksum (sha256) the description has.")


def awkward_names(facts: Facts) -> Iterator[Occurrence]:
    """File names that not every system keeps."""
    sources = {source: place for place, source, _ in facts.sources() if not is_remote(source)}
    lower: dict[str, str] = {}
    for source, place in sources.items():
        plain = source.removeprefix("./")
        if facts.local(source) is None:
            continue
        if not PLAIN.fullmatch(plain):
            yield Occurrence(place, f"The file name {source!r} has other characters than letters, digits and . _ -.")
        elif lower.setdefault(plain.lower(), plain) != plain:
            yield Occurrence(place, f"{source} and {lower[plain.lower()]} are one file on Windows and macOS.")
