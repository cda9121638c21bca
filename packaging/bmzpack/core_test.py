"""A weights format through bioimageio.core: ``python -m bmzpack.core_test RDF.yaml FORMAT RESULT.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml


def main(rdf: Path, weights_format: Any) -> dict[str, Any]:
    """Test a weights format; status and messages."""
    from bioimageio.core import test_description

    from bmzpack.rdf import offline

    content = yaml.safe_load(rdf.read_text(encoding="utf-8"))
    if weights_format.startswith("keras") and len(content["inputs"]) > 1:
        message = "it calls a Keras model with one input only, so that it cannot run one with several."
        return {"status": "unsupported", "messages": [message]}
    source: Any = rdf.resolve()
    if weights_format == "keras_hdf5":
        # bioimageio.core runs keras_v3 in its place wherever a bundle has both
        weights = {key: value for key, value in content["weights"]["keras_hdf5"].items() if key != "parent"}
        source = content | {"weights": {"keras_hdf5": weights}}
    with offline(content, rdf.parent):
        summary = test_description(source, weight_format=weights_format, expected_type="model")
    messages = [
        f"{detail.name}: {' '.join(error.msg.split())}" for detail in summary.details for error in detail.errors
    ]
    return {"status": "passed" if summary.status == "passed" else "failed", "messages": messages}


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(json.dumps(main(Path(sys.argv[1]), sys.argv[2])), encoding="utf-8")
