"""Run a function of a script in this folder: ``run.py SCRIPT FUNCTION INPUTS.npz OUTPUTS.npz``."""

import importlib
import sys

import numpy as np

if __name__ == "__main__":
    script, function, given, result = sys.argv[1:]
    with np.load(given) as arrays:
        inputs = {key: value[()] if value.ndim == 0 else value for key, value in arrays.items()}
    np.savez(result, **getattr(importlib.import_module(script), function)(inputs))
