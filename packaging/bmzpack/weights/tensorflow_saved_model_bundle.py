"""The frozen TensorFlow saved model, which TensorFlow 1.15 to today's run, that inside Fiji among them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from bmzpack.bundle.reproducible_zip import write_archive
from bmzpack.engines import TensorNames
from bmzpack.weights.frozen import Frozen, freeze, with_ending
from bmzpack.weights.model import version

v1 = tf.compat.v1


def write(
    model: keras.Model, path: Path, names: TensorNames, ending: Mapping[str, Any] | None = None
) -> dict[str, str | int]:
    """Write a zip with ``saved_model.pb`` and, for Fiji, an empty folder ``variables`` at its root.

    The ending is that of `bmzpack.operations.labels.Ending.in_graph`.
    """
    frozen = with_ending(model, names.inputs[0], ending) if ending else freeze(model, tuple(names.inputs))
    return write_frozen(frozen, path, names)


def write_frozen(frozen: Frozen, path: Path, names: TensorNames) -> dict[str, str | int]:
    """Write a graph whose ends are in the order of ``names``."""
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
