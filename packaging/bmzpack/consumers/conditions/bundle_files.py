"""Files of the bundle: that they are there, whole, where programs look for them, and named so that all open them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bmzpack.bundle.contents import Contents
from bmzpack.bundle.values import is_remote
from bmzpack.consumers.findings import Condition, Occurrence, Severity

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


def files_in_subfolder(contents: Contents) -> Iterator[Occurrence]:
    """A description inside a folder of the bundle."""
    if contents.root != contents.folder:
        yield Occurrence(
            f"{contents.root.name}/{contents.file}", f"The bundle's files are inside the folder {contents.root.name}."
        )


def missing_files(contents: Contents) -> Iterator[Occurrence]:
    """Files that the description names and the bundle has not."""
    for place, source, _ in contents.sources():
        if not is_remote(source) and contents.local(source) is None:
            # bioimageio.spec does not look for it
            severity = Severity.ADVICE if place == "documentation" else None
            yield Occurrence(place, f"There is no file {source} in the bundle.", severity)


def remote_files(contents: Contents) -> Iterator[Occurrence]:
    """Files that are kept at an address."""
    for place, source, _ in contents.sources():
        if is_remote(source):
            yield Occurrence(place, f"{source} is not in the bundle.")


def only_weights(condition: Condition) -> Condition:
    """The places of a condition that concern weights."""
    return lambda contents: (found for found in condition(contents) if found.where.startswith("weights."))


def only_weights_and_tensors(condition: Condition) -> Condition:
    """The places of a condition that concern weights, test tensors and sample tensors."""
    return lambda contents: (
        found
        for found in condition(contents)
        if found.where.startswith(("weights", "inputs", "outputs", "test_", "sample_"))
    )


def except_documentation(condition: Condition) -> Condition:
    """The places of a condition that do not concern the documentation."""
    return lambda contents: (found for found in condition(contents) if found.where != "documentation")


def wrong_checksums(contents: Contents) -> Iterator[Occurrence]:
    """Files with another checksum than the description says."""
    for place, source, checksum in contents.sources():
        if checksum is not None and contents.checksums.get(source, checksum.lower()) != checksum.lower():
            yield Occurrence(place, f"{source} is not the file whose checksum (sha256) the description has.")


def unportable_file_names(contents: Contents) -> Iterator[Occurrence]:
    """File names that not every system keeps."""
    sources = {source: place for place, source, _ in contents.sources() if not is_remote(source)}
    lower: dict[str, str] = {}
    for source, place in sources.items():
        plain = source.removeprefix("./")
        if contents.local(source) is None:
            continue
        if not PLAIN.fullmatch(plain):
            yield Occurrence(place, f"The file name {source!r} has other characters than letters, digits and . _ -.")
        elif lower.setdefault(plain.lower(), plain) != plain:
            yield Occurrence(place, f"{source} and {lower[plain.lower()]} are one file on Windows and macOS.")
