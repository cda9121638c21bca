"""The frozen TensorFlow saved model, which TensorFlow 1.15 to today's run, that inside Fiji among them."""

from __future__ import annotations

import re
import tempfile
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from bmzpack.bundle.protobuf import SavedModel, Unreadable
from bmzpack.bundle.references import CHECKPOINTS, tensorflow_operations
from bmzpack.bundle.reproducible_zip import write_archive
from bmzpack.engines import TensorNames
from bmzpack.errors import UserError
from bmzpack.weights.format import TRUST, Format, Versions, version

if TYPE_CHECKING:
    from bmzpack.bundle.contents import Contents
    from bmzpack.weights.frozen import Frozen
    from bmzpack.weights.model import Network

SAVED_MODEL = "tensorflow_saved_model_bundle"
"""The name of the format."""
REACHES = {
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


def write(network: Network, path: Path) -> Versions:
    """Write a zip with ``saved_model.pb`` and, for Fiji, an empty folder ``variables`` at its root."""
    return write_frozen(network.frozen, path, network.names)


def write_frozen(frozen: Frozen, path: Path, names: TensorNames) -> Versions:
    """Write a graph whose ends are in the order of ``names``."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tempfile.TemporaryDirectory() as folder:
        builder = v1.saved_model.Builder(str(Path(folder, "saved")))
        with v1.Session(graph=frozen.graph) as session:
            signature = v1.saved_model.predict_signature_def(
                inputs=dict(zip(names.inputs, frozen.inputs, strict=True)),
                outputs=dict(zip(names.outputs, frozen.outputs, strict=True)),
            )
            builder.add_meta_graph_and_variables(
                session,
                [tf.saved_model.SERVING],
                signature_def_map={tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: signature},
                strip_default_attrs=True,
            )
        builder.save()
        write_archive(path, {"saved_model.pb": Path(folder, "saved", "saved_model.pb"), "variables/": b""})
    return {"tensorflow_version": version(tf.__version__)}


def refusal(contents: Contents, path: Path, trust: bool) -> str | None:
    """Operations that reach outside the graph."""
    files, model = contents.saved_model_files, contents.saved_model
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
    found = reaching(operations)
    return f"The graph in {path.name} has the operation {found}. {TRUST}" if found else None


def reaching(operations: Collection[str]) -> str | None:
    """The first of TensorFlow's operations that reaches outside the graph, and what it does; None where none does."""
    for operation in sorted(operations):
        for pattern, what in REACHES.items():
            if re.fullmatch(pattern, operation):
                return f"{operation}, which {what}"
    return None


FORMAT = Format(
    name=SAVED_MODEL,
    file="saved_model.zip",
    process="tensorflow",
    refusal=refusal,
    program=True,
    write=write,
    write_frozen=write_frozen,
    engine="tensorflow",
    ends_in_labels=True,
)
