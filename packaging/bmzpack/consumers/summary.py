"""What a report says, in words and in order: the content that the page and the terminal share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator

from bmzpack.consumers.findings import Finding, Report, Severity, Verdict
from bmzpack.consumers.registry import CONSUMERS
from bmzpack.engines.matrix import Cell, Matrix
from bmzpack.errors import harmless

NOTHING_FOUND = "No problem was found: every rule of these programs holds."
RULES_NOTE = "Each line is something that should hold, but does not for at least one program. Details are below."
RULES_HEADING = "should hold"
NO_FINDING = "-"
"""Stands in a cell without a finding."""
ENGINE_NOTE = (
    "The error is the largest difference from the output that the bundle expects, as a share of that output's range: "
    "1e-06 is one millionth. The time is that of one run on the bundle's own test image, on the computer of this check."
)
STATUSES = {"passed": "passed", "failed": "failed", "unsupported": "not supported", "absent": "not installed"}

LONGEST = 1000
"""So many characters of a text are shown at most,"""
LONGEST_NAME = 200
"""so many of a name,"""
LONGEST_REASON = 240
"""so many of a reason in a program's sentence,"""
REASONS = 2
"""so many reasons there,"""
PLACES = 50
"""and so many places of one finding. A bundle that wants more is broken or hostile; `--json` holds all."""


@dataclasses.dataclass(frozen=True)
class Program:
    """A consumer: a column of the table, and a sentence above it."""

    name: str
    verdict: str
    sentence: str
    conditions: str
    """With which image sizes, and the versions of the programs that this was seen on."""


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why a defect matters, and to which programs."""

    programs: str
    severity: Severity
    why: str


@dataclasses.dataclass(frozen=True)
class Note:
    """A defect and its remedy, the same for all programs that it concerns."""

    places: list[tuple[str, str]]
    """Where, and what was found there."""
    more: int
    """Places beyond those."""
    reasons: list[Reason]
    remedy: str


@dataclasses.dataclass(frozen=True)
class Row:
    """A rule that does not hold for some program."""

    rule: str
    title: str
    cells: list[Severity | None]
    """Worst finding of each program, in the order of the columns."""
    notes: list[Note]


@dataclasses.dataclass(frozen=True)
class EngineTable:
    """The runs in the engines."""

    sentence: str
    formats: list[str]
    rows: list[tuple[str, list[tuple[str, list[str]]]]]
    """Engine, and per format a status (empty: not for this format) and the words of the cell."""
    messages: list[tuple[str, str]]
    """Engine and format, and what was said."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """All that is shown. Every text is printable."""

    name: str
    bundle: str
    programs: list[Program]
    rows: list[Row]
    """Worst first."""
    engines: EngineTable | None


def summarise(report: Report) -> Summary:
    """Put a report into words and order.

    Parameters
    ----------
    report
        What a check found.

    Returns
    -------
    Summary
        What the page and the terminal show.
    """
    order = [*CONSUMERS, *report.consumers]
    verdicts = dict(sorted(report.consumers.items(), key=lambda item: order.index(item[0])))
    return Summary(
        name=printable(report.name, LONGEST_NAME) or "A model without a name",
        bundle=printable(report.bundle),
        programs=[
            Program(_name(consumer), verdict.verdict, _sentence(consumer, verdict), _conditions(verdict))
            for consumer, verdict in verdicts.items()
        ],
        rows=_rows(verdicts),
        engines=_engines(report.matrix) if report.matrix else None,
    )


def printable(text: str, longest: int = LONGEST) -> str:
    """Text of a stranger as one line that neither a terminal nor a page takes for more than text.

    Parameters
    ----------
    text
        Any text.
    longest
        So many characters are kept at most.

    Returns
    -------
    str
        Without characters that control a terminal, hide, reverse the direction of text, or cannot be encoded.
    """
    line = " ".join(harmless(text[: 10 * longest]).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def rank(severity: Severity | None) -> int:
    """0 for the worst; nothing found comes last."""
    order = list(Severity)
    return order.index(severity) if severity else len(order)


def _name(consumer: str) -> str:
    return CONSUMERS[consumer].name if consumer in CONSUMERS else printable(consumer, LONGEST_NAME)


def _sentence(consumer: str, verdict: Verdict) -> str:
    """What a biologist should know of a program."""
    program = CONSUMERS[consumer].in_sentences if consumer in CONSUMERS else _name(consumer)
    if not verdict.findings:
        return f"{program} can open this model."
    worst = min((finding.severity for finding in verdict.findings), key=rank)
    if worst is Severity.ADVICE:
        count = len({finding.rule for finding in verdict.findings})
        return f"{program} can open this model; {_count(count, 'thing')} could be better."
    sentences = {
        Severity.CANNOT_OPEN: f"{program} cannot use this model",
        Severity.WRONG_RESULT: f"{program} opens this model, but would compute wrong results, so do not use it there",
        Severity.DEGRADED: f"{program} opens it, with limits",
    }
    return f"{sentences[worst]}: {_reasons(finding for finding in verdict.findings if finding.severity is worst)}"


def _conditions(verdict: Verdict) -> str:
    """With which square images a program runs the model, and the versions of which the verdict is true."""
    sizes = f"Square images of {verdict.sides}. " if verdict.sides and verdict.verdict != "fails" else ""
    versions = ", ".join(f"{name} {version}" for name, version in verdict.versions.items())
    seen = f"Seen on {versions}." if versions else ""
    return printable(" ".join([f"{sizes}{seen}", *_otherwise(verdict)]))


def _otherwise(verdict: Verdict) -> Iterator[str]:
    """What other versions make of the bundle, where that is another verdict."""
    does = {"opens": "opens it", "degraded": "opens it, with limits", "fails": "cannot use it"}
    for name, release in verdict.releases.items():
        if release.verdict != verdict.verdict:
            reasons = [finding.found for finding in release.findings if finding not in verdict.findings][:1]
            yield printable(
                f"{name} {does[release.verdict]}{': ' if reasons else '.'}{''.join(reasons)}", LONGEST_REASON
            )


def _reasons(findings: Iterable[Finding]) -> str:
    """What was found, one reason per rule."""
    firsts: dict[tuple[str, str], str] = {}
    for finding in findings:
        firsts.setdefault((finding.rule, finding.title), printable(finding.found, LONGEST_REASON))
    reasons = [found if found.endswith((".", "…")) else f"{found}." for found in dict.fromkeys(firsts.values())]
    more = [f"Below: {_count(len(reasons) - REASONS, 'more reason')}."] if len(reasons) > REASONS else []
    return " ".join([*reasons[:REASONS], *more])


def _rows(verdicts: dict[str, Verdict]) -> list[Row]:
    """One row per rule; a rule that is worse, or as bad for more programs, comes first."""
    findings: dict[tuple[str, str], dict[str, list[Finding]]] = {}
    for consumer, verdict in verdicts.items():
        for finding in verdict.findings:
            findings.setdefault((finding.rule, finding.title), {}).setdefault(consumer, []).append(finding)
    rows = [
        Row(
            rule=printable(rule),
            title=printable(title),
            cells=[
                min((finding.severity for finding in found.get(consumer, ())), key=rank, default=None)
                for consumer in verdicts
            ],
            notes=_notes(found),
        )
        for (rule, title), found in findings.items()
    ]
    return sorted(rows, key=lambda row: sorted(map(rank, row.cells)))


def _notes(found: dict[str, list[Finding]]) -> list[Note]:
    """What was found of one rule: what several programs say of the same places is said once."""
    places: dict[tuple[str, str, Severity, str], list[tuple[str, str]]] = {}
    for consumer, findings in found.items():
        for finding in findings:
            key = (consumer, finding.remedy, finding.severity, finding.why)
            places.setdefault(key, []).append((finding.where, finding.found))
    notes: dict[tuple[str, tuple[tuple[str, str], ...]], dict[tuple[Severity, str], list[str]]] = {}
    for (consumer, remedy, severity, why), at in places.items():
        reasons = notes.setdefault((remedy, tuple(dict.fromkeys(at))), {})
        reasons.setdefault((severity, why), []).append(_name(consumer))
    return [
        Note(
            places=[(printable(where), printable(what)) for where, what in at[:PLACES]],
            more=max(len(at) - PLACES, 0),
            reasons=[
                Reason(", ".join(programs), severity, printable(why)) for (severity, why), programs in reasons.items()
            ],
            remedy=printable(remedy),
        )
        for (remedy, at), reasons in notes.items()
    ]


def _engines(matrix: Matrix) -> EngineTable:
    return EngineTable(
        sentence=_engine_sentence(matrix),
        formats=[printable(name, LONGEST_NAME) for name in matrix.formats],
        rows=[
            (
                printable(engine, LONGEST_NAME),
                [_engine_cell(matrix.cells.get((engine, name))) for name in matrix.formats],
            )
            for engine in matrix.engines
        ],
        messages=[
            (printable(f"{engine}, {name}"), printable(cell.message))
            for (engine, name), cell in matrix.cells.items()
            if cell.message
        ],
    )


def _engine_sentence(matrix: Matrix) -> str:
    statuses = [cell.status for cell in matrix.cells.values()]
    failed, tried = statuses.count("failed"), statuses.count("failed") + statuses.count("passed")
    if not tried:
        sentence = "The model could not be run: there is no engine here for its weights."
    elif failed:
        sentence = f"{failed} of {_count(tried, 'run')} failed or gave another output than the bundle expects."
    elif tried == 1:
        sentence = "The model was run, and gave the output that the bundle expects."
    else:
        sentence = f"The model was run in {tried} ways, and each gave the output that the bundle expects."
    absent = dict.fromkeys(printable(engine) for (engine, _), cell in matrix.cells.items() if cell.status == "absent")
    if absent:
        sentence += f" Not installed here, so not tried: {', '.join(absent)}."
    return sentence


def _engine_cell(cell: Cell | None) -> tuple[str, list[str]]:
    if cell is None:
        return "", [NO_FINDING]
    words = [STATUSES[cell.status]]
    if cell.max_abs_error is not None:
        words.append(f"error {_error(cell.max_abs_error)}")
    if cell.seconds is not None:
        milliseconds = cell.seconds * 1000
        words.append(f"{milliseconds:,.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms")
    return cell.status, words


def _error(error: float) -> str:
    if not math.isfinite(error):
        return "not finite"
    return f"{error:.1e}" if error else "0"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
