"""Weights formats through bioimageio.core: ``python -m bmzpack.core_test RDF.yaml RESULT.json FORMAT...``."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from bmzpack.consumers import core_obstacle


def main(rdf: Path, result: Path, formats: Sequence[str]) -> None:
    """Test weights formats; statuses, seconds and messages go into ``result`` after each of them."""
    rdf, result = rdf.resolve(), result.resolve()
    content = yaml.safe_load(rdf.read_text(encoding="utf-8"))
    os.chdir(result.parent)  # bioimageio.core unpacks a saved model into the working folder, and leaves it there
    found = {}
    for name in formats:
        start = time.perf_counter()
        status, messages = _test(rdf, content, name)
        found[name] = {"status": status, "seconds": round(time.perf_counter() - start, 2), "messages": messages}
        result.write_text(json.dumps(found), encoding="utf-8")


def _test(rdf: Path, content: dict[str, Any], name: Any) -> tuple[str, list[str]]:
    from bioimageio.core import test_description

    from bmzpack.rdf import offline

    if obstacle := core_obstacle(name, len(content["inputs"]), len(content["outputs"])):
        return "unsupported", [obstacle]
    source: Any = rdf
    if name == "keras_hdf5":
        # it runs keras_v3 in its place wherever a bundle has both
        weights = {key: value for key, value in content["weights"][name].items() if key != "parent"}
        source = content | {"weights": {name: weights}}
    with offline(content, rdf.parent):
        summary = test_description(source, weight_format=name, expected_type="model")
    messages = [
        f"bioimageio.core: {detail.name}: {' '.join(error.msg.split())}"
        for detail in summary.details
        for error in detail.errors
    ]
    return ("passed" if summary.status == "passed" else "failed"), messages


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
