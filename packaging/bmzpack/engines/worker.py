"""One engine in a process of its own: reads a task, runs the weights files, writes outputs and times.

Run as a script, also by the Python 3.10 of the old engines: it imports nothing of bmzpack.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def main(folder):
    """Run the jobs of ``task.json`` with ``input*.npy``; write ``output*.npy`` and ``results.json`` beside them."""
    task = json.loads((folder / "task.json").read_text())
    entries = read_entries(folder, task)
    results = []
    for number, job in enumerate(task["jobs"]):
        try:
            call = loader(**job["loader"])(job, task["inputs"], task["outputs"])
        except Exception as error:
            results.append({"error": "{engine} cannot run {name}: {reason}".format(reason=one_line(error), **job)})
            continue
        results.append(run(job, call, entries, task["outputs"], str(folder / f"output{number}-")))
    (folder / "results.json").write_text(json.dumps(results))


def loader(file, function):
    """A loader by the file that it stands in, as an old Python has no bmzpack to import it from."""
    specification: Any = importlib.util.spec_from_file_location(Path(file).stem, file)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return getattr(module, function)


def read_entries(folder, task):
    """The test inputs: tensors by id, one dict per entry."""
    return [
        {name: np.load(folder / f"input{number}-{position}.npy") for position, name in enumerate(task["inputs"])}
        for number in range(task["entries"])
    ]


def run(job, call, entries, names, stem):
    """Run all entries, write their outputs, and say what went wrong with which, and the time of some more calls."""
    failures = {}
    for number, tensors in enumerate(entries):
        try:
            outputs = call(tensors)
            if len(outputs) != len(names):
                raise ValueError(f"it gives {len(outputs)} outputs where {len(names)} are described")
            for position, output in enumerate(outputs):
                np.save(f"{stem}{number}-{position}.npy", np.asarray(output), allow_pickle=False)
        except Exception as error:
            if number == 0:
                return {"error": "{engine} cannot run {name}: {reason}".format(reason=one_line(error), **job)}
            shapes = ", ".join("{} of {}".format(name, "x".join(map(str, a.shape))) for name, a in tensors.items())
            failures[number] = "{engine} cannot run {name} with {shapes}: {reason}".format(
                shapes=shapes, reason=one_line(error), **job
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


def one_line(error):
    """An exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:600].rstrip('.')}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
