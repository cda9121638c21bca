"""The report of a check as one HTML page: no script, no other file, no network, made to be sent to a biologist."""

from __future__ import annotations

import html
import re
import string
from collections.abc import Iterable, Iterator

from bmzpack.consumers.findings import Report, Severity
from bmzpack.consumers.summary import (
    ENGINE_NOTE,
    NO_FINDING,
    NOTHING_FOUND,
    RULES_HEADING,
    RULES_NOTE,
    EngineTable,
    Note,
    Program,
    Row,
    Summary,
    summarise,
)

# a sign beside every word, so that nobody has to tell one colour from another
SIGNS = {
    Severity.CANNOT_OPEN: "✕",
    Severity.WRONG_RESULT: "≠",
    Severity.DEGRADED: "▲",
    Severity.ADVICE: "i",
}
VERDICT_SIGNS = {"opens": "✓", "degraded": "▲", "fails": "✕"}
STATUS_SIGNS = {"passed": "✓", "failed": "✕", "unsupported": "○", "absent": "○"}
MEANINGS = {
    Severity.CANNOT_OPEN: "the program stops with an error",
    Severity.WRONG_RESULT: "the program runs the model, but what it computes is wrong",
    Severity.DEGRADED: "it works, with a limit",
    Severity.ADVICE: "it works; this would be better",
}


def render(report: Report) -> str:
    """Write a report as HTML.

    Parameters
    ----------
    report
        What a check found.

    Returns
    -------
    str
        A page that holds all it needs; everything that comes from the bundle is escaped.
    """
    summary = summarise(report)
    return _PAGE.substitute(title=html.escape(summary.name), body="\n".join(_body(summary)))


def _body(summary: Summary) -> Iterator[str]:
    yield f"<header><p>Will it open?</p><h1>{html.escape(summary.name)}</h1>"
    yield f"<p><code>{html.escape(summary.bundle)}</code></p></header>"
    yield f'<ul class="programs">{"".join(map(_program, summary.programs))}</ul>'
    yield "<h2>What was found</h2>"
    if summary.rows:
        yield f"<p>{RULES_NOTE}</p>"
        yield _matrix(summary.programs, summary.rows)
        yield _legend(summary.rows)
        yield from map(_finding, range(1, len(summary.rows) + 1), summary.rows)
    else:
        yield f"<p>{NOTHING_FOUND}</p>"
    if summary.engines:
        yield from _engines(summary.engines)


def _program(program: Program) -> str:
    sign = f'<span class="sign" aria-hidden="true">{VERDICT_SIGNS[program.verdict]}</span>'
    conditions = f"<br><small>{_inline(program.conditions)}</small>" if program.conditions else ""
    return f'<li class="{program.verdict}">{sign}<span>{_inline(program.sentence)}{conditions}</span></li>'


def _matrix(programs: list[Program], rows: list[Row]) -> str:
    lines = []
    for number, row in enumerate(rows, 1):
        rule = f'<a href="#rule-{number}">{html.escape(row.title)}</a> <small>{html.escape(row.rule)}</small>'
        cells = (_severity(severity) if severity else NO_FINDING for severity in row.cells)
        lines.append(_line(rule, cells))
    return _table("Findings by rule and program", [RULES_HEADING, *(program.name for program in programs)], lines)


def _legend(rows: list[Row]) -> str:
    """What the words of the table mean."""
    found = {severity for row in rows for severity in row.cells}
    entries = [f"{_severity(severity)} {MEANINGS[severity]}" for severity in Severity if severity in found]
    if None in found:
        entries.append(f"{NO_FINDING} nothing to say")
    return f'<ul class="legend">{"".join(f"<li>{entry}</li>" for entry in entries)}</ul>'


def _finding(number: int, row: Row) -> str:
    heading = f"{html.escape(row.title)} <small>{html.escape(row.rule)}</small>"
    return f'<section id="rule-{number}"><h3>{heading}</h3>{"".join(map(_note, row.notes))}</section>'


def _note(note: Note) -> str:
    places = "".join(f"<li><code>{html.escape(where)}</code> {_inline(found)}</li>" for where, found in note.places)
    more = f"<li>and in {note.more} more places</li>" if note.more else ""
    reasons = "".join(
        f"<li><b>{html.escape(reason.programs)}</b> {_severity(reason.severity)} {_inline(reason.why)}</li>"
        for reason in note.reasons
    )
    return (
        f"<dl><dt>Where, and what was found</dt><dd><ul>{places}{more}</ul></dd>"
        f"<dt>Why it matters</dt><dd><ul>{reasons}</ul></dd>"
        f'<dt>What to do</dt><dd class="remedy">{_inline(note.remedy)}</dd></dl>'
    )


def _engines(engines: EngineTable) -> Iterator[str]:
    yield f"<h2>What happened when it was run</h2><p>{html.escape(engines.sentence)}</p>"
    lines = [
        _line(html.escape(engine), (_engine_cell(status, words) for status, words in cells))
        for engine, cells in engines.rows
    ]
    yield _table("Runs by engine and weights format", ["engine", *engines.formats], lines)
    yield f'<p class="note">{html.escape(ENGINE_NOTE)}</p>'
    if engines.messages:
        messages = (f"<dt>{html.escape(where)}</dt><dd>{_inline(text)}</dd>" for where, text in engines.messages)
        yield f"<h3>What the engines said</h3><dl>{''.join(messages)}</dl>"


def _engine_cell(status: str, words: list[str]) -> str:
    if not status:
        return html.escape(words[0])
    sign = f'<span aria-hidden="true">{STATUS_SIGNS[status]}</span>'
    rest = "".join(f"<br>{html.escape(word)}" for word in words[1:])
    return f'<span class="badge {status}">{sign} {html.escape(words[0])}</span>{rest}'


def _severity(severity: Severity) -> str:
    kind = severity.value.replace(" ", "-")
    return f'<span class="badge {kind}"><span aria-hidden="true">{SIGNS[severity]}</span> {severity.value}</span>'


def _line(head: str, cells: Iterable[str]) -> str:
    return f'<tr><th scope="row">{head}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _table(caption: str, header: Iterable[str], lines: Iterable[str]) -> str:
    # names of formats are long, and break at their underscores
    head = "".join(f'<th scope="col">{html.escape(name).replace("_", "_<wbr>")}</th>' for name in header)
    # a box that scrolls must take the focus, or the keyboard cannot scroll it
    return (
        f'<div class="scroll" role="region" aria-label="{caption}" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _inline(text: str) -> str:
    """Escaped text with the Markdown of `code`."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


_PAGE = string.Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Will it open? $title</title>
<style>
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f23; --soft: #57606a; --line: #d5dae0; --wash: #f4f6f8;
  --link: #0b5cad; --good: #0f6b43; --bad: #b3261e; --warn: #8a5300; --info: #245e9c; --wrong: #8b2278; --on: #fff; }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #14181c; --ink: #e6e9ec; --soft: #a3adb8;
  --line: #38414b; --wash: #1f252b; --link: #7ab8f5; --good: #63c997; --bad: #ff8f85; --warn: #f0b34e; --info: #85bdf5;
  --wrong: #eb95d9; --on: #14181c; } }
* { box-sizing: border-box; }
html { background: var(--paper); -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 1.5rem 1.2rem 3rem; max-width: 62rem; color: var(--ink); overflow-wrap: anywhere;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header p { margin: 0; color: var(--soft); }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; }
h2 { margin: 2.4rem 0 .7rem; font-size: 1.35rem; }
h3 { margin: 1.4rem 0 .5rem; font-size: 1.05rem; }
section h3 { margin-top: 0; }
small { display: inline-block; }
small, .note { color: var(--soft); font-size: .82rem; font-weight: normal; }
a { color: var(--link); }
ul { margin: 0; padding: 0; list-style: none; }
.programs { display: grid; gap: .6rem; margin-top: 1.4rem; }
.programs li { display: flex; gap: .8rem; padding: .65rem .9rem; border: 1px solid var(--line); border-radius: .4rem;
  border-left: .35rem solid var(--kind); background: var(--wash); break-inside: avoid; }
.sign { color: var(--kind); font-weight: bold; }
.opens, .passed { --kind: var(--good); }
.degraded { --kind: var(--warn); }
.fails, .failed, .cannot-open { --kind: var(--bad); }
.wrong-result { --kind: var(--wrong); }
.advice { --kind: var(--info); }
.unsupported, .absent { --kind: var(--soft); }
.badge { display: inline-block; padding: 0 .5em; border: 1px solid var(--kind); border-radius: 1em; color: var(--kind);
  font-size: .85rem; font-weight: 600; white-space: nowrap; }
.cannot-open, .wrong-result, .failed { color: var(--on); background: var(--kind); print-color-adjust: exact;
  -webkit-print-color-adjust: exact; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .4rem; }
table { width: 100%; border-collapse: collapse; overflow-wrap: normal; }
th, td { padding: .5rem .8rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
td { font-size: .9rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
thead th { background: var(--wash); font-size: .9rem; }
tbody tr:last-child > * { border-bottom: 0; }
tbody th { min-width: 10rem; max-width: 26rem; font-weight: normal; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: .7rem 0 2rem; color: var(--soft);
  font-size: .85rem; }
section { margin-top: 1rem; padding: .9rem 1.1rem; border: 1px solid var(--line); border-radius: .4rem; }
section:target { outline: 2px solid var(--link); }
dl { margin: 0; }
dl + dl { margin-top: 1rem; padding-top: 1rem; border-top: 1px dashed var(--line); }
dt { margin-top: .6rem; color: var(--soft); font-size: .82rem; }
dd { margin: 0; max-width: 50rem; }
dd li + li { margin-top: .3rem; }
.remedy { font-weight: 600; }
code { padding: 0 .25em; border-radius: .2em; background: var(--wash); font-size: .88em;
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
@media print { html { font-size: 10pt; } body { max-width: none; padding: 0; } .scroll { overflow: visible; }
  th, td { padding: .35rem .5rem; } tbody th { min-width: 0; } table, thead th, td, td .badge { font-size: .8rem; }
  tr, section { break-inside: avoid; } h2, h3 { break-after: avoid; } a { color: inherit; text-decoration: none; } }
</style>
</head>
<body>
$body
</body>
</html>
""")
