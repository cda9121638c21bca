"""What of a stranger's bundle is not run, and why: told from the files, before any framework sees them.

A weights file is a program. Most can only compute; what is refused here could do more: execute Python, read or write
files, or fill the memory. ``--trust`` runs it nevertheless, except what no honest bundle holds.
"""

from __future__ import annotations

import json
import math
import mmap
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bmzpack.bundle.contents import Contents, serialised
from bmzpack.bundle.input_sizes import STEPS, sizes_at
from bmzpack.bundle.protobuf import OnnxFile, SavedModel, Unreadable
from bmzpack.bundle.references import CHECKPOINTS, onnx_references, tensorflow_operations
from bmzpack.errors import UserError

LARGEST = 2**30
"""Bytes of a test tensor or of an input that the description asks for, up to which a bundle is run."""
TRUST = "Run it with --trust if you trust who made it."

KERAS_CODE = {
    "Lambda": "Python code",
    "__lambda__": "Python code",
    "TFSMLayer": "a saved model outside the file",
    "TorchModuleWrapper": "a pickle of a torch module, which is Python code",
    "JaxLayer": "a serialised function",
    "FlaxLayer": "a serialised function",
}
"""Layers of Keras that bring along what is no network of Keras layers."""

TENSORFLOW_REACHES = {
    r".*PyFunc.*|.*CustomCall.*": "calls code outside the graph",
    r"WriteFile|DumpTensor|PrintV2|CalibrationStatisticsSaver|DistributedSave|.*SummaryWriter|CreateSummary.*|"
    r"Write.*Summary|Debug.*": "writes files",
    "|".join(CHECKPOINTS): "writes files, and is run besides the saving of checkpoints",
    r"ReadFile|MatchingFiles|ImmutableConst|.*Reader.*|InitializeTableFromTextFile.*|RecordInput|LoadAndRemapMatrix|"
    r"GenerateVocabRemapping|FixedUnigramCandidateSampler|Skipgram|DTensorRestore.*|FileSystem.*": "reads files",
    r".*Dataset.*": "fetches data by itself",
    r"Rpc.*|Collective.*|DataService.*": "uses the network",
}
"""Operations of TensorFlow that reach outside the graph, by the names that TensorFlow 2.21 has, and what they do.

Checkpoints may be read: that is how variables come in.
"""

ONNX_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
"""Operators that ONNX Runtime has built in."""

TORCH_REACHES = re.compile(r"\b(save|from_file|rpc_async|rpc_sync|rpc_remote)\b")
"""Operators of TorchScript that write or map files, or use the network: as any word of the program, for no spelling of
a call to be missed."""
TORCH_OPERATORS = re.compile(r"\bops\s*\.\s*(\w+)\s*\.\s*(\w+)")
TORCH_DOMAINS = {
    "prim",
    "aten",
    "quantized",
    "_quantized",
    "quantization",
    "sparse",
    "mkl",
    "mkldnn",
    "mkldnn_prepacked",
}
"""Whose operators only compute."""


def refused(facts: Contents, name: str, trust: bool) -> str | None:
    """Why a weights file is not run, in one sentence, or None where it can be.

    Parameters
    ----------
    facts
        Of the bundle.
    name
        The weights format.
    trust
        Whether the bundle's Python code may be executed.

    Raises
    ------
    UserError
        The file is damaged: no engine could run it.
    """
    path = facts.weights_file(name)
    source = facts.weights[name].source
    if path is None:
        return f"{source or 'The file'} is not in the bundle."
    check = {
        "keras_v3": _keras,
        "keras_hdf5": _hdf5,
        "tensorflow_saved_model_bundle": _saved_model,
        "onnx": _onnx,
        "torchscript": _torchscript,
        "pytorch_state_dict": _state_dict,
    }.get(name)
    return check(facts, path, trust) if check else None


def refused_bundle(facts: Contents, trust: bool) -> str | None:
    """Why nothing of a bundle is run, in one sentence, or None where it can be."""
    if facts.problems or not facts.inputs or not facts.outputs:
        return f"The description cannot be understood: {facts.problems[0][1] if facts.problems else 'no tensors'}."
    ids = [tensor.id for tensor in facts.tensors]
    if len(set(ids)) < len(ids):
        return "Two tensors have the same id."
    for tensor in facts.tensors:
        if not trust and any(operation.id == "custom" for operation in tensor.operations):
            return f"The processing of {tensor.id} is Python code of the bundle, which is not executed. {TRUST}"
    for n, tensor in enumerate(facts.rdf["inputs"]):
        if isinstance(tensor, Mapping) and tensor.get("output_of") is not None:
            return f"inputs.{n} is the output of another model, which is not fetched."
    for tensor in facts.tensors:
        if facts.local(tensor.test) is None:
            return f"The test tensor of {tensor.id}, {tensor.test or 'which has no name'}, is not in the bundle."
        array = facts.array(tensor)
        if not isinstance(array, np.ndarray):
            return f"{tensor.test} cannot be read: {array}."
        if array.nbytes > LARGEST:
            return f"{tensor.test} holds {_gigabytes(array.nbytes)}: it is not loaded."
        if array.ndim != len(tensor.axes):
            return f"{tensor.test} has {array.ndim} axes, but {len(tensor.axes)} are described."
        if array.dtype.kind not in "uifb" or array.size == 0:
            return f"{tensor.test} holds no numbers."
    for key in ("inputs", "outputs"):
        for size in _numbers([[entry.get("axes"), entry.get("shape")] for entry in facts.rdf[key]]):
            if not abs(size) <= LARGEST:
                return f"A size of {size:.2g} pixels is declared in {key}: nothing of that size is made."
    for steps in STEPS:
        sizes = sizes_at(facts, None, steps)
        for tensor in facts.inputs:
            size = 4 * math.prod(sizes[tensor.id, axis.id] for axis in tensor.axes)
            if size > LARGEST:
                which = f"{steps} steps above its smallest size" if steps else "of its smallest size"
                return f"{tensor.id}, {which}, would take {_gigabytes(size)}: nothing of that size is made."
    return None


def _keras(facts: Contents, path: Path, trust: bool) -> str | None:
    layers = facts.keras_layers
    if not isinstance(layers, list):
        raise UserError(f"{path.name} cannot be read: {layers}.")
    if path.suffix != ".keras":
        return f"{path.name} is a Keras file under another name: Keras takes {path.suffix or 'such names'} for another."
    return None if trust else _code_in(layers, path)


def _hdf5(facts: Contents, path: Path, trust: bool) -> str | None:
    import h5py

    if path.suffix not in (".h5", ".hdf5") or zipfile.is_zipfile(path):
        return f"{path.name} is not an HDF5 file of Keras: it ends on .h5 or .hdf5, and is no zip."
    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
            if text is None:
                return f"{path.name} holds weights alone, without the network."
            content = json.loads(text)
            layers = list(serialised(content))
    except (OSError, ValueError, TypeError, RuntimeError, KeyError, RecursionError) as error:
        raise UserError(f"{path.name} cannot be read: {' '.join(str(error).split())[:200]}.") from error
    return None if trust else _code_in(layers, path)


def _code_in(layers: list[dict[str, Any]], path: Path) -> str | None:
    """What a Keras file would execute besides Keras' own layers."""
    for layer in layers:
        kind, module = str(layer.get("class_name")), layer.get("module")
        registered = layer.get("registered_name")
        config = layer.get("config")
        name = config.get("name") if isinstance(config, dict) else config
        if kind in KERAS_CODE:
            return f"The layer {name!r} of {path.name} is a {kind}: {KERAS_CODE[kind]}, which is not executed. {TRUST}"
        own = module is None or str(module).split(".")[0] in ("keras", "builtins")
        if not own or ">" in kind or (isinstance(registered, str) and ">" in registered):
            return f"{name!r} in {path.name} is custom code ({module}.{kind}), which is not executed. {TRUST}"
        if isinstance(config, dict) and isinstance(config.get("vocabulary"), str):
            return f"The layer {name!r} of {path.name} reads a file of this computer, {config['vocabulary']}. {TRUST}"
    return None


def _saved_model(facts: Contents, path: Path, trust: bool) -> str | None:
    files, model = facts.saved_model_files, facts.saved_model
    if not isinstance(files, dict):
        if not zipfile.is_zipfile(path):
            raise UserError(f"{path.name} cannot be opened: {files}.")
        return f"{path.name} is not opened: {str(files).rstrip('.')}."
    if "saved_model.pb" not in files:
        raise UserError(f"{path.name} has no saved_model.pb at its top.")
    for name in files:
        if name.lower() in ("saved_model.cpb", "saved_model.pbtxt"):
            return f"{path.name} holds the graph twice, as {name} too: only one of them can be looked at."
    if not isinstance(model, SavedModel):
        raise UserError(f"{path.name} cannot be read: {model}.")
    if trust:
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            operations = tensorflow_operations(archive.read("saved_model.pb"))
    except (Unreadable, RecursionError, zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
        raise UserError(f"{path.name} cannot be read: {error}.") from error
    for operation in sorted(operations):
        for pattern, what in TENSORFLOW_REACHES.items():
            if re.fullmatch(pattern, operation):
                return f"The graph in {path.name} has the operation {operation}, which {what}. {TRUST}"
    return None


def _onnx(facts: Contents, path: Path, trust: bool) -> str | None:
    if not isinstance(facts.onnx, OnnxFile):
        raise UserError(f"{path.name} cannot be read: {facts.onnx}.")
    try:
        with path.open("rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            places, domains = onnx_references(content)
    except (Unreadable, RecursionError, OSError, ValueError) as error:
        raise UserError(f"{path.name} cannot be read: {error}.") from error
    folder = path.parent.resolve()
    for place in sorted(places):
        target = (folder / place).resolve() if "\0" not in place else folder
        if not target.is_relative_to(facts.folder.resolve()) or not target.is_file():
            return f"{path.name} keeps weights in {place!r}, which is no file of the bundle."
    strange = sorted(domains - ONNX_DOMAINS)
    if strange:
        return f"{path.name} needs operators of {', '.join(strange)}, which ONNX Runtime has not built in."
    return None


def _torchscript(facts: Contents, path: Path, trust: bool) -> str | None:
    files = facts.torchscript_files
    if not isinstance(files, dict):
        return f"{path.name} is no TorchScript file ({files}); a pickle is not loaded, for it can execute code."
    code = [name for name in files if "/code/" in f"/{name.lower()}" and not name.lower().endswith(".debug_pkl")]
    if not code or not any(name.endswith("/constants.pkl") for name in files):
        return (
            f"{path.name} is a pickle of weights or of a Python object, which is not loaded, for it can execute code."
        )
    if trust:
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            text = "\n".join(archive.read(name).decode("utf-8", "replace") for name in code)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError) as error:
        raise UserError(f"{path.name} cannot be read: {error}.") from error
    if found := TORCH_REACHES.search(text):
        return f"The program in {path.name} calls {found[1]}, which reaches outside of it. {TRUST}"
    for domain, operator in TORCH_OPERATORS.findall(text):
        if domain not in TORCH_DOMAINS:
            return f"The program in {path.name} calls {domain}::{operator}, which may do more than compute. {TRUST}"
    return None


def _state_dict(facts: Contents, path: Path, trust: bool) -> str | None:
    if trust:
        return None
    return f"The network of pytorch_state_dict is Python code of the bundle, which is not executed. {TRUST}"


def _numbers(value: Any) -> Iterator[float]:
    """All numbers of sizes, those that make no sense included; a pixel has other sizes."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, Mapping):
        yield from (number for key, part in value.items() if key != "scale" for number in _numbers(part))
    elif isinstance(value, list):
        yield from (number for part in value for number in _numbers(part))


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
