"""Will it open? The rules of every program that opens bundles, applied to a bundle.

One file per program holds its rules. A check reads the bundle only: no network, no TensorFlow, no torch, and none of
the bundle's code.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from bmzpack.bundle import find_description, unpacked
from bmzpack.contract import core, fiji, ilastik, qupath
from bmzpack.contract.facts import Facts
from bmzpack.contract.findings import Finding, Report, Severity, Verdict, apply
from bmzpack.errors import UserError

__all__ = ["CONSUMERS", "Finding", "Report", "Severity", "Verdict", "check", "check_facts"]

CONSUMERS = {"fiji": fiji, "ilastik": ilastik, "qupath": qupath, "core": core}


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
        Whether to run the test tensors through the engines of the programs as well, as `bmzpack.prove` does.
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
            from bmzpack.contract.proof import prove_folder

            report = dataclasses.replace(report, matrix=prove_folder(folder, path, trust=trust))
    return report


def check_facts(facts: Facts, consumers: Sequence[str] = tuple(CONSUMERS), bundle: str = "") -> Report:
    """The verdicts on a bundle that is unpacked already."""
    verdicts = {name: _verdict(name, facts) for name in consumers}
    return Report(bundle, facts.name, verdicts)


def _verdict(name: str, facts: Facts) -> Verdict:
    found = apply(CONSUMERS[name].RULES, facts)
    if name == "core":
        known = [finding.where for finding in found.findings]
        more = [
            finding
            for finding in apply([core.SPECIFICATION], facts).findings
            if not any(_same_place(finding.where, place) for place in known)
        ]
        return Verdict(more + found.findings)
    if found.verdict == "fails":
        # a link to a program that cannot open the bundle would mislead
        return Verdict([finding for finding in found.findings if finding.rule != "R9"])
    return found


def _same_place(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return long == short or long.startswith(f"{short}.")
