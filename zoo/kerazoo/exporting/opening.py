"""How the bundle of a run is opened in each program."""

from __future__ import annotations

from bmzpack.describe.documentation import OPENING
from kerazoo.exporting.texts import title
from kerazoo.runs.run import Run


def opening(run: Run) -> dict[str, str]:
    """The steps to open the bundle of a run, by program; Markdown with `code` and *menus*."""
    name = title(run.config)
    return {program: text.replace("{name}", name) for program, text in OPENING.items()}
