"""Testing a bundle: every weights format through bioimageio.core and its own engine, each in its own process."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json as json_module
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bmzpack import engines, processing
from bmzpack.bundle import unpacked
from bmzpack.engines import TensorNames
from bmzpack.engines.process import run_python
from bmzpack.errors import UserError
from bmzpack.files import new_file, refuse_existing
from bmzpack.weights import FORMATS, TOLERANCE


@dataclasses.dataclass(frozen=True)
class FormatReport:
    """How a weights format did."""

    core: str
    """`passed`, `failed`, or `unsupported` where bioimageio.core cannot run such a model in this format."""
    engine: str
    """`passed`, `failed`, or `unsupported` where there is no engine for the format."""
    max_abs_error: float | None
    """Largest difference of the engine's output from the test output, relative to the range of that output."""
    seconds: float
    """Of both tests."""
    messages: list[str]


@dataclasses.dataclass(frozen=True)
class TestReport:
    """What the test of a bundle found."""

    __test__ = False

    bundle: str
    formats: dict[str, FormatReport]

    @property
    def passed(self) -> bool:
        """Whether nothing failed, and something was run."""
        statuses = [status for report in self.formats.values() for status in (report.core, report.engine)]
        return "failed" not in statuses and "passed" in statuses

    def as_dict(self) -> dict[str, Any]:
        """As `--json` writes it."""
        formats = {name: dataclasses.asdict(report) for name, report in self.formats.items()}
        return {"bundle": self.bundle, "passed": self.passed, "formats": formats}


def test(
    bundle: str | os.PathLike[str],
    *,
    json: str | os.PathLike[str] | None = None,  # noqa: PT028
    overwrite: bool = False,  # noqa: PT028
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
    with unpacked(bundle) as folder, concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        description = _load(folder, Path(bundle))
        formats = [name for name, entry in description.weights if entry is not None]
        cores = {name: pool.submit(_timed, _core, folder, name) for name in formats}
        runs = {name: pool.submit(_timed, _engine, folder, description, name) for name in formats}
        reports = {}
        for name in formats:
            (core, core_messages), core_seconds = cores[name].result()
            (engine, error, engine_messages), engine_seconds = runs[name].result()
            messages = [*core_messages, *engine_messages]
            reports[name] = FormatReport(core, engine, error, round(core_seconds + engine_seconds, 2), messages)
    report = TestReport(str(bundle), reports)
    if json is not None:
        with new_file(json, overwrite) as path:
            path.write_text(json_module.dumps(report.as_dict(), indent=2) + "\n", encoding="utf-8")
    return report


test.__test__ = False  # pyright: ignore[reportFunctionMemberAccess] - not a test of pytest


def _load(folder: Path, bundle: Path) -> Any:
    """The description of a bundle, in the latest format."""
    from bioimageio.spec import load_description
    from bioimageio.spec.model import v0_5

    loaded = load_description(folder / "rdf.yaml", format_version="latest", perform_io_checks=False)
    if not isinstance(loaded, v0_5.ModelDescr):
        problems = [error.msg for detail in loaded.validation_summary.details for error in detail.errors]
        raise UserError(f"{bundle} is no valid bundle of a model: {'; '.join(problems[:3]) or loaded.type}")
    return loaded


def _timed(function: Any, *arguments: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    return function(*arguments), time.perf_counter() - start


def _core(folder: Path, name: str) -> tuple[str, list[str]]:
    with tempfile.TemporaryDirectory(prefix="bmzpack-") as scratch:
        result = Path(scratch, "result.json")
        try:
            run_python(["-m", "bmzpack.core_test", str(folder / "rdf.yaml"), name, str(result)], "bioimageio.core")
        except UserError as error:
            return "failed", [str(error)]
        found = json_module.loads(result.read_text(encoding="utf-8"))
    return found["status"], [f"bioimageio.core: {message}" for message in found["messages"]]


def _engine(folder: Path, description: Any, name: str) -> tuple[str, float | None, list[str]]:
    if name not in FORMATS:
        return "unsupported", None, [f"There is no engine for {name} here."]
    engine = FORMATS[name][0]
    try:
        test_tensors = {
            str(tensor.id): np.load(_local(folder, tensor.test_tensor), allow_pickle=False)
            for tensor in (*description.inputs, *description.outputs)
        }
        weights = _local(folder, description.weights[name])
        sample = processing.preprocess(description.inputs, test_tensors)
        names = TensorNames([str(tensor.id) for tensor in description.inputs], [str(t.id) for t in description.outputs])
        result = engines.run(engine, weights, [processing.arrays(sample, names.inputs)], names)
        outputs = processing.postprocess(description.outputs, result.outputs[0], sample)
    except UserError as error:
        return "failed", None, [str(error)]
    worst = 0.0
    for output in names.outputs:
        expected = test_tensors[output].astype(np.float32)
        if outputs[output].shape != expected.shape:
            return "failed", None, [f"{engine}: {output} has the shape {outputs[output].shape}, not {expected.shape}."]
        worst = max(worst, float(np.abs(outputs[output] - expected).max() / (np.ptp(expected) or 1.0)))
    if not worst <= TOLERANCE:
        return "failed", worst, [f"{engine}: the output differs by {worst:.1e} of its range from the test output."]
    return "passed", worst, []


def _local(folder: Path, file: Any) -> Path:
    """The path of a file that belongs to the bundle."""
    path = folder / Path(str(file.source)).name if file is not None else None
    if path is None or not path.is_file():
        raise UserError(f"{getattr(file, 'source', 'A test tensor')} is not in the bundle.")
    return path
