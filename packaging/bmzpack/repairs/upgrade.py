"""Descriptions of format 0.3 and 0.4 in the format that all programs read."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from bmzpack.bundle.specification import without_files
from bmzpack.bundle.values import source_of
from bmzpack.consumers.conditions.validation import invalid_description
from bmzpack.consumers.findings import Severity
from bmzpack.consumers.verdicts import check_contents
from bmzpack.describe import rdf
from bmzpack.errors import UserError
from bmzpack.repairs.acceptance import acceptance_test, runnable
from bmzpack.repairs.work import Work
from bmzpack.weights import TOLERANCE

NEED = {"D2", "R6", "R8", "W1", "W2", "W3", "W4"}
"""Rules that are mended in a description of format 0.5 only."""


def upgrade(work: Work) -> None:
    """D2: bring a description of format 0.3 or 0.4 to 0.5.10, where something else is to be mended in it."""
    if not work.contents.is_old or not _is_needed(work):
        return
    version = work.contents.version
    failure = f"The description cannot be brought to format {rdf.FORMAT_VERSION}"
    with work.attempt([("D2", "format_version")], failure):
        work.rdf = _upgraded(work)
        work.reread()
        problems = [occurrence.found for occurrence in invalid_description(work.contents)] or [
            f"{place}: {what}" for place, what in work.contents.problems
        ]
        if problems:
            raise UserError(problems[0].rstrip("."))
        _compare_outputs(work)
        work.changed("D2", "format_version", f"The format is {rdf.FORMAT_VERSION}, it was {version}.")


def _is_needed(work: Work) -> bool:
    findings = [finding for verdict in check_contents(work.contents).consumers.values() for finding in verdict.findings]
    worse = {finding.rule for finding in findings if finding.severity is not Severity.ADVICE}
    keras = work.trusted("keras_v3") or work.trusted("keras_hdf5")
    return bool(worse & (NEED | ({"N1"} if keras else set())))


def _upgraded(work: Work) -> dict[str, Any]:
    """The description as bioimageio.spec upgrades it, documentation and covers as plain texts."""
    from bioimageio.spec import InvalidDescr, build_description, dump_description

    try:
        with without_files(work.root, work.file):
            loaded = build_description(copy.deepcopy(work.rdf), format_version="latest")
            if isinstance(loaded, InvalidDescr):
                errors = [error for detail in loaded.validation_summary.details for error in detail.errors]
                raise UserError(" ".join(errors[0].msg.split()) if errors else "bioimageio.spec refuses it")
            content: Any = dump_description(loaded)
    except UserError:
        raise
    except Exception as error:  # its own faults on descriptions that nobody thought of
        raise UserError(f"bioimageio.spec fails on it ({type(error).__name__})") from error
    content = dict(content) | {"format_version": rdf.FORMAT_VERSION}
    if isinstance(content.get("documentation"), Mapping):
        content["documentation"] = source_of(content["documentation"])
    if "covers" in content:
        content["covers"] = [source_of(cover) for cover in content["covers"]]
    return content


def _compare_outputs(work: Work) -> None:
    """Run weights under the new description, and compare with the test output."""
    found = runnable(work)
    if not found:
        raise UserError("there are no weights that can be run to prove that it says the same")
    name, path, own = found[0]
    test = acceptance_test(work)
    first = test.run(name, path, own)[0]
    if isinstance(first, UserError):
        raise first
    error = test.error(first)
    if not error <= TOLERANCE:
        raise UserError(f"{name} then differs from the test output by {error:.1e} of the range")
