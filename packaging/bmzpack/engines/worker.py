"""One engine in a process of its own: reads a task, runs the weights file, writes outputs and time.

Run as a script, also by the Python 3.10 of the old engines: it imports nothing of bmzpack.
"""

import json
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np


def keras(weights, inputs, outputs):
    """As bioimageio.core does: inputs by position."""
    import keras

    model: Any = keras.models.load_model(weights, compile=False)

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


def main(folder):
    """Run the jobs of ``task.json`` with ``input*.npz``; write ``output*.npz`` and ``results.json`` beside them."""
    task = json.loads((folder / "task.json").read_text())
    entries = []
    for number in range(task["entries"]):
        with np.load(folder / f"input{number}.npz") as stored:
            entries.append({name: stored[name] for name in task["inputs"]})
    results = []
    for number, job in enumerate(task["jobs"]):
        try:
            outputs, seconds = run(job, entries, task["inputs"], task["outputs"])
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300].rstrip('.')}"
            results.append({"error": f"{job['engine']} cannot run {Path(job['weights']).name}: {reason}"})
            continue
        for entry, result in enumerate(outputs):
            np.savez(folder / f"output{number}-{entry}.npz", **dict(zip(task["outputs"], result)))  # noqa: B905
        results.append({"seconds": min(seconds)})
    (folder / "results.json").write_text(json.dumps(results))


def run(job, entries, inputs, outputs):
    """Outputs of all entries, and the seconds of some more calls with the first."""
    call = globals()[job["engine"]](job["weights"], inputs, outputs)
    results = [call(tensors) for tensors in entries]
    call(entries[0])  # TorchScript compiles in the second call with a size
    seconds = []
    while len(seconds) < 2 or (len(seconds) < 5 and sum(seconds) < 1):
        start = time.perf_counter()
        call(entries[0])
        seconds.append(time.perf_counter() - start)
    return results, seconds


if __name__ == "__main__":
    main(Path(sys.argv[1]))
