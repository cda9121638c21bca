"""What bioimageio.core makes of images with a bundle, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bmzpack.bundle.contents import Contents
from bmzpack.engines import TensorNames
from bmzpack.errors import UserError
from bmzpack.testing.foreign import attempt_core
from bmzpack.weights.tensorflow_saved_model_bundle import SAVED_MODEL

ORDER = (SAVED_MODEL, "torchscript", "onnx", "keras_v3", "keras_hdf5")
"""The order in which bioimageio.core 0.11 takes weights, without those that are Python code."""


def outputs_in_core(contents: Contents, images: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The outputs of `bioimageio.core.predict` for whole images.

    Parameters, results and errors are those of `bmzpack.testing.fiji.outputs_in_fiji`.
    """
    name = next((name for name in ORDER if name in contents.weights), None)
    if name is None:
        raise UserError(f"This bundle has no weights that are run here: pack it in one of {', '.join(ORDER)}, too.")
    (source,), outputs = ([str(entry["id"]) for entry in contents.rdf[side]] for side in ("inputs", "outputs"))
    names = TensorNames([source], outputs)
    (attempt,) = attempt_core(contents, [name], [{source: image} for image in images], names, applied=True)
    result = attempt.result()
    if isinstance(result, UserError):
        raise result
    return result.outputs
