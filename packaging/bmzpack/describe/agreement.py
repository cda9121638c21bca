"""How well the weights formats agree with Keras, and how fast they are.

Times differ from one call to the next, yet packing twice gives the same bytes: what was measured on the same files is
remembered in the user's cache and stated again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bmzpack.describe.rdf import sha256
from bmzpack.files import cache_folder, new_file
from bmzpack.weights import Written

Agreement = dict[str, dict[str, Any]]
"""``max_abs_error`` (of the output's range) and ``seconds`` by weights format."""


def agreement_of(written: Sequence[Written], test_inputs: Sequence[Mapping[str, np.ndarray]]) -> Agreement:
    """The agreement of weights files; remembered where these files were measured before with these test inputs."""
    digest = hashlib.sha256()
    for entry in written:
        digest.update(f"{entry.format} {sha256(entry.path)}\n".encode())
    for tensors in test_inputs:
        for name, array in tensors.items():
            digest.update(f"{name} {array.shape}\n".encode() + array.tobytes())
    path = cache_folder("agreement") / f"{digest.hexdigest()}.json"
    if path.is_file():
        with contextlib.suppress(ValueError):
            return json.loads(path.read_text(encoding="utf-8"))
    measured = {
        entry.format: {"max_abs_error": float(entry.max_abs_error), "seconds": float(entry.latency_s)}
        for entry in written
    }
    with contextlib.suppress(OSError, ValueError), new_file(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(measured), encoding="utf-8")
    return measured
