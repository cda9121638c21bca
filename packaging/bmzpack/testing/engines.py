"""The test tensors through the engines inside the programs: what came out of each, for each weights format.

An engine passes where it reproduces the test output, takes the other sizes that the description allows, and computes
there what the first engine that ran computes. What is not run, and why, says `bmzpack.testing.guard`.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bmzpack import engines
from bmzpack.bundle.contents import Facts
from bmzpack.consumers import core, fiji, ilastik, qupath
from bmzpack.consumers.findings import Finding, Report, Severity, Verdict
from bmzpack.consumers.titles import TITLES
from bmzpack.engines import Attempt, TensorNames, old, relative_error
from bmzpack.engines.matrix import Cell, Matrix
from bmzpack.errors import UserError
from bmzpack.operations import processing
from bmzpack.operations.labels import CHANNEL_NAMES, TO_LABELS, are_labels, disagreement
from bmzpack.operations.labels import TOLERANCE as TOLERANCE_OF_LABELS
from bmzpack.testing.guard import refused, refused_bundle
from bmzpack.testing.inputs import Trial, plan, seam
from bmzpack.weights import TOLERANCE, find_format

if TYPE_CHECKING:
    from bioimageio.core import Sample

CORE = "bioimageio.core"
KERAS = "Keras"
TENSORFLOW = "TensorFlow (v1 session)"
OLD_TENSORFLOW = "TensorFlow 2.10.1"
ONNX = "ONNX Runtime"
OLD_ONNX = "ONNX Runtime 1.13.1"
TORCH = "PyTorch (TorchScript)"

ENGINES = {engine.title: name for name, engine in engines.ENGINES.items()}
"""Keys of `bmzpack.engines.ENGINES` by their titles."""
ROWS = [CORE, *ENGINES]
TODAY = [CORE, *(engine.title for engine in engines.ENGINES.values() if engine.version is None)]
LONGEST = 900.0
"""Seconds that a process of an engine may take."""
SEAM = 1e-3
"""Difference at the seams of tiles, relative to the range of the output, that nobody sees: a quarter of a grey value
in 8 bit."""

BACKED_BY = {
    "fiji": {
        "tensorflow_saved_model_bundle": (OLD_TENSORFLOW, TENSORFLOW),
        "onnx": (OLD_ONNX, ONNX),
        "torchscript": (TORCH,),
    },
    "ilastik": {"torchscript": (TORCH,), "pytorch_state_dict": (CORE,)},
    "qupath": {"torchscript": (TORCH,), "tensorflow_saved_model_bundle": (TENSORFLOW,), "onnx": (ONNX,)},
    "core": dict.fromkeys(core.FORMATS, (CORE,)),
}
"""The engine that a program runs a format with: of several the first that was run."""
ORDERS: dict[str, Sequence[str]] = {
    "fiji": fiji.ORDER,
    "ilastik": ilastik.ORDER,
    "qupath": qupath.ORDER,
    "core": (
        "pytorch_state_dict",
        "tensorflow_saved_model_bundle",
        "torchscript",
        "onnx",
        "keras_v3",
        "keras_hdf5",
    ),
}
"""Formats in the order in which a program takes them; that of bioimageio.core is its
DEFAULT_WEIGHT_FORMAT_PRIORITY_ORDER, and where a format cannot be loaded it goes on to the next."""


def prove_folder(folder: Path, description: Path, *, trust: bool = False) -> Matrix:
    """Run the test tensors of an unpacked bundle through all engines.

    Parameters
    ----------
    folder
        Of the bundle.
    description
        The rdf.yaml in it.
    trust
        Whether Python code of the bundle may be executed: Lambda layers, networks of pytorch_state_dict.

    Returns
    -------
    Matrix
        Every engine with every format that it runs.

    Raises
    ------
    UserError
        The description is no YAML, or made to harm.
    """
    return prove(Facts(folder, description), rows=ROWS, trust=trust)


def prove(facts: Facts, *, rows: Sequence[str], trust: bool = False, sizes: bool = True) -> Matrix:
    """Run the test tensors of a bundle through engines.

    Parameters
    ----------
    facts
        Of the bundle.
    rows
        Of `ROWS`.
    trust
        Whether Python code of the bundle may be executed.
    sizes
        Whether to run other sizes and tiles as well.
    """
    formats = list(facts.weights)
    cells: dict[tuple[str, str], Cell] = {}
    for row in rows:
        for name in formats:
            if row == CORE or _runs(row, name):
                try:
                    cells[row, name] = Cell("unsupported", message=_unsupported(facts, row, name, trust))
                except UserError as error:
                    cells[row, name] = Cell("failed", message=str(error))
    runnable = {key for key, cell in cells.items() if not cell.message}
    if runnable:
        try:
            tensors = {tensor.id: np.load(_test(facts, tensor), allow_pickle=False) for tensor in facts.tensors}
            given = _Given(facts, tensors, sizes)
        except Exception as error:  # whatever bioimageio.core says of the processing of a stranger's bundle
            told = Cell("unsupported", message=f"The test tensors cannot be processed: {_line(error)}")
            cells |= dict.fromkeys(runnable, told)
        else:
            cells |= _run(given, [key for key in cells if key in runnable], trust)
    return Matrix([row for row in rows if any(key[0] == row for key in cells)], formats, cells)


def backed(report: Report, matrix: Matrix) -> Report:
    """Add to a report what the engines of its programs say, and the matrix.

    Parameters
    ----------
    report
        What the rules found.
    matrix
        Of the same bundle.

    Returns
    -------
    Report
        With findings E1, the engine does not reproduce the test output, and R7, tiles have seams.
    """
    consumers = {}
    for consumer, verdict in report.consumers.items():
        more = list(_findings(consumer, matrix))
        order = list(Severity)
        findings = sorted([*verdict.findings, *more], key=lambda finding: order.index(finding.severity))
        consumers[consumer] = Verdict(findings)
    return dataclasses.replace(report, consumers=consumers, matrix=matrix)


def _findings(consumer: str, matrix: Matrix) -> list[Finding]:
    found = []
    ran: list[tuple[str, str, Cell]] = []
    for name in ORDERS[consumer]:
        for row in BACKED_BY[consumer].get(name, ()):
            cell = matrix.cells.get((row, name))
            if cell and cell.status in ("passed", "failed"):
                ran.append((name, row, cell))
                break
    loads = [name for name, _, cell in ran if cell.max_abs_error is not None]
    taken = loads[0] if loads and consumer == "core" else ran[0][0] if ran else None
    for name, row, cell in ran:
        first = name == taken
        if cell.status == "failed":
            wrong = cell.max_abs_error is not None
            severity = Severity.WRONG_RESULT if wrong else Severity.CANNOT_OPEN
            found.append(
                Finding(
                    rule="E1",
                    severity=severity if first else Severity.ADVICE,
                    where=f"weights.{name}",
                    found=cell.message,
                    why=f"{row} was run with the test tensors, as this program would.",
                    remedy="Write the weights anew (`bmzpack repair` converts Keras files), or the test tensors with "
                    "the network's own input and output.",
                    title=TITLES["E1"],
                )
            )
        elif cell.seam is not None and not cell.seam <= SEAM:
            found.append(
                Finding(
                    rule="R7",
                    severity=Severity.DEGRADED if first else Severity.ADVICE,
                    where="outputs",
                    found=f"Tiles of an image differ from the whole image by up to {cell.seam:.1e} of the output's "
                    f"range, the declared halo cut off ({name} in {row}).",
                    why="Large images are computed in tiles, and what is cut off them is the halo that the output "
                    "declares.",
                    remedy="Declare half the width of the network's receptive field as the halo, rounded up to the "
                    "step of the sizes.",
                    title=TITLES["R7"],
                )
            )
    return found


class _Given:
    """What the engines are given, and what is expected of them."""

    def __init__(self, facts: Facts, tensors: dict[str, np.ndarray], sizes: bool) -> None:
        self.facts = facts
        self.tensors = tensors
        self.inputs, self.outputs = _entries(facts)
        self.names = TensorNames([tensor.id for tensor in facts.inputs], [tensor.id for tensor in facts.outputs])
        members: dict[Any, Any] = dict(self._sample().members)
        given = {name: _fed(np.asarray(members[name].data)) for name in self.names.inputs}
        self.trial = plan(facts, given) if sizes else Trial([given])
        channels = [axis.channel_names for tensor in facts.outputs for axis in tensor.axes if axis.id == "channel"]
        self.labels = channels == [CHANNEL_NAMES] and are_labels(tensors[self.names.outputs[0]])
        self.tolerance = TOLERANCE_OF_LABELS if self.labels else TOLERANCE

    def error(self, outputs: Mapping[str, np.ndarray]) -> float:
        """Largest difference from the test outputs, relative to their range; of labels, how many pixels differ.

        Raises
        ------
        UserError
            They have another shape.
        """
        found = processing.postprocess(self.outputs, outputs, self._sample())
        errors = []
        for name, output in found.items():
            expected = self.tensors[name]
            if output.shape != expected.shape:
                raise UserError(
                    f"The engine gives {name} the shape {output.shape}, the test tensor has {expected.shape}."
                )
            errors.append(disagreement(output, expected) if self.labels else relative_error(output, expected))
        return float(np.max(errors))

    def _sample(self) -> Sample:
        return processing.preprocess(self.inputs, self.tensors)


def _runs(row: str, name: str) -> bool:
    """Whether an engine, or its older version, is that of a weights format."""
    form = find_format(name)
    if form is None or form.engine is None:
        return False
    return engines.ENGINES[ENGINES[row]].framework == engines.ENGINES[form.engine].framework


def _unsupported(facts: Facts, row: str, name: str, trust: bool) -> str:
    """Why a format is not given to an engine, or an empty text."""
    if row == CORE:
        if name not in core.FORMATS:
            return f"bioimageio.core does not run {name}."
        if obstacle := core.obstacle(name, len(facts.inputs), len(facts.outputs)):
            return obstacle
    return refused_bundle(facts, trust) or refused(facts, name, trust) or ""


def _run(given: _Given, keys: Sequence[tuple[str, str]], trust: bool) -> dict[tuple[str, str], Cell]:
    """The cells of all engines and formats that can be run."""
    cells: dict[tuple[str, str], Cell] = {}
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row, name in keys:
        form = find_format(name)
        assert form is not None  # others are not run
        if form.missing:
            cells[row, name] = Cell("absent", message=f"{form.package} is not installed: {form.missing}.")
            continue
        environment = row if row not in TODAY or row == CORE else "today"
        groups.setdefault((environment, form.process), []).append((row, name))
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        futures = [pool.submit(_attempts, given, group, trust) for group in groups.values()]
        try:
            attempts = {key: attempt for future in futures for key, attempt in future.result().items()}
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    reference = _reference(attempts)
    for key, attempt in attempts.items():
        cells[key] = attempt if isinstance(attempt, Cell) else _judged(given, attempt, reference, key)
    return cells


def _attempts(given: _Given, keys: Sequence[tuple[str, str]], trust: bool) -> dict[tuple[str, str], Attempt | Cell]:
    """Run a group in one process, or each alone where that crashes."""
    rows = {row for row, _ in keys}
    for engine in [engines.ENGINES[ENGINES[row]] for row in rows if row != CORE]:
        if engine.version:
            try:
                old.python(engine.framework, engine.version)
            except UserError as error:
                return dict.fromkeys(keys, Cell("absent", message=str(error)))
    try:
        run = _by_core if CORE in rows else _by_engines
        return dict(zip(keys, run(given, keys, trust), strict=True))
    except UserError as error:
        if len(keys) == 1:
            return {keys[0]: Cell("failed", message=str(error))}
        return {key: cell for key in keys for cell in _attempts(given, [key], trust).values()}


def _by_engines(given: _Given, keys: Sequence[tuple[str, str]], trust: bool) -> list[Attempt]:
    files = [(ENGINES[row], _weights(given.facts, name)) for row, name in keys]
    return engines.attempt_files(files, given.trial.entries, given.names, trust=trust, seconds=LONGEST)


def _by_core(given: _Given, keys: Sequence[tuple[str, str]], trust: bool) -> list[Attempt]:
    rdf = str((given.facts.root / given.facts.file).resolve())
    jobs = [{"rdf": rdf, "format": name, "name": _weights(given.facts, name).name, "trust": trust} for _, name in keys]
    with tempfile.TemporaryDirectory(prefix="bmzpack-") as folder:
        return engines.run_worker(
            ["-m", "bmzpack.testing.core_process"],
            "bioimageio.core failed",
            Path(folder),
            jobs,
            given.trial.entries,
            given.names,
            seconds=LONGEST,
        )


def _reference(attempts: Mapping[tuple[str, str], Attempt | Cell]) -> tuple[tuple[str, str], Attempt] | None:
    """The first engine that took all sizes, else the first that ran; those inside Fiji come last."""
    rows = sorted(ENGINES, key=lambda row: row not in TODAY)
    ran = [(key, attempts[key]) for row in rows for key in attempts if key[0] == row]
    found = [(key, attempt) for key, attempt in ran if isinstance(attempt, Attempt) and attempt.seconds is not None]
    whole = [(key, attempt) for key, attempt in found if not isinstance(attempt.result(), UserError)]
    return next(iter([*whole, *found]), None)


def _judged(
    given: _Given, attempt: Attempt, reference: tuple[tuple[str, str], Attempt] | None, key: tuple[str, str]
) -> Cell:
    """What an engine's outputs are worth."""
    messages = list(attempt.messages)
    status = attempt.status or "passed"
    first = attempt.outputs[0]
    error = None
    if isinstance(first, UserError):
        if attempt.status != "passed":
            status = "failed"
        if not messages:
            messages.append(str(first))
        return Cell(status, message=" ".join(messages))  # pyright: ignore[reportArgumentType]
    try:
        error = given.error(first)
    except UserError as problem:
        return Cell("failed", seconds=attempt.seconds, message=" ".join([*messages, _line(problem)]))
    except ImportError as problem:
        packages = [TO_LABELS.get(step.id, "") for tensor in given.facts.outputs for step in tensor.operations]
        remedy = f": pip install {' '.join(filter(None, packages))}." if any(packages) else "."
        return Cell("absent", message=f"The output cannot be processed here ({_line(problem)}){remedy}")
    except Exception as problem:  # whatever bioimageio.core says of the processing of a stranger's bundle
        return Cell("unsupported", seconds=attempt.seconds, message=f"The output cannot be processed: {_line(problem)}")
    # bioimageio.core has a tolerance of its own, which the bundle may set
    if attempt.status is None and not error <= given.tolerance:
        status = "failed"
        part = "the objects' pixels" if given.labels else "its range"
        messages.append(f"The engine's output differs from the test tensor by {error:.1e} of {part}.")
    problems = _at_other_sizes(given, attempt, reference, key)
    if problems:
        status = "failed"
    found = None if given.labels else seam(given.facts, given.trial, attempt.outputs)
    if found is not None and not found <= SEAM:
        problems.append(f"Tiles differ from the whole image by {found:.1e} of its range: the halo is too small.")
    message = " ".join([*messages, *problems])
    return Cell(status, error, attempt.seconds, message, found)  # pyright: ignore[reportArgumentType]


def _at_other_sizes(
    given: _Given, attempt: Attempt, reference: tuple[tuple[str, str], Attempt] | None, key: tuple[str, str]
) -> list[str]:
    """What goes wrong with the entries besides the test input."""
    problems, trial = [], given.trial
    for number in range(1, len(trial.entries)):
        output = attempt.outputs[number]
        if isinstance(output, UserError):
            return [*problems, str(output)]
        if reference is None or reference[0] == key:
            continue
        expected = reference[1].outputs[number]
        if isinstance(expected, UserError):
            continue
        shapes = ", ".join("x".join(map(str, array.shape)) for array in trial.entries[number].values())
        other = f"{reference[0][0]} ({reference[0][1]})"
        for name, array in expected.items():
            if output[name].shape != array.shape:
                return [f"With an input of {shapes} it gives {name} another shape than {other}."]
            labels = given.labels and are_labels(array)
            difference = disagreement(output[name], array) if labels else relative_error(output[name], array)
            if not difference <= (TOLERANCE_OF_LABELS if labels else TOLERANCE):
                part = "the objects' pixels" if labels else "the range"
                return [f"With an input of {shapes} it differs from {other} by {difference:.1e} of {part}."]
    return problems


def _entries(facts: Facts) -> tuple[Sequence[Any], Sequence[Any]]:
    """Inputs and outputs as `bmzpack.operations.processing` takes them."""
    if not facts.is_old:
        return [_without_halo(entry) for entry in facts.rdf["inputs"]], [
            _without_halo(entry) for entry in facts.rdf["outputs"]
        ]
    from bmzpack.testing.test import load

    with warnings.catch_warnings():
        # it says what it guesses when it brings a description to the latest format
        warnings.simplefilter("ignore")
        description = load(facts.root, facts.root / facts.file)
    return description.inputs, description.outputs


def _without_halo(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Processing does not depend on the halo, and a wrong one shall not keep a network from being run."""
    axes = [{key: value for key, value in axis.items() if key != "halo"} for axis in entry["axes"]]
    return dict(entry) | {"axes": axes}


def _fed(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32) if array.dtype == np.float64 else np.ascontiguousarray(array)


def _test(facts: Facts, tensor: Any) -> Path:
    path = facts.local(tensor.test)
    if path is None:
        raise UserError(f"{tensor.test} is not in the bundle.")
    return path


def _weights(facts: Facts, name: str) -> Path:
    path = facts.weights_file(name)
    if path is None:
        raise UserError(f"{facts.weights[name].source} is not in the bundle.")
    return path


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
