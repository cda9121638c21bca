"""How each framework opens a weights file and runs it: one function per framework.

A loader gets the job (its ``weights``, and whether to ``trust`` them) and the ids of inputs and outputs, and gives a
function from tensors by id to the list of outputs. `bmzpack.engines.worker` executes this file by its path, also in the
Python 3.10 of the old engines: it imports nothing of bmzpack.
"""

from typing import Any

import numpy as np


def keras(job, inputs, outputs):
    """As bioimageio.core does: inputs by position."""
    import keras

    model: Any = keras.models.load_model(job["weights"], compile=False, safe_mode=not job["trust"])

    def call(tensors):
        nested = keras.tree.pack_sequence_as(model.input, [tensors[name] for name in inputs])
        return [np.asarray(tensor) for tensor in keras.tree.flatten(model.predict_on_batch(nested))]

    return call


def tensorflow(job, inputs, outputs):
    """As TensorFlow for Java does: a v1 session, tag ``serve``, signature ``serving_default``, keys by tensor id."""
    import tensorflow as tf

    session = tf.compat.v1.Session(graph=tf.Graph())
    loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], job["weights"])
    signature = loaded.signature_def["serving_default"]
    fetches = [signature.outputs[name].name for name in _called(sorted(signature.outputs), outputs)]
    feeds = [signature.inputs[name].name for name in _called(sorted(signature.inputs), inputs)]
    return lambda tensors: session.run(fetches, dict(zip(feeds, (tensors[name] for name in inputs))))  # noqa: B905


def onnxruntime(job, inputs, outputs):
    """Inputs and outputs by tensor id, or by position where the graph has other names."""
    import onnxruntime

    session = onnxruntime.InferenceSession(job["weights"], providers=["CPUExecutionProvider"])
    fetches = _called([entry.name for entry in session.get_outputs()], outputs)
    feeds = _called([entry.name for entry in session.get_inputs()], inputs)
    return lambda tensors: session.run(fetches, dict(zip(feeds, (tensors[name] for name in inputs))))  # noqa: B905


def torch(job, inputs, outputs):
    """As ilastik does: inputs by position."""
    import torch

    model = torch.jit.load(job["weights"], map_location="cpu").eval()

    def call(tensors):
        with torch.inference_mode():
            result = model(*(torch.from_numpy(tensors[name]) for name in inputs))
        return [tensor.numpy() for tensor in (result if isinstance(result, (list, tuple)) else [result])]

    return call


def _called(names, ids):
    """The graph's names of tensors in the order of their ids: the same, or else by position, as JDLL does."""
    if set(ids) <= set(names):
        return ids
    if len(names) != len(ids):
        raise ValueError("it has the tensors {} where {} are described".format(", ".join(names), ", ".join(ids)))
    return names
