"""Testing a bundle: every weights format through bioimageio.core and its own engine, each in its own process."""

from __future__ import annotations

import dataclasses
import json as json_module
import os
from pathlib import Path
from typing import Any

from bmzpack.bundle.archive import unpacked
from bmzpack.bundle.contents import Contents
from bmzpack.bundle.specification import load_model, remote_files
from bmzpack.engines.matrix import Cell, Matrix
from bmzpack.engines.rows import CORE, TODAY
from bmzpack.errors import harmless
from bmzpack.files import new_file, refuse_existing
from bmzpack.testing.run import run_engines


@dataclasses.dataclass(frozen=True)
class FormatReport:
    """How a weights format did."""

    core: str
    """`passed`, `failed`, `unsupported` where bioimageio.core cannot run such a model in this format or it is not run
    for safety, or `absent` where the framework is not installed."""
    engine: str
    """The same of the format's own engine; `unsupported` also where there is none."""
    max_abs_error: float | None
    """Largest difference of the engine's output from the test output, relative to the range of that output."""
    seconds: float
    """Time of one run by bioimageio.core with the test input, or by the engine where that is not possible."""
    messages: list[str]


@dataclasses.dataclass(frozen=True)
class TestReport:
    """What the test of a bundle found."""

    __test__ = False

    bundle: str
    formats: dict[str, FormatReport]
    remote: list[str] = dataclasses.field(default_factory=list)
    """Addresses of attachments, covers and sample tensors that lie elsewhere: nothing is fetched."""

    @property
    def passed(self) -> bool:
        """Whether nothing failed, and something was run."""
        statuses = [status for report in self.formats.values() for status in (report.core, report.engine)]
        return "failed" not in statuses and "passed" in statuses

    def as_dict(self) -> dict[str, Any]:
        """As `--json` writes it."""
        formats = {name: dataclasses.asdict(report) for name, report in self.formats.items()}
        return {"bundle": self.bundle, "passed": self.passed, "formats": formats, "remote": self.remote}


def test(
    bundle: str | os.PathLike[str],
    *,
    json: str | os.PathLike[str] | None = None,  # noqa: PT028
    overwrite: bool = False,  # noqa: PT028
    trust: bool = False,  # noqa: PT028
) -> TestReport:
    """Test every weights format of a bundle.

    Parameters
    ----------
    bundle
        A bundle's ``.zip``, its folder, or the ``rdf.yaml`` in it.
    json
        Where to write the report.
    overwrite
        Whether an existing report may be replaced.
    trust
        Whether Python code of the bundle may be executed.

    Returns
    -------
    TestReport
        By weights format: whether bioimageio.core reproduces the test outputs and takes other sizes, and whether the
        format's own engine reproduces them.

    Raises
    ------
    UserError
        There is no bundle, its description is not valid, or the report cannot be written.
    """
    if json is not None:
        refuse_existing(Path(json), overwrite)
    with unpacked(bundle) as folder:
        load_model(folder, Path(bundle))
        contents = Contents(folder, folder / "rdf.yaml")
        matrix = run_engines(contents, rows=TODAY, trust=trust, sizes=False)
        missing = {name for name in matrix.formats if contents.weights_file(name) is None}
        remote = [harmless(address) for address in remote_files(contents.rdf)]
    formats = {name: _report(matrix, name, name in missing) for name in matrix.formats}
    report = TestReport(str(bundle), formats, remote)
    if json is not None:
        with new_file(json, overwrite) as path:
            path.write_text(json_module.dumps(report.as_dict(), indent=2) + "\n", encoding="utf-8")
    return report


test.__test__ = False  # pyright: ignore[reportFunctionMemberAccess] - not a test of pytest


def _report(matrix: Matrix, name: str, missing: bool) -> FormatReport:
    core = matrix.cells[CORE, name]
    none = Cell("unsupported", message="There is no engine for this format here.")
    engine = next(
        (matrix.cells[row, name] for row in matrix.engines if row != CORE and (row, name) in matrix.cells), none
    )
    seconds = core.seconds if core.seconds is not None else engine.seconds
    return FormatReport(
        core="failed" if missing else core.status,
        engine="failed" if missing else engine.status,
        max_abs_error=engine.max_abs_error,
        seconds=round(seconds or 0.0, 4),
        messages=list(dict.fromkeys(message for message in (core.message, engine.message) if message)),
    )
