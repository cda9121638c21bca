"""The Keras 3 file: the original, from which all other formats are made."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path

import keras

from bmzpack.bundle.reproducible_zip import write_archive
from bmzpack.engines import TensorNames
from bmzpack.weights.model import version


def write(model: keras.Model, path: Path, names: TensorNames) -> dict[str, str | int]:
    """Write ``path`` without times, so that the same model gives the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "model.keras")
        model.save(saved)
        with zipfile.ZipFile(saved) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
    metadata = json.loads(entries["metadata.json"]) | {"date_saved": "1980-01-01@00:00:00"}
    write_archive(path, entries | {"metadata.json": json.dumps(metadata).encode()})
    return {"keras_version": version(keras.__version__), **_backend_version()}


def _backend_version() -> dict[str, str]:
    import tensorflow as tf

    return {"tensorflow_version": version(tf.__version__)}
