"""Weights files: written anew so that the programs run them. What computes is run before it is taken."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bmzpack.bundle.contents import Facts
from bmzpack.bundle.protobuf import OnnxFile
from bmzpack.consumers import check_facts, core
from bmzpack.consumers.conditions import weights
from bmzpack.describe import rdf
from bmzpack.engines import TensorNames
from bmzpack.engines.process import run_python
from bmzpack.errors import UserError
from bmzpack.repair.trial import own_names, trial
from bmzpack.repair.work import Work
from bmzpack.weights import FORMATS, TOLERANCE, write_all
from bmzpack.weights.source import layer_names

SAVED_MODEL = "tensorflow_saved_model_bundle"
WANTED = (SAVED_MODEL, "onnx", "torchscript")
"""Formats of which Fiji, ilastik and QuPath run one or the other."""


def saved_model(work: Work) -> None:
    """W1, W2: a frozen saved model at the top of its zip, its tensors named by their ids."""
    looks = {
        "W1": (weights.saved_model_layout, weights.saved_model_entry, weights.saved_model_signature),
        "W2": (weights.saved_model_variables, weights.saved_model_endpoint),
    }
    rules = [rule for rule, each in looks.items() if any(any(True for _ in look(work.facts)) for look in each)]
    path = work.trusted(SAVED_MODEL)
    if not rules or path is None:
        return
    target = work.scratch / FORMATS[SAVED_MODEL].file
    try:
        tried = trial(work)
        own = own_names(work.facts, SAVED_MODEL)
        before = tried.run(SAVED_MODEL, path, own) if own and "W1" not in rules else None
        _convert(work, "saved_model", path, {SAVED_MODEL: target}, tried.names)
        error = tried.accept(SAVED_MODEL, target, before)
    except UserError as problem:
        for rule in rules:
            work.left(rule, f"weights.{SAVED_MODEL}", f"The saved model cannot be written anew: {problem}.")
        return
    target.replace(path)
    _refresh(work, SAVED_MODEL, path)
    for rule in rules:
        what = {
            "W1": "The saved model is written anew, with saved_model.pb at the top, the signature serving_default and "
            "the tensors' ids",
            "W2": "The saved model is frozen",
        }[rule]
        work.changed(rule, f"weights.{SAVED_MODEL}", f"{what}: {_proof(error)}.")


def onnx(work: Work) -> None:
    """W3: an opset and IR version that ONNX Runtime 1.13.1 runs, one file, tensors named by their ids."""
    looks = (weights.onnx_too_new, weights.onnx_names, weights.onnx_external)
    found = [occurrence.found for look in looks for occurrence in look(work.facts)]
    path, file = work.trusted("onnx"), work.facts.onnx
    if not found or path is None or not isinstance(file, OnnxFile):
        return
    target = work.scratch / FORMATS["onnx"].file
    try:
        tried = trial(work)
        own = own_names(work.facts, "onnx")
        before = tried.run("onnx", path, own) if own else None
        versions = _convert(work, "onnx", path, {"onnx": target}, tried.names)["onnx"]
        error = tried.accept("onnx", target, before)
    except UserError as problem:
        work.left("W3", "weights.onnx", f"The ONNX file cannot be rewritten: {problem}.")
        return
    target.replace(path)
    _refresh(work, "onnx", path, versions)
    after = work.rdf["weights"]["onnx"]["opset_version"]
    work.changed(
        "W3", "weights.onnx", f"{' '.join(found)} It is rewritten with opset {after}, IR version 8: {_proof(error)}."
    )


def missing_formats(work: Work) -> None:
    """N1, N2, W1, W3, W4: formats that a program lacks, made from the Keras file or the saved model."""
    broken = _broken(work)
    rules = {
        finding.rule
        for name, verdict in check_facts(work.facts).consumers.items()
        for finding in verdict.findings
        if name != "core"
    }
    wanted = [name for name in WANTED if name in broken or name not in work.facts.weights]
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
        if not made and any(work.trusted(other) for other in core.FORMATS if other not in broken):
            del work.rdf["weights"][name]
            work.settled(f"weights.{name}")
            work.changed(rule, f"weights.{name}", f"{name} is taken out: its file holds no network.")


def _from_keras(work: Work, original: str, wanted: Sequence[str], broken: dict[str, str]) -> None:
    source = work.facts.weights_file(original)
    assert source is not None
    tried = trial(work)
    if original == "keras_hdf5":
        target = work.scratch / "converted.keras"
        _convert(work, "keras_hdf5", source, {"keras_v3": target}, tried.names)
        source = target
    own = layer_names(source)
    # ids in the order in which the network takes and gives its tensors
    names = TensorNames(
        *(
            mine if set(mine) == set(ids) else ids
            for mine, ids in ((own.inputs, tried.names.inputs), (own.outputs, tried.names.outputs))
        )
    )
    folder = work.scratch / "written"
    folder.mkdir()
    try:
        written = write_all(source, folder, names, tried.given, wanted, names_made_up=True)
    except UserError:
        if len(wanted) == 1:
            raise
        written = []
        for name in wanted:
            try:
                written += write_all(source, folder, names, tried.given, [name], names_made_up=True)
            except UserError as problem:
                work.left(broken.get(name, "N1"), f"weights.{name}", f"{name} cannot be made: {problem}")
    for entry in written:
        error = tried.error(entry.outputs[0])
        if not error <= TOLERANCE:
            raise UserError(f"{original} itself differs from the test output by {error:.1e} of the range.")
        _add(work, entry.format, entry.path, original, entry.versions, error, broken)


def _from_saved_model(work: Work, broken: dict[str, str]) -> None:
    source = work.facts.weights_file(SAVED_MODEL)
    assert source is not None
    tried = trial(work)
    target = work.scratch / "converted.onnx"
    versions = _convert(work, "saved_model", source, {"onnx": target}, tried.names)["onnx"]
    error = tried.accept("onnx", target, tried.run(SAVED_MODEL, source, own_names(work.facts, SAVED_MODEL)))
    _add(work, "onnx", target, SAVED_MODEL, versions, error, broken)


def _add(
    work: Work, name: str, path: Path, parent: str, versions: dict[str, Any], error: float, broken: dict[str, str]
) -> None:
    old = work.facts.weights_file(name)
    if name in broken and old:
        old.unlink()
    taken = work.take(path, FORMATS[name].file)
    work.rdf["weights"][name] = {"source": taken, "sha256": rdf.sha256(work.root / taken), "parent": parent} | versions
    rule = broken.get(name) or ("N2" if parent == SAVED_MODEL else "N1")
    work.settled(f"weights.{name}")
    work.changed(rule, f"weights.{name}", f"{name} is made from {parent}: {_proof(error)}.")


def _broken(work: Work) -> dict[str, str]:
    """Formats whose file is there, is the one that is meant, and holds no network; with the rule that says so."""
    facts = work.facts
    found = {
        SAVED_MODEL: ("W1", _holds_no_graph(facts)),
        "onnx": ("W3", isinstance(facts.onnx, str)),
        "torchscript": ("W4", bool([*weights.torchscript_archive(facts)])),
    }
    return {name: rule for name, (rule, broken) in found.items() if broken and work.trusted(name)}


def _holds_no_graph(facts: Facts) -> bool:
    """Whether there is no saved model anywhere in the zip."""
    files = facts.saved_model_files
    if not isinstance(files, dict):
        return files is not None
    return isinstance(facts.saved_model, str) or not any(name.endswith(("saved_model.pb", ".zip")) for name in files)


def _refresh(work: Work, name: str, path: Path, versions: dict[str, Any] | None = None) -> None:
    """Write a file's new checksum into its entry."""
    work.rdf["weights"][name] |= {"sha256": rdf.sha256(path)} | (versions or {})


def _convert(
    work: Work, kind: str, source: Path, targets: dict[str, Path], names: TensorNames
) -> dict[str, dict[str, Any]]:
    """Convert a file in a process of its own; returns what is said of the new files, by format."""
    task = {
        "kind": kind,
        "source": str(source.resolve()),
        "targets": {name: str(path.resolve()) for name, path in targets.items()},
        "inputs": names.inputs,
        "outputs": names.outputs,
    }
    path = work.scratch / "task.json"
    path.write_text(json.dumps(task), encoding="utf-8")
    run_python(["-m", "bmzpack.repair.convert", str(path)], f"{source.name} could not be converted")
    return json.loads(path.with_name("done.json").read_text(encoding="utf-8"))


def _proof(error: float) -> str:
    return f"run on the test input, it is {error:.1e} of the range from the test output"
