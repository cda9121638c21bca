"""Weights files: written anew so that the programs run them. What computes is run before it is taken."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic

from bmzpack.bundle.contents import Contents
from bmzpack.bundle.protobuf import OnnxFile
from bmzpack.consumers import core
from bmzpack.consumers.conditions import weights_files
from bmzpack.consumers.registry import programs
from bmzpack.consumers.verdicts import check_contents
from bmzpack.describe import rdf
from bmzpack.engines import TensorNames, sandbox
from bmzpack.engines.process import run_python
from bmzpack.errors import UserError
from bmzpack.files import temporary_folder
from bmzpack.repairs.acceptance import acceptance_test, own_names
from bmzpack.repairs.work import Work
from bmzpack.weights import FORMATS, TOLERANCE, write_all
from bmzpack.weights.source import layer_names
from bmzpack.weights.tensorflow_saved_model_bundle import SAVED_MODEL

DONE = pydantic.TypeAdapter(dict[str, dict[str, str | int]])
"""What the converting process says of the files, by format."""
WANTED = [name for name, form in FORMATS.items() if not form.keeps_layers]
"""Formats of which Fiji, ilastik and QuPath run one or the other."""


def saved_model(work: Work) -> None:
    """W1, W2: a frozen saved model at the top of its zip, its tensors named by their ids."""
    conditions = {
        "W1": (
            weights_files.misplaced_saved_model,
            weights_files.saved_model_without_variables_entry,
            weights_files.unfit_saved_model_signature,
        ),
        "W2": (weights_files.unfrozen_saved_model, weights_files.saved_model_endpoint_without_names),
    }
    rules = [rule for rule, each in conditions.items() if any(any(condition(work.contents)) for condition in each)]
    path = work.trusted(SAVED_MODEL)
    if not rules or path is None:
        return
    defects = [(rule, f"weights.{SAVED_MODEL}") for rule in rules]
    with work.attempt(defects, "The saved model cannot be written anew"):
        error, _ = _rewritten(work, SAVED_MODEL, "saved_model", path, compare="W1" not in rules)
        what = {
            "W1": "The saved model is written anew, with saved_model.pb at the top, the signature serving_default and "
            "the tensors' ids",
            "W2": "The saved model is frozen",
        }
        for rule, place in defects:
            work.changed(rule, place, f"{what[rule]}: {_proof(error)}.")


def onnx(work: Work) -> None:
    """W3: an opset and IR version that ONNX Runtime 1.13.1 runs, one file, tensors named by their ids."""
    conditions = (
        weights_files.onnx_too_new,
        weights_files.onnx_tensor_names_differ,
        weights_files.external_onnx_weights,
    )
    found = [occurrence.found for condition in conditions for occurrence in condition(work.contents)]
    path, file = work.trusted("onnx"), work.contents.onnx
    if not found or path is None or not isinstance(file, OnnxFile):
        return
    with work.attempt([("W3", "weights.onnx")], "The ONNX file cannot be rewritten"):
        error, versions = _rewritten(work, "onnx", "onnx", path)
        work.rdf["weights"]["onnx"] |= versions
        after = f"It is rewritten with opset {versions['opset_version']}, IR version 8"
        work.changed("W3", "weights.onnx", f"{' '.join(found)} {after}: {_proof(error)}.")


def missing_formats(work: Work) -> None:
    """N1, N2, W1, W3, W4: formats that a program lacks, made from the Keras file or the saved model."""
    broken = _broken(work)
    rules = {
        finding.rule
        for name, verdict in check_contents(work.contents).consumers.items()
        for finding in verdict.findings
        if name in programs()
    }
    wanted = [name for name in WANTED if name in broken or name not in work.contents.weights]
    if not wanted or not (broken or rules & {"N1", "N2"}):
        return
    original = next((name for name in ("keras_v3", "keras_hdf5") if work.trusted(name)), None)
    try:
        if original:
            _from_keras(work, original, wanted, broken)
        elif "onnx" in wanted and work.trusted(SAVED_MODEL) and SAVED_MODEL not in broken:
            _from_saved_model(work, broken)
    except UserError as problem:
        work.left("N1", "weights", f"{', '.join(wanted)} cannot be made: {problem}")
    for name, rule in broken.items():
        made = any(change.where == f"weights.{name}" for change in work.changes)
        if not made and any(work.trusted(other) for other in core.ORDER if other not in broken):
            del work.rdf["weights"][name]
            work.settled(f"weights.{name}")
            work.changed(rule, f"weights.{name}", f"{name} is taken out: its file holds no network.")


def _from_keras(work: Work, original: str, wanted: Sequence[str], broken: dict[str, str]) -> None:
    source = work.contents.weights_file(original)
    assert source is not None
    test = acceptance_test(work)
    if original == "keras_hdf5":
        target = work.scratch / "converted.keras"
        _convert(work, "keras_hdf5", source, {"keras_v3": target}, test.names)
        source = target
    own = layer_names(source)
    # ids in the order in which the network takes and gives its tensors
    names = TensorNames(
        *(
            mine if set(mine) == set(ids) else ids
            for mine, ids in ((own.inputs, test.names.inputs), (own.outputs, test.names.outputs))
        )
    )
    folder = work.scratch / "written"
    folder.mkdir()
    try:
        written = write_all(source, folder, names, test.inputs, wanted, names_made_up=True)
    except UserError:
        if len(wanted) == 1:
            raise
        written = []
        for name in wanted:
            try:
                written += write_all(source, folder, names, test.inputs, [name], names_made_up=True)
            except UserError as problem:
                work.left(broken.get(name, "N1"), f"weights.{name}", f"{name} cannot be made: {problem}")
    for entry in written:
        error = test.error(entry.outputs[0])
        if not error <= TOLERANCE:
            raise UserError(f"{original} itself differs from the test output by {error:.1e} of the range.")
        _add(work, entry.format, entry.path, original, entry.versions, error, broken)


def _from_saved_model(work: Work, broken: dict[str, str]) -> None:
    source = work.contents.weights_file(SAVED_MODEL)
    assert source is not None
    test = acceptance_test(work)
    target = work.scratch / "converted.onnx"
    versions = _convert(work, "saved_model", source, {"onnx": target}, test.names)["onnx"]
    error = test.accept("onnx", target, test.run(SAVED_MODEL, source, own_names(work.contents, SAVED_MODEL)))
    _add(work, "onnx", target, SAVED_MODEL, versions, error, broken)


def _add(
    work: Work, name: str, path: Path, parent: str, versions: dict[str, Any], error: float, broken: dict[str, str]
) -> None:
    old = work.contents.weights_file(name)
    if name in broken and old:
        old.unlink()
    taken = work.take(path, FORMATS[name].file)
    work.rdf["weights"][name] = {"source": taken, "sha256": rdf.sha256(work.root / taken), "parent": parent} | versions
    rule = broken.get(name) or ("N2" if parent == SAVED_MODEL else "N1")
    work.settled(f"weights.{name}")
    work.changed(rule, f"weights.{name}", f"{name} is made from {parent}: {_proof(error)}.")


def _broken(work: Work) -> dict[str, str]:
    """Formats whose file is there, is the one that is meant, and holds no network; with the rule that says so."""
    contents = work.contents
    found = {
        SAVED_MODEL: ("W1", _holds_no_graph(contents)),
        "onnx": ("W3", isinstance(contents.onnx, str)),
        "torchscript": ("W4", bool([*weights_files.unreadable_torchscript(contents)])),
    }
    return {name: rule for name, (rule, broken) in found.items() if broken and work.trusted(name)}


def _holds_no_graph(contents: Contents) -> bool:
    """Whether there is no saved model anywhere in the zip."""
    files = contents.saved_model_files
    if not isinstance(files, dict):
        return files is not None
    return isinstance(contents.saved_model, str) or not any(name.endswith(("saved_model.pb", ".zip")) for name in files)


def _rewritten(work: Work, name: str, kind: str, path: Path, *, compare: bool = True) -> tuple[float, dict[str, Any]]:
    """Convert a file and put the new one in its place; its error, and what is said of it.

    With ``compare`` it has to compute what the old one computes at other sizes as well.
    """
    target = work.scratch / FORMATS[name].file
    test = acceptance_test(work)
    own = own_names(work.contents, name)
    before = test.run(name, path, own) if own and compare else None
    versions = _convert(work, kind, path, {name: target}, test.names)[name]
    error = test.accept(name, target, before)
    target.replace(path)
    work.rdf["weights"][name]["sha256"] = rdf.sha256(path)
    return error, versions


def _convert(
    work: Work, kind: str, source: Path, targets: dict[str, Path], names: TensorNames
) -> dict[str, dict[str, Any]]:
    """Convert a file in a process of its own; returns what is said of the new files, by format."""
    if FORMATS[SAVED_MODEL].program and kind == "saved_model" and (obstacle := sandbox.obstacle()):
        raise UserError(f"a saved model is a program, and is run where the system can confine it only: {obstacle}")
    # the process can write whatever it wants there
    with temporary_folder("converted-", work.scratch) as folder:
        task = {
            "kind": kind,
            "source": str(source.resolve()),
            "targets": {name: str(folder / path.name) for name, path in targets.items()},
            "inputs": names.inputs,
            "outputs": names.outputs,
        }
        path = folder / "task.json"
        path.write_text(json.dumps(task), encoding="utf-8")
        failure = f"{source.name} could not be converted"
        reads = [work.folder, work.scratch] if kind == "onnx" else [source]  # weights may be in other files
        run_python(["-m", "bmzpack.repairs.convert_process", str(path)], failure, folder, reads=reads)
        try:
            done = DONE.validate_json((folder / "done.json").read_bytes(), strict=True)
            if set(done) != set(targets):
                raise ValueError
            for target in targets.values():
                (folder / target.name).replace(target)
        except (OSError, ValueError):
            raise UserError(f"{failure}: the process ended without a result") from None
    return done


def _proof(error: float) -> str:
    return f"run on the test input, it is {error:.1e} of the range from the test output"
