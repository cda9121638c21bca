"""The HDF5 file of Keras 2, which Keras 3 still writes and bioimageio.core loads."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmzpack.errors import UserError
from bmzpack.weights.format import Format, Versions, version
from bmzpack.weights.keras_code import code_in

if TYPE_CHECKING:
    from bmzpack.bundle.contents import Contents
    from bmzpack.weights.model import Network


def write(network: Network, path: Path) -> Versions:
    """Write ``path``; HDF5 keeps no times unless asked to."""
    import h5py
    import keras
    import tensorflow as tf

    model = network.model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras advises its own new format
        model.save(path, include_optimizer=False)
    if _has_operations(model):
        # the old form names no modules: an operation is then not found, or taken for a layer of the same name
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = json.dumps(keras.saving.serialize_keras_object(model)).encode()
    return {"tensorflow_version": version(tf.__version__)}


def _has_operations(model: Any) -> bool:
    """Whether the network holds operations of keras.ops beside its layers."""
    import keras

    parts = getattr(model, "operations", [])
    return any(
        _has_operations(part) if isinstance(part, keras.Model) else not isinstance(part, keras.layers.Layer)
        for part in parts
    )


def refusal(contents: Contents, path: Path, trust: bool) -> str | None:
    """Custom code, and what is no network in HDF5."""
    import h5py

    from bmzpack.bundle.contents import serialised
    from bmzpack.bundle.hdf5 import foreign_part

    if path.suffix not in (".h5", ".hdf5") or zipfile.is_zipfile(path):
        return f"{path.name} is not an HDF5 file of Keras: it ends on .h5 or .hdf5, and is no zip."
    try:
        if (foreign := foreign_part(path)) is not None:
            return f"{path.name} {foreign}: it is not opened."
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
            if text is None:
                return f"{path.name} holds weights alone, without the network."
            content = json.loads(text)
            layers = list(serialised(content))
    except (OSError, ValueError, TypeError, RuntimeError, KeyError, RecursionError) as error:
        raise UserError(f"{path.name} cannot be read: {' '.join(str(error).split())[:200]}.") from error
    return None if trust else code_in(layers, path)


FORMAT = Format(
    name="keras_hdf5",
    file="weights.h5",
    process="tensorflow",
    refusal=refusal,
    write=write,
    engine="keras",
    keeps_layers=True,
)
