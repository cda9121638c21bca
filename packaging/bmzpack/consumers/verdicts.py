"""The rules of consumers applied to a bundle.

The bundle is read only: no network, no TensorFlow, no torch, and none of the bundle's code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from bmzpack.bundle.contents import Contents
from bmzpack.consumers.consumer import Consumer
from bmzpack.consumers.findings import Finding, Report, Severity, Verdict, worst_first
from bmzpack.consumers.registry import CONSUMERS
from bmzpack.consumers.rules import apply
from bmzpack.errors import UserError


def check_contents(contents: Contents, consumers: Iterable[str] | None = None, bundle: str = "") -> Report:
    """Say which consumers can open a bundle that is unpacked already.

    Parameters
    ----------
    contents
        The bundle.
    consumers
        Keys of `CONSUMERS`; all by default.
    bundle
        Its name in the report.

    Raises
    ------
    UserError
        There is no such consumer.
    """
    chosen = list(CONSUMERS) if consumers is None else list(consumers)
    for key in chosen:
        if key not in CONSUMERS:
            raise UserError(f"There is no consumer {key!r}: choose from {', '.join(CONSUMERS)}.")
    return Report(bundle, contents.name, {key: _verdict(CONSUMERS[key], contents) for key in chosen})


def _verdict(consumer: Consumer, contents: Contents) -> Verdict:
    for rule in consumer.rules:
        if rule.unreadable and apply([rule], contents):
            trusted = [other for other in consumer.rules if other.on_files_alone or other is rule]
            return Verdict(apply(trusted, contents), versions=consumer.versions)
    found = apply(consumer.rules, contents)
    if consumer.specification is not None:
        found = _with_specification(found, apply([consumer.specification], contents), contents)
    sides = consumer.sides(contents)
    sides = sides if sides and sides.running else None
    # a link to a program that cannot open the bundle would mislead
    misleading = {rule.id for rule in consumer.rules if rule.only_if_it_opens}

    def verdict(findings: list[Finding], versions: Mapping[str, str]) -> Verdict:
        given = Verdict(findings, sides, versions)
        if given.verdict != "fails":
            return given
        kept = [finding for finding in findings if finding.rule not in misleading]
        return dataclasses.replace(given, findings=kept)

    releases = {
        release.name: verdict(
            worst_first(
                [finding for finding in found if finding.rule not in release.without] + apply(release.rules, contents)
            ),
            release.versions,
        )
        for release in consumer.releases
    }
    return dataclasses.replace(verdict(found, consumer.versions), releases=releases)


def _with_specification(found: Sequence[Finding], invalid: Sequence[Finding], contents: Contents) -> list[Finding]:
    """What rules found, and what bioimageio.spec says of other places; it wins over mere advice."""
    known = [finding.where for finding in found if finding.severity is Severity.CANNOT_OPEN]
    # comparisons between tensors are said of the description as a whole
    known += [contents.file for where in known if where.startswith(("inputs.", "outputs."))]
    new = [finding for finding in invalid if not any(_same(finding.where, where) for where in known)]
    kept = [
        finding
        for finding in found
        if finding.severity is Severity.CANNOT_OPEN or not any(_same(finding.where, other.where) for other in new)
    ]
    return new + kept


def _same(one: str, other: str) -> bool:
    """Whether one place is the other one, or holds it."""
    short, long = sorted((one, other), key=len)
    return long == short or long.startswith(f"{short}.")
