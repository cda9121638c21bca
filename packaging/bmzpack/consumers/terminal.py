"""The report of a check in a terminal: the same sentences and tables as the page."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bmzpack.consumers.findings import Report, Severity
from bmzpack.consumers.summary import (
    ENGINE_NOTE,
    NO_FINDING,
    NOTHING_FOUND,
    RULES_HEADING,
    RULES_NOTE,
    EngineTable,
    Note,
    Row,
    Summary,
    summarise,
)

SEVERITY_STYLES = {
    Severity.CANNOT_OPEN: "bold red",
    Severity.WRONG_RESULT: "bold magenta",
    Severity.DEGRADED: "yellow",
    Severity.ADVICE: "cyan",
}
VERDICT_STYLES = {"opens": "green", "degraded": "yellow", "fails": "bold red"}
STATUS_STYLES = {"passed": "green", "failed": "bold red"}


def show(report: Report, console: Console) -> None:
    """Print a report.

    Parameters
    ----------
    report
        What a check found.
    console
        Where to; nothing from the bundle is taken for markup or reaches it as a control character.
    """
    _Terminal(console).show(summarise(report))


class _Terminal:
    """A console that gets nothing but plain text which its encoding can hold."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def show(self, summary: Summary) -> None:
        """Print all of it."""
        self._print(summary.name, "bold")
        self._print(summary.bundle, "dim")
        self._print()
        for program in summary.programs:
            self._print(program.sentence, VERDICT_STYLES[program.verdict])
            if program.conditions:
                self._print(f"  {program.conditions}", "dim")
        self._print()
        if summary.rows:
            self._print(RULES_NOTE)
            self._matrix(summary)
            for row in summary.rows:
                self._finding(row)
        else:
            self._print(NOTHING_FOUND)
        if summary.engines:
            self._engines(summary.engines)

    def _matrix(self, summary: Summary) -> None:
        table = self._table(RULES_HEADING, *(program.name for program in summary.programs))
        for row in summary.rows:
            cells = (
                self._text(severity.value, SEVERITY_STYLES[severity]) if severity else self._text(NO_FINDING, "dim")
                for severity in row.cells
            )
            table.add_row(self._text(f"{row.title} ({row.rule})"), *cells)
        self.console.print(table)

    def _finding(self, row: Row) -> None:
        self._print()
        self._print(f"{row.title} ({row.rule})", "bold")
        for note in row.notes:
            self.console.print(self._note(note))

    def _note(self, note: Note) -> Table:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True, style="dim")
        grid.add_column(overflow="fold")
        for where, found in note.places:
            grid.add_row("  where", self._text(where))
            grid.add_row("  found", self._text(found))
        if note.more:
            grid.add_row("", f"and in {note.more} more places")
        for reason in note.reasons:
            severity = self._text(reason.severity.value, SEVERITY_STYLES[reason.severity])
            grid.add_row("  why", self._text(f"{reason.programs}, ") + severity + self._text(f": {reason.why}"))
        grid.add_row("  what to do", self._text(note.remedy, "bold"))
        return grid

    def _engines(self, engines: EngineTable) -> None:
        self._print()
        self._print(engines.sentence)
        table = self._table("engine", *engines.formats)
        for engine, cells in engines.rows:
            table.add_row(
                self._text(engine),
                *(self._text("\n".join(words), STATUS_STYLES.get(status, "dim")) for status, words in cells),
            )
        self.console.print(table)
        self._print(ENGINE_NOTE, "dim")
        for where, message in engines.messages:
            self._print()
            self._print(where, "bold")
            self._print(message)

    def _table(self, *header: str) -> Table:
        table = Table(show_lines=True)
        for name in header:
            table.add_column(self._text(name), overflow="fold")
        return table

    def _print(self, text: str = "", style: str = "") -> None:
        self.console.print(self._text(text, style))

    def _text(self, text: str, style: str = "") -> Text:
        """Plain text, "?" for what the console's encoding lacks; an ellipsis is not everywhere."""
        encoding = self.console.encoding
        return Text(text.encode(encoding, "replace").decode(encoding), style, overflow="fold")
