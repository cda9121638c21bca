"""What a check says: findings of rules, a verdict per consumer, and the report of all."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from bmzpack.bundle.contents import Contents

if TYPE_CHECKING:
    from bmzpack.engines.matrix import Matrix


MOST_STRETCHES = 500
"""Stretches of image sizes that a report lists at most."""


class Severity(enum.StrEnum):
    """How much a finding matters to who opens the bundle, worst first."""

    CANNOT_OPEN = "cannot open"
    WRONG_RESULT = "wrong result"
    DEGRADED = "degraded"
    ADVICE = "advice"


@dataclasses.dataclass(frozen=True)
class Occurrence:
    """A place of the bundle where a rule does not hold."""

    where: str
    """File or place in rdf.yaml, such as ``outputs.0.axes.2``."""
    found: str
    """What is there, in one sentence."""
    severity: Severity | None = None
    """Where this place matters less or more than the rule says."""
    remedy: str | None = None
    """Where this place needs another one than the rule says."""


Condition = Callable[[Contents], Iterable[Occurrence]]
"""Finds the places of a bundle where a rule does not hold."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """A rule that does not hold somewhere."""

    rule: str
    severity: Severity
    where: str
    found: str
    why: str
    remedy: str
    title: str


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Sides of square images, in pixels, with one outcome."""

    first: int
    last: int | None
    """None where there is no end."""
    rule: str = ""
    """The rule that they do not keep; empty where they run,"""
    where: str = ""
    """the place in rdf.yaml,"""
    why: str = ""
    """and what happens."""

    def __str__(self) -> str:
        if self.last is None:
            return f"{self.first:,} and more"
        return f"{self.first:,}" if self.first == self.last else f"{self.first:,} to {self.last:,}"


@dataclasses.dataclass(frozen=True)
class Sides:
    """The sizes of square images with which a program runs a model."""

    stretches: list[Stretch]
    """One after the other, from 1 pixel a side on."""
    planes: int | None = None
    """Planes of the stacks that were tried, where their number is free."""

    @property
    def running(self) -> list[Stretch]:
        """Those that run."""
        return [stretch for stretch in self.stretches if not stretch.rule]

    def __str__(self) -> str:
        most = 3
        ranges = ", ".join(str(stretch) for stretch in self.running[:most])
        others = ", and others" if len(self.running) > most else ""
        planes = f" and {self.planes} planes" if self.planes else ""
        return f"{ranges} pixels a side{planes}{others}"

    def as_dict(self) -> dict[str, Any]:
        """As `--json` writes it; of many stretches the first ones."""
        kept = dataclasses.replace(self, stretches=self.stretches[:MOST_STRETCHES])
        return dataclasses.asdict(kept) | {"text": str(self)}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a consumer will do with a bundle."""

    findings: list[Finding]
    """Worst first."""
    sides: Sides | None = None
    """The image sizes for which that holds, where the program sets limits that are known."""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """By program or library: the versions on which its rules were seen."""
    releases: Mapping[str, Verdict] = dataclasses.field(default_factory=dict)
    """By name of another version that is in use: what that one does."""

    @property
    def verdict(self) -> Literal["opens", "degraded", "fails"]:
        """`fails` also where it would compute something wrong."""
        severities = {finding.severity for finding in self.findings}
        if severities & {Severity.CANNOT_OPEN, Severity.WRONG_RESULT}:
            return "fails"
        return "degraded" if Severity.DEGRADED in severities else "opens"

    def as_dict(self) -> dict[str, Any]:
        """As `--json` writes it."""
        found: dict[str, Any] = {
            "verdict": self.verdict,
            "versions": dict(self.versions),
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
        }
        if self.releases:
            found["releases"] = {name: release.as_dict() for name, release in self.releases.items()}
        return found | ({"sides": self.sides.as_dict()} if self.sides else {})


@dataclasses.dataclass(frozen=True)
class Report:
    """What the check of a bundle found."""

    bundle: str
    name: str
    """The name of the model."""
    consumers: dict[str, Verdict]
    """By key of `bmzpack.consumers.registry.CONSUMERS`."""
    matrix: Matrix | None = None
    """What the engines gave, where they were run."""

    def as_dict(self) -> dict[str, Any]:
        """As `--json` writes it."""
        found: dict[str, Any] = {
            "bundle": self.bundle,
            "name": self.name,
            "consumers": {name: verdict.as_dict() for name, verdict in self.consumers.items()},
        }
        return found | ({"run": self.matrix.as_dict()} if self.matrix else {})


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Findings in the order of their severities."""
    order = list(Severity)
    return sorted(findings, key=lambda finding: order.index(finding.severity))
