"""One engine in a process of its own: reads a task, runs the weights files, writes outputs and times.

Run as a script, also by the Python 3.10 of the old engines: it imports nothing of bmzpack.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def keras(job, inputs, outputs):
    """As bioimageio.core does: inputs by position."""
    import keras

    model: Any = keras.models.load_model(job["weights"], compile=False, safe_mode=not job["trust"])

    def call(tensors):
        given = keras.tree.pack_sequence_as(model.input, [tensors[name] for name in inputs])
        return [np.asarray(tensor) for tensor in keras.tree.flatten(model.predict_on_batch(given))]

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


def main(folder):
    """Run the jobs of ``task.json`` with ``input*.npz``; write ``output*.npz`` and ``results.json`` beside them."""
    task = json.loads((folder / "task.json").read_text())
    limit_memory(task["memory"])
    entries = []
    for number in range(task["entries"]):
        with np.load(folder / f"input{number}.npz") as stored:
            entries.append({name: stored[name] for name in task["inputs"]})
    results = []
    for number, job in enumerate(task["jobs"]):
        try:
            call = globals()[job["engine"]](job, task["inputs"], task["outputs"])
        except Exception as error:
            results.append({"error": "{engine} cannot run {name}: {reason}".format(reason=told(error), **job)})
            continue
        results.append(run(job, call, entries, task["outputs"], str(folder / f"output{number}-")))
    (folder / "results.json").write_text(json.dumps(results))


def run(job, call, entries, names, stem):
    """Run all entries, write their outputs, and tell what went wrong with which, and the time of some more calls."""
    failures = {}
    for number, tensors in enumerate(entries):
        try:
            outputs = call(tensors)
            if len(outputs) != len(names):
                raise ValueError(f"it gives {len(outputs)} outputs where {len(names)} are described")
            np.savez(f"{stem}{number}.npz", **dict(zip(names, outputs)))  # noqa: B905
        except Exception as error:
            if number == 0:
                return {"error": "{engine} cannot run {name}: {reason}".format(reason=told(error), **job)}
            shapes = ", ".join("{} of {}".format(name, "x".join(map(str, a.shape))) for name, a in tensors.items())
            failures[number] = "{engine} cannot run {name} with {shapes}: {reason}".format(
                shapes=shapes, reason=told(error), **job
            )
    return {"seconds": clock(lambda: call(entries[0])), "failures": failures}


def clock(call):
    """Seconds of the fastest of two to five calls."""
    call()  # TorchScript compiles in the second call with a size
    seconds = []
    while len(seconds) < 2 or (len(seconds) < 5 and sum(seconds) < 1):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def told(error):
    """An exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:600].rstrip('.')}"


def limit_memory(size):
    """Let an allocation fail rather than the computer."""
    try:
        import resource
    except ImportError:  # on Windows
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard == resource.RLIM_INFINITY or size < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (size, hard))


def _called(names, ids):
    """The graph's names of tensors in the order of their ids: the same, or else by position, as JDLL does."""
    if set(ids) <= set(names):
        return ids
    if len(names) != len(ids):
        raise ValueError("it has the tensors {} where {} are described".format(", ".join(names), ", ".join(ids)))
    return names


if __name__ == "__main__":
    main(Path(sys.argv[1]))
