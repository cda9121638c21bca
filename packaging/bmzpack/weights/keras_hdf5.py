"""The HDF5 file of Keras 2, which Keras 3 still writes and bioimageio.core loads."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import h5py
import keras
import tensorflow as tf

from bmzpack.engines import TensorNames
from bmzpack.weights.model import version


def write(model: keras.Model, path: Path, names: TensorNames) -> dict[str, str | int]:
    """Write ``path``; HDF5 keeps no times unless asked to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras advises its own new format
        model.save(path, include_optimizer=False)
    if _has_operations(model):
        # the old form names no modules: an operation is then not found, or taken for a layer of the same name
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = json.dumps(keras.saving.serialize_keras_object(model)).encode()
    return {"tensorflow_version": version(tf.__version__), "keras_version": version(keras.__version__)}


def _has_operations(model: keras.Model) -> bool:
    """Whether the network holds operations of keras.ops beside its layers."""
    parts = getattr(model, "operations", [])
    return any(
        _has_operations(part) if isinstance(part, keras.Model) else not isinstance(part, keras.layers.Layer)
        for part in parts
    )
