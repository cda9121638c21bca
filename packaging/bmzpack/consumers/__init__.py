"""Will it open? The rules of every program that opens bundles, applied to a bundle.

One file per program holds its rules. A check reads the bundle only: no network, no TensorFlow, no torch, and none of
the bundle's code.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bmzpack.bundle.archive import find_description, unpacked
from bmzpack.bundle.contents import Facts
from bmzpack.consumers import core, fiji, ilastik, qupath
from bmzpack.consumers.findings import Finding, Report, Severity, Verdict, apply
from bmzpack.errors import UserError

__all__ = ["CONSUMERS", "Finding", "Report", "Severity", "Verdict", "check", "check_facts"]

CONSUMERS = {"fiji": fiji, "ilastik": ilastik, "qupath": qupath, "core": core}
SPECIFIED = {"ilastik": ilastik.SPECIFICATION, "core": core.SPECIFICATION}
"""Rules of programs that validate with bioimageio.spec."""


def check(
    bundle: str | os.PathLike[str], *, consumers: Sequence[str] | None = None, run: bool = False, trust: bool = False
) -> Report:
    """Say which programs can open a bundle, and what keeps the others from it.

    Parameters
    ----------
    bundle
        A bundle's ``.zip``, its folder, or the ``rdf.yaml`` in it, packed by any program.
    consumers
        Of `CONSUMERS`; all by default.
    run
        Whether to run the test tensors through the engines of the programs as well; it takes a minute or two.
    trust
        With ``run``: whether Python code of the bundle may be executed.

    Returns
    -------
    Report
        A verdict with findings per program, and with ``run`` the matrix of engines and weights formats.

    Raises
    ------
    UserError
        There is no bundle or no such program, or the bundle was made to harm.
    """
    chosen = list(CONSUMERS) if consumers is None else list(consumers)
    for name in chosen:
        if name not in CONSUMERS:
            raise UserError(f"There is no consumer {name!r}: choose from {', '.join(CONSUMERS)}.")
    with unpacked(bundle, any_layout=True) as folder:
        path = Path(bundle) if Path(bundle).suffix in (".yaml", ".yml") else find_description(folder)
        if path is None:
            raise UserError(f"{bundle} holds no rdf.yaml.")
        report = check_facts(Facts(folder, path), chosen, str(bundle))
        if run:
            from bmzpack.testing.run import backed, prove_folder

            report = backed(report, prove_folder(folder, path, trust=trust))
    return report


def check_facts(facts: Facts, consumers: Sequence[str] = tuple(CONSUMERS), bundle: str = "") -> Report:
    """The verdicts on a bundle that is unpacked already."""
    verdicts = {name: _verdict(name, facts) for name in consumers}
    return Report(bundle, facts.name, verdicts)


def _verdict(name: str, facts: Facts) -> Verdict:
    found = apply(CONSUMERS[name].RULES, facts)
    for unreadable in ("D1", "D2"):
        if any(finding.rule == unreadable for finding in found.findings):
            # what else is found in a description that cannot be understood is not to be trusted
            return Verdict([finding for finding in found.findings if finding.rule in ("F1", "R3", unreadable)])
    if name in SPECIFIED:
        found = _with_specification(found, apply([SPECIFIED[name]], facts), facts)
    if found.verdict == "fails":
        # a link to a program that cannot open the bundle would mislead
        return Verdict([finding for finding in found.findings if finding.rule != "R9"])
    return found


def _with_specification(found: Verdict, invalid: Verdict, facts: Facts) -> Verdict:
    """What rules found, and what bioimageio.spec says of other places; it wins over mere advice."""
    known = [finding.where for finding in found.findings if finding.severity is Severity.CANNOT_OPEN]
    # comparisons between tensors are said of the description as a whole
    known += [facts.file for where in known if where.startswith(("inputs.", "outputs."))]
    new = [finding for finding in invalid.findings if not any(_same(finding.where, where) for where in known)]
    kept = [
        finding
        for finding in found.findings
        if finding.severity is Severity.CANNOT_OPEN or not any(_same(finding.where, other.where) for other in new)
    ]
    return Verdict(new + kept)


def _same(one: str, other: str) -> bool:
    """Whether one place is the other one, or holds it."""
    short, long = sorted((one, other), key=len)
    return long == short or long.startswith(f"{short}.")
