"""One engine in a process of its own: reads a task, runs the weights file, writes outputs and time.

Run as a script, also by the Python 3.10 of the old engines: it imports nothing of bmzpack.
"""

import json
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np


def keras(weights, inputs, outputs):
    """As bioimageio.core does: inputs by position."""
    import keras

    model = keras.models.load_model(weights, compile=False)

    def call(tensors):
        given = keras.tree.pack_sequence_as(model.input, [tensors[name] for name in inputs])
        return [np.asarray(tensor) for tensor in keras.tree.flatten(model.predict_on_batch(given))]

    return call


def tensorflow(weights, inputs, outputs):
    """As TensorFlow for Java does: a v1 session, tag ``serve``, signature ``serving_default``, keys by tensor id."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(weights).extractall(folder)
        session = tf.compat.v1.Session(graph=tf.Graph())
        signature = tf.compat.v1.saved_model.loader.load(session, ["serve"], folder).signature_def["serving_default"]
    fetches = [signature.outputs[name].name for name in outputs]
    feeds = {name: signature.inputs[name].name for name in inputs}
    return lambda tensors: session.run(fetches, {feeds[name]: tensors[name] for name in inputs})


def onnxruntime(weights, inputs, outputs):
    """Inputs and outputs by tensor id."""
    import onnxruntime

    session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    return lambda tensors: session.run(outputs, {name: tensors[name] for name in inputs})


def torch(weights, inputs, outputs):
    """As ilastik does: inputs by position."""
    import torch

    model = torch.jit.load(weights, map_location="cpu").eval()

    def call(tensors):
        with torch.inference_mode():
            result = model(*(torch.from_numpy(tensors[name]) for name in inputs))
        return [tensor.numpy() for tensor in (result if isinstance(result, (list, tuple)) else [result])]

    return call


def main(path):
    """Run a task; ``input*.npz`` lie beside it, and ``output*.npz`` and ``result.json`` are written there."""
    task = json.loads(path.read_text())
    entries = []
    for number in range(task["entries"]):
        with np.load(path.with_name(f"input{number}.npz")) as stored:
            entries.append({name: stored[name] for name in task["inputs"]})
    call = globals()[task["engine"]](task["weights"], task["inputs"], task["outputs"])
    for number, tensors in enumerate(entries):
        result = call(tensors)
        np.savez(path.with_name(f"output{number}.npz"), **dict(zip(task["outputs"], result, strict=True)))
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        call(entries[0])
        seconds.append(time.perf_counter() - start)
    path.with_name("result.json").write_text(json.dumps({"seconds": min(seconds)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
