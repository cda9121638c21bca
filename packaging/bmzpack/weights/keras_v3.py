"""The Keras 3 file: the original, from which all other formats are made."""

from __future__ import annotations

import json
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmzpack.bundle.reproducible_zip import write_archive
from bmzpack.errors import UserError
from bmzpack.weights.format import Format, Versions, version
from bmzpack.weights.keras_code import code_in

if TYPE_CHECKING:
    from bmzpack.bundle.contents import Contents
    from bmzpack.weights.model import Network


def write(network: Network, path: Path) -> Versions:
    """Write ``path`` without times, so that the same model gives the same bytes."""
    import keras
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "model.keras")
        network.model.save(saved)
        with zipfile.ZipFile(saved) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
    metadata = json.loads(entries["metadata.json"]) | {"date_saved": "1980-01-01@00:00:00"}
    write_archive(path, entries | {"metadata.json": json.dumps(metadata).encode()})
    return {"keras_version": version(keras.__version__), "tensorflow_version": version(tf.__version__)}


def entry(versions: Versions) -> dict[str, Any]:
    """TensorFlow is the backend."""
    return {"keras_version": versions["keras_version"], "backend": ["tensorflow", versions["tensorflow_version"]]}


def refusal(contents: Contents, path: Path, trust: bool) -> str | None:
    """Custom code, and a file under a name that Keras takes for another format."""
    layers = contents.keras_layers
    if not isinstance(layers, list):
        raise UserError(f"{path.name} cannot be read: {layers}.")
    if path.suffix != ".keras":
        return f"{path.name} is a Keras file under another name: Keras takes {path.suffix or 'such names'} for another."
    return (None if trust else code_in(layers, path)) or _foreign_weights(path)


def _foreign_weights(path: Path) -> str | None:
    """Weights that lie outside of the file, or that are a bomb."""
    from bmzpack.bundle.archive import check_archive
    from bmzpack.bundle.hdf5 import foreign_part

    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            check_archive(archive, path)
            for name in archive.namelist():
                if name.endswith(".h5"):
                    foreign = foreign_part(Path(archive.extract(name, folder)))
                    if foreign is not None:
                        return f"{name} in {path.name} {foreign}: it is not opened."
    except (OSError, ValueError, RuntimeError, KeyError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path.name} cannot be read: {' '.join(str(error).split())[:200]}.") from error
    return None


FORMAT = Format(
    name="keras_v3",
    file="weights.keras",
    process="tensorflow",
    refusal=refusal,
    write=write,
    engine="keras",
    keeps_layers=True,
    parent=None,
    entry=entry,
)
