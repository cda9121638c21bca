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

Which of them stands for which program says its `Consumer`. What is not run, and why, says `bmzpack.testing.guard`; what
the outputs are worth, `bmzpack.testing.judge`; what a verdict takes from it, `bmzpack.testing.evidence`.
"""

from __future__ import annotations

import concurrent.futures
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bmzpack import engines
from bmzpack.bundle.contents import Contents
from bmzpack.bundle.described import DescribedTensor
from bmzpack.consumers.registry import CONSUMERS
from bmzpack.engines import Attempt, old
from bmzpack.engines.matrix import Cell, Matrix
from bmzpack.engines.rows import CORE, ENGINES, ROWS, TODAY
from bmzpack.errors import UserError
from bmzpack.testing.foreign import attempt_core, attempt_formats
from bmzpack.testing.guard import refused, refused_bundle
from bmzpack.testing.judge import Expectation, first_line, judge, reference_of
from bmzpack.weights import find_format

LONGEST = 900.0
"""Seconds that all engines together may take."""


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
            if row == CORE or _runs(row, name):
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


def _runs(row: str, name: str) -> bool:
    """Whether an engine, or its older version, is that of a weights format."""
    form = find_format(name)
    if form is None or form.engine is None:
        return False
    return engines.ENGINES[ENGINES[row]].framework == engines.ENGINES[form.engine].framework


def _unsupported(contents: Contents, row: str, name: str, trust: bool) -> str:
    """Why an engine does not run a format, or an empty text."""
    obstacle = None
    if row == CORE:
        obstacle = CONSUMERS["core"].obstacle(name, len(contents.inputs), len(contents.outputs))
    return obstacle or refused_bundle(contents, trust) or refused(contents, name, trust) or ""


def _run(expectation: Expectation, keys: Sequence[tuple[str, str]], trust: bool) -> dict[tuple[str, str], Cell]:
    """The cells of all engines and formats that can be run."""
    cells: dict[tuple[str, str], Cell] = {}
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row, name in keys:
        form = find_format(name)
        if form and form.missing:
            cells[row, name] = Cell("absent", message=f"{form.package} is not installed: {form.missing}.")
            continue
        environment = row if row not in TODAY or row == CORE else "today"
        groups.setdefault((environment, form.process if form else name), []).append((row, name))
    end = time.monotonic() + LONGEST
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        futures = [pool.submit(_attempts, expectation, group, trust, end) for group in groups.values()]
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
    expectation: Expectation, keys: Sequence[tuple[str, str]], trust: bool, end: float
) -> dict[tuple[str, str], Attempt | Cell]:
    """Run a group in one process, or each alone where that crashes."""
    logging.getLogger("bmzpack").info("running %s", ", ".join(f"{name} in {row}" for row, name in keys))
    rows = {row for row, _ in keys}
    for engine in [engines.ENGINES[ENGINES[row]] for row in rows if row != CORE]:
        if engine.version:
            try:
                old.python(engine.framework, engine.version)
            except UserError as error:
                return dict.fromkeys(keys, Cell("absent", message=str(error)))
    left = end - time.monotonic()
    if left <= 0:
        return dict.fromkeys(keys, Cell("failed", message=f"It was not run, as the others took {LONGEST:.0f} seconds."))
    arguments = expectation.inputs.entries, expectation.names
    try:
        if CORE in rows:
            formats = [name for _, name in keys]
            attempts = attempt_core(expectation.contents, formats, *arguments, trust=trust, seconds=left)
        else:
            pairs = [(ENGINES[row], name) for row, name in keys]
            attempts = attempt_formats(expectation.contents, pairs, *arguments, trust=trust, seconds=left)
        return dict(zip(keys, attempts, strict=True))
    except UserError as error:
        if len(keys) == 1:
            return {keys[0]: Cell("failed", message=str(error))}
        return {key: cell for key in keys for cell in _attempts(expectation, [key], trust, end).values()}


def _test(contents: Contents, tensor: DescribedTensor) -> Path:
    path = contents.local(tensor.test)
    if path is None:
        raise UserError(f"{tensor.test} is not in the bundle.")
    return path
