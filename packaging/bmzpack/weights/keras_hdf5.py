"""The HDF5 file of Keras 2, which Keras 3 still writes and bioimageio.core loads."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras
import tensorflow as tf

from bmzpack.engines import TensorNames
from bmzpack.weights.model import version


def write(model: keras.Model, path: Path, names: TensorNames) -> dict[str, str | int]:
    """Write ``path``; HDF5 keeps no times unless asked to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras advises its own new format
        model.save(path, include_optimizer=False)
    return {"tensorflow_version": version(tf.__version__), "keras_version": version(keras.__version__)}
