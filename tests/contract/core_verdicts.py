"""What a bioimageio.core makes of bundles, in an environment of its own: ``core_verdicts.py FOLDER... -- FOLDER...``.

Prints as JSON, by folder: whether the description is taken; of the folders before the ``--`` also whether the ONNX file
passes the test of the model (null where there is none); and why not. Nothing is looked up in the network.
"""

import json
import pathlib
import sys
import warnings

import bioimageio.core
import bioimageio.spec
from loguru import logger


def verdict(folder, runs):
    """What happens to a bundle; its ONNX file is run on request."""
    with bioimageio.spec.ValidationContext(perform_io_checks=False):
        try:
            model = bioimageio.spec.load_description(folder / "rdf.yaml")
        except Exception as error:
            return {"loads": False, "onnx": None, "why": repr(error)[:200]}
        if isinstance(model, bioimageio.spec.InvalidDescr):
            return {"loads": False, "onnx": None, "why": _errors(model.validation_summary)}
        weights = getattr(getattr(model, "weights", None), "onnx", None)
        if weights is None or not runs:
            return {"loads": True, "onnx": None, "why": ""}
        try:
            summary = bioimageio.core.test_description(folder / "rdf.yaml", weight_format="onnx")
        except Exception as error:
            return {"loads": True, "onnx": False, "why": repr(error)[:200]}
        return {"loads": True, "onnx": summary.status == "passed", "why": _errors(summary)}


def _errors(summary):
    return "; ".join(str(error.msg)[:100] for detail in summary.details for error in detail.errors)[:300]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logger.remove()
    end = sys.argv.index("--")
    found = {folder: verdict(pathlib.Path(folder), True) for folder in sys.argv[1:end]}
    found |= {folder: verdict(pathlib.Path(folder), False) for folder in sys.argv[end + 1 :]}
    print(json.dumps(found))
