"""How the bundle of a run is opened in each program."""

from __future__ import annotations

from bmzpack.consumers.registry import programs
from kerazoo.exporting.texts import title
from kerazoo.runs.run import Run


def opening(run: Run) -> dict[str, str]:
    """The steps to open the bundle of a run, by program; Markdown with `code` and *menus*."""
    name = title(run.config)
    return {key: program.opening.replace("{name}", name) for key, program in programs().items()}
