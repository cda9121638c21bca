"""The process in which weights files are converted: ``python -m bmzpack.repairs.convert_process TASK.json``.

It runs alone, as TensorFlow and ONNX end a process on files that are made to harm.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bmzpack.bundle.archive import extract
from bmzpack.engines import TensorNames
from bmzpack.errors import UserError
from bmzpack.repairs.acceptance import matched
from bmzpack.weights.registry import FORMATS

OPSET, IR_VERSION = 17, 8
"""The newest of ONNX Runtime 1.13.1."""


def main(task_path: Path) -> None:
    """Do a task; what is said of the result goes into ``done.json`` beside it."""
    task = json.loads(task_path.read_text(encoding="utf-8"))
    names = TensorNames(task["inputs"], task["outputs"])
    source = Path(task["source"])
    targets = {name: Path(path) for name, path in task["targets"].items()}
    done = {"saved_model": saved_model, "onnx": onnx, "keras_hdf5": keras_hdf5}[task["kind"]](source, targets, names)
    task_path.with_name("done.json").write_text(json.dumps(done), encoding="utf-8")


def saved_model(source: Path, targets: dict[str, Path], names: TensorNames) -> dict[str, Any]:
    """Freeze a saved model of any TensorFlow; write it as ``tensorflow_saved_model_bundle``, ``onnx`` or both."""
    import tensorflow as tf

    from bmzpack.bundle.protobuf import read_saved_model
    from bmzpack.bundle.references import tensorflow_operations
    from bmzpack.weights.frozen import Frozen, with_constants
    from bmzpack.weights.tensorflow_saved_model_bundle import reaching

    with tempfile.TemporaryDirectory() as scratch:
        folder = _unpacked(source, Path(scratch))
        content = (folder / "saved_model.pb").read_bytes()
        found = read_saved_model(content)
        if outside := reaching(tensorflow_operations(content)):
            raise UserError(f"the graph has the operation {outside}, and is not run here")
        tags = next((tags for tags in found.tags if "serve" in tags), found.tags[0])
        loaded: Any = tf.saved_model.load(str(folder), tags=sorted(tags) or None)
        signatures = dict(getattr(loaded, "signatures", {}))
        function = signatures.get("serving_default") or (
            next(iter(signatures.values())) if len(signatures) == 1 else None
        )
        if function is None:
            have = ", ".join(sorted(signatures)) or "none"
            raise UserError(f"no signature of the graph is the one to be used; it has: {have}")
        frozen = with_constants(function)
    # the order of a flattened mapping
    inputs = dict(zip(sorted(function.structured_input_signature[1]), frozen.inputs, strict=True))
    outputs = dict(zip(sorted(function.structured_outputs), frozen.outputs, strict=True))
    ends = Frozen(
        frozen.graph,
        [inputs[name] for name in _matched(names.inputs, inputs, "inputs", "")],
        [outputs[name] for name in _matched(names.outputs, outputs, "outputs", "")],
    )
    writers = {name: form.write_frozen for name, form in FORMATS.items() if form.write_frozen}
    return {name: writers[name](ends, path, names) for name, path in targets.items()}


def onnx(source: Path, targets: dict[str, Path], names: TensorNames) -> dict[str, Any]:
    """Write an ONNX file for the runtime inside Fiji, in one file, its tensors named by their ids."""
    import onnx

    from bmzpack.repairs.opset import lowered

    model = onnx.load(source)  # with the weights that it keeps in other files of its folder
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset > OPSET:
        try:
            model, opset = lowered(model, OPSET), OPSET
        except Exception as error:  # of several kinds, of the converter
            reason = " ".join(str(error).split()).rpartition("failed: ")[2][:200]
            raise UserError(f"opset {opset} cannot be written as {OPSET}: {reason}") from error
    model.ir_version = min(model.ir_version, IR_VERSION)
    weights = {tensor.name for tensor in model.graph.initializer}
    own = [value.name for value in model.graph.input if value.name not in weights]
    renamed = dict(zip(_matched(names.inputs, own, "inputs", "onnx"), names.inputs, strict=True))
    own = [value.name for value in model.graph.output]
    renamed |= dict(zip(_matched(names.outputs, own, "outputs", "onnx"), names.outputs, strict=True))
    _rename(model.graph, {one: other for one, other in renamed.items() if one != other})
    targets["onnx"].write_bytes(model.SerializeToString(deterministic=True))
    return {"onnx": {"opset_version": opset}}


def keras_hdf5(source: Path, targets: dict[str, Path], names: TensorNames) -> dict[str, Any]:
    """Write the HDF5 file of a Keras model as a ``.keras`` file."""
    import h5py

    from bmzpack.bundle.hdf5 import foreign_part
    from bmzpack.weights.source import refuse_code

    if (foreign := foreign_part(source)) is not None:
        raise UserError(f"it {foreign}")
    with h5py.File(source) as file:
        configuration = file.attrs.get("model_config")
    if configuration is None:
        raise UserError("it holds weights without a network")
    refuse_code(source, json.loads(configuration))
    import keras

    model: Any = keras.models.load_model(source, compile=False)
    model.save(targets["keras_v3"])
    return {"keras_v3": {}}


def _unpacked(source: Path, scratch: Path) -> Path:
    """The folder with saved_model.pb, also one in a folder or zip of the zip."""
    (scratch / "zip").mkdir()
    extract(source, scratch / "zip")
    for inner in sorted((scratch / "zip").rglob("*.zip")):
        target = Path(tempfile.mkdtemp(dir=scratch))
        extract(inner, target)
    found = sorted(scratch.rglob("saved_model.pb"), key=lambda path: len(path.parts))
    if not found:
        raise UserError("there is no saved_model.pb in it")
    return found[0].parent


def _matched(ids: list[str], own: Any, what: str, kind: str) -> list[str]:
    found = matched(ids, list(own), kind)
    if found is None:
        raise UserError(f"its {what} are {', '.join(own)}, where {', '.join(ids)} are described")
    return found


def _rename(graph: Any, names: dict[str, str]) -> None:
    """Rename tensors in a graph and in the graphs of its loops and branches."""
    values = [*graph.input, *graph.output, *graph.value_info, *graph.initializer]
    taken = {value.name for value in values} | {name for node in graph.node for name in (*node.input, *node.output)}
    for name in [name for name in names.values() if name in taken and name not in names]:
        free = f"{name}_inside"
        while free in taken:
            free += "_"
        names = names | {name: free}
    for value in values:
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                _rename(inner, names)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
