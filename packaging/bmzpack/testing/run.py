"""The test tensors through the engines inside the programs: what came out of each, for each weights format.

===========================  =============================  ========================
engine (row of the matrix)   weights formats                process
===========================  =============================  ========================
bioimageio.core              all that it runs               one per framework
Keras                        keras_v3, keras_hdf5           together with TensorFlow
TensorFlow (v1 session)      tensorflow_saved_model_bundle  together with Keras
TensorFlow 2.10.1            tensorflow_saved_model_bundle  a Python 3.10 of its own
ONNX Runtime                 onnx                           its own
ONNX Runtime 1.13.1          onnx                           a Python 3.10 of its own
PyTorch (TorchScript)        torchscript                    its own
===========================  =============================  ========================

Which of them stands for which program says its `Consumer`. What is not run, and why, says `bmzpack.engines.guard`; what
the outputs are worth, `bmzpack.testing.judge`; what a verdict takes from it, `bmzpack.testing.evidence`.
"""

from __future__ import annotations

import concurrent.futures
import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bmzpack import engines
from bmzpack.bundle.contents import Contents
from bmzpack.bundle.described import DescribedTensor
from bmzpack.consumers import core
from bmzpack.engines import Attempt, old
from bmzpack.engines.guard import refused, refused_bundle
from bmzpack.engines.matrix import Cell, Matrix
from bmzpack.engines.rows import CORE, ENGINES, KERAS, ROWS, TENSORFLOW
from bmzpack.errors import UserError
from bmzpack.testing.judge import Expectation, first_line, judge, reference_of

FRAMEWORKS = {
    "keras_v3": "tensorflow",
    "keras_hdf5": "tensorflow",
    "tensorflow_saved_model_bundle": "tensorflow",
    "onnx": "onnx",
    "torchscript": "torch",
    "pytorch_state_dict": "torch",
}
"""Formats of one framework share a process, as importing it takes long; TensorFlow and torch in one process abort. A
format that is not here has a process of its own."""
LONGEST = 900.0
"""Seconds that a process of an engine may take."""


def run_engines(
    contents: Contents, *, rows: Sequence[str] | None = None, trust: bool = False, sizes: bool = True
) -> Matrix:
    """Run the test tensors of a bundle through engines.

    Parameters
    ----------
    contents
        The unpacked bundle.
    rows
        Engines, of `bmzpack.engines.rows`; all by default.
    trust
        Whether Python code of the bundle may be executed: Lambda layers, networks of pytorch_state_dict.
    sizes
        Whether to run other sizes and tiles as well.

    Returns
    -------
    Matrix
        Every engine with every format of the bundle that it runs.
    """
    rows = ROWS if rows is None else rows
    formats = list(contents.weights)
    cells: dict[tuple[str, str], Cell] = {}
    for row in rows:
        for name in formats:
            if row == CORE or name in engines.FORMATS[ENGINES[row]]:
                try:
                    cells[row, name] = Cell("unsupported", message=_unsupported(contents, row, name, trust))
                except UserError as error:
                    cells[row, name] = Cell("failed", message=str(error))
    runnable = {key for key, cell in cells.items() if not cell.message}
    if runnable:
        try:
            tensors = {tensor.id: np.load(_test(contents, tensor), allow_pickle=False) for tensor in contents.tensors}
            expectation = Expectation(contents, tensors, sizes)
        except Exception as error:  # whatever bioimageio.core says of the processing of a stranger's bundle
            cell = Cell("unsupported", message=f"The test tensors cannot be processed: {first_line(error)}")
            cells |= dict.fromkeys(runnable, cell)
        else:
            cells |= _run(expectation, [key for key in cells if key in runnable], trust)
    return Matrix([row for row in rows if any(key[0] == row for key in cells)], formats, cells)


def _unsupported(contents: Contents, row: str, name: str, trust: bool) -> str:
    """Why an engine does not run a format, or an empty text."""
    if row == CORE:
        if name not in core.ORDER:
            return f"bioimageio.core does not run {name}."
        if obstacle := core.obstacle(name, len(contents.inputs), len(contents.outputs)):
            return obstacle
    return refused_bundle(contents, trust) or refused(contents, name, trust) or ""


def _run(expectation: Expectation, keys: Sequence[tuple[str, str]], trust: bool) -> dict[tuple[str, str], Cell]:
    """The cells of all engines and formats that can be run."""
    cells: dict[tuple[str, str], Cell] = {}
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row, name in keys:
        if name in ("torchscript", "pytorch_state_dict") and importlib.util.find_spec("torch") is None:
            cells[row, name] = Cell("absent", message="torch is not installed: pip install kerazoo[torch].")
            continue
        process = "Keras and TensorFlow" if row in (KERAS, TENSORFLOW) else row
        groups.setdefault((process, FRAMEWORKS.get(name, name)), []).append((row, name))
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        futures = [pool.submit(_attempts, expectation, group, trust) for group in groups.values()]
        try:
            attempts = {key: attempt for future in futures for key, attempt in future.result().items()}
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    reference = reference_of(attempts)
    for key, attempt in attempts.items():
        cells[key] = attempt if isinstance(attempt, Cell) else judge(expectation, attempt, reference, key)
    return cells


def _attempts(
    expectation: Expectation, keys: Sequence[tuple[str, str]], trust: bool
) -> dict[tuple[str, str], Attempt | Cell]:
    """Run a group in one process, or each alone where that crashes."""
    rows = {row for row, _ in keys}
    for engine in rows:
        name, _, version = ENGINES.get(engine, "").partition("-")
        if version:
            try:
                old.python(name, version)
            except UserError as error:
                return dict.fromkeys(keys, Cell("absent", message=str(error)))
    try:
        run = _by_core if CORE in rows else _by_engines
        return dict(zip(keys, run(expectation, keys, trust), strict=True))
    except UserError as error:
        if len(keys) == 1:
            return {keys[0]: Cell("failed", message=str(error))}
        return {key: cell for key in keys for cell in _attempts(expectation, [key], trust).values()}


def _by_engines(expectation: Expectation, keys: Sequence[tuple[str, str]], trust: bool) -> list[Attempt]:
    files = [(ENGINES[row], _weights(expectation.contents, name)) for row, name in keys]
    return engines.attempt_files(files, expectation.inputs.entries, expectation.names, trust=trust, seconds=LONGEST)


def _by_core(expectation: Expectation, keys: Sequence[tuple[str, str]], trust: bool) -> list[Attempt]:
    rdf = str((expectation.contents.root / expectation.contents.file).resolve())
    jobs = [
        {"rdf": rdf, "format": name, "name": _weights(expectation.contents, name).name, "trust": trust}
        for _, name in keys
    ]
    with tempfile.TemporaryDirectory(prefix="bmzpack-") as folder:
        return engines.run_worker(
            ["-m", "bmzpack.testing.core_process"],
            "bioimageio.core failed",
            Path(folder),
            jobs,
            expectation.inputs.entries,
            expectation.names,
            seconds=LONGEST,
        )


def _test(contents: Contents, tensor: DescribedTensor) -> Path:
    path = contents.local(tensor.test)
    if path is None:
        raise UserError(f"{tensor.test} is not in the bundle.")
    return path


def _weights(contents: Contents, name: str) -> Path:
    path = contents.weights_file(name)
    if path is None:
        raise UserError(f"{contents.weights[name].source} is not in the bundle.")
    return path
