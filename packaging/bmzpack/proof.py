"""Testing a bundle: every weights format through bioimageio.core and its own engine, each in its own process."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json as json_module
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bmzpack import engines, processing
from bmzpack.bundle import unpacked
from bmzpack.engines import TensorNames
from bmzpack.engines.process import run_python
from bmzpack.errors import UserError
from bmzpack.files import new_file, refuse_existing
from bmzpack.weights import FORMATS, TOLERANCE

if TYPE_CHECKING:
    from bioimageio.spec.model.v0_5 import ModelDescr

TOGETHER = (
    ("keras_v3", "keras_hdf5", "tensorflow_saved_model_bundle"),
    ("onnx",),
    ("torchscript", "pytorch_state_dict"),
)
"""Formats that share a process, as importing a framework takes long; TensorFlow and torch in one process abort."""


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
    """Of the test by bioimageio.core."""
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
        description = load(folder, Path(bundle))
        formats = [name for name, entry in description.weights if entry is not None]
        groups = [[name for name in formats if name in group] for group in TOGETHER]
        groups += [[name] for name in formats if not any(name in group for group in TOGETHER)]
        cores = [pool.submit(_core, folder, group) for group in groups if group]
        runs = [pool.submit(_engine, folder, description, group) for group in groups if group]
        try:
            core = {name: found for future in cores for name, found in future.result().items()}
            engine = {name: found for future in runs for name, found in future.result().items()}
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    reports = {
        name: FormatReport(
            core=core[name]["status"],
            engine=engine[name]["status"],
            max_abs_error=engine[name].get("max_abs_error"),
            seconds=core[name]["seconds"],
            messages=[*core[name]["messages"], *engine[name]["messages"]],
        )
        for name in formats
    }
    report = TestReport(str(bundle), reports)
    if json is not None:
        with new_file(json, overwrite) as path:
            path.write_text(json_module.dumps(report.as_dict(), indent=2) + "\n", encoding="utf-8")
    return report


test.__test__ = False  # pyright: ignore[reportFunctionMemberAccess] - not a test of pytest


def load(folder: Path, bundle: Path) -> ModelDescr:
    """The description of a bundle, in the latest format.

    Raises
    ------
    UserError
        It is not valid, or of no model.
    """
    from bioimageio.spec import load_description
    from bioimageio.spec.model import v0_5

    loaded = load_description(folder / "rdf.yaml", format_version="latest", perform_io_checks=False)
    if not isinstance(loaded, v0_5.ModelDescr):
        problems = [error.msg for detail in loaded.validation_summary.details for error in detail.errors]
        raise UserError(f"{bundle} is no valid bundle of a model: {'; '.join(problems[:3]) or loaded.type}")
    return loaded


def _core(folder: Path, formats: list[str]) -> dict[str, dict[str, Any]]:
    """Statuses, seconds and messages by weights format."""
    with tempfile.TemporaryDirectory(prefix="bmzpack-") as scratch:
        result = Path(scratch, "result.json")
        crash = ""
        try:
            run_python(["-m", "bmzpack.core_test", str(folder / "rdf.yaml"), str(result), *formats], "bioimageio.core")
        except UserError as error:
            crash = str(error)
        found = json_module.loads(result.read_text(encoding="utf-8")) if result.is_file() else {}
    return {name: {"status": "failed", "seconds": 0.0, "messages": [crash]} for name in formats} | found


def _engine(folder: Path, description: Any, formats: list[str]) -> dict[str, dict[str, Any]]:
    """Statuses, errors and messages by weights format."""
    names = TensorNames([str(tensor.id) for tensor in description.inputs], [str(t.id) for t in description.outputs])
    try:
        test_tensors = {
            str(tensor.id): np.load(_local(folder, tensor.test_tensor), allow_pickle=False)
            for tensor in (*description.inputs, *description.outputs)
        }
        files = {
            name: (FORMATS[name][0], _local(folder, description.weights[name])) for name in formats if name in FORMATS
        }
        sample = processing.preprocess(description.inputs, test_tensors)
        given = [processing.arrays(sample, names.inputs)]
        results = dict(zip(files, engines.run_files(list(files.values()), given, names), strict=True)) if files else {}
    except UserError as error:
        return {name: {"status": "failed", "messages": [str(error)]} for name in formats}
    unsupported = {"status": "unsupported", "messages": ["There is no engine for this format here."]}
    found = dict.fromkeys(formats, unsupported)
    for name, result in results.items():
        if isinstance(result, UserError):
            found[name] = {"status": "failed", "messages": [str(result)]}
            continue
        sample = processing.preprocess(description.inputs, test_tensors)
        outputs = processing.postprocess(description.outputs, result.outputs[0], sample)
        found[name] = _compared(outputs, test_tensors)
    return found


def _compared(outputs: dict[str, np.ndarray], test_tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    worst = 0.0
    for name, output in outputs.items():
        expected = test_tensors[name].astype(np.float32)
        if output.shape != expected.shape:
            message = f"The engine gives {name} the shape {output.shape}, the test tensor has {expected.shape}."
            return {"status": "failed", "messages": [message]}
        worst = max(worst, float(np.abs(output - expected).max() / (np.ptp(expected) or 1.0)))
    if not worst <= TOLERANCE:
        message = f"The engine's output differs from the test tensor by {worst:.1e} of its range."
        return {"status": "failed", "max_abs_error": worst, "messages": [message]}
    return {"status": "passed", "max_abs_error": worst, "messages": []}


def _local(folder: Path, file: Any) -> Path:
    """The path of a file that belongs to the bundle."""
    path = folder / Path(str(file.source)).name if file is not None else None
    if path is None or not path.is_file():
        raise UserError(f"{getattr(file, 'source', 'A test tensor')} is not in the bundle.")
    return path
