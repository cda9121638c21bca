"""What a run of a bundle's test tensors gave: engines x weights formats."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal


@dataclasses.dataclass(frozen=True)
class Cell:
    """How an engine did with a weights format."""

    status: Literal["passed", "failed", "unsupported", "absent"]
    """`unsupported` where the engine cannot run such a model, `absent` where the engine is not installed."""
    max_abs_error: float | None = None
    """Largest difference from the test output, relative to the range of the test output."""
    seconds: float | None = None
    """Duration of one call with the test input."""
    message: str = ""
    """What went wrong, or why it was not run."""
    seam: float | None = None
    """Largest difference between tiles and the whole image, relative to its range; None where nothing was tiled."""


@dataclasses.dataclass(frozen=True)
class Matrix:
    """How all engines did with all weights formats of a bundle."""

    engines: list[str]
    formats: list[str]
    cells: dict[tuple[str, str], Cell]
    """By engine and format; where there is none, the engine is not for this format."""

    @property
    def passed(self) -> bool:
        """Whether nothing failed, and something was run."""
        statuses = [cell.status for cell in self.cells.values()]
        return "failed" not in statuses and "passed" in statuses

    def as_dict(self) -> dict[str, Any]:
        """As `--json` writes it; JSON has no infinity and no NaN, so that such an error is null."""
        engines = {
            engine: {
                format_: _finite(dataclasses.asdict(self.cells[engine, format_]))
                for format_ in self.formats
                if (engine, format_) in self.cells
            }
            for engine in self.engines
        }
        return {"passed": self.passed, "engines": engines}


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
