"""Weights formats through bioimageio.core, in a process of its own: ``python -m bmzpack.testing.core_process FOLDER``.

The folder holds the task and gets the results, as with the workers of the other engines. Jobs name ``rdf``, the
description's file, and ``format``; their results say more than those of others: ``status`` and ``messages`` of the test
that `bioimageio.core` makes of a model. Where a job is ``applied``, there is no test, and inputs are images, which get
all of the bundle's processing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmzpack.bundle.archive import read_description
from bmzpack.bundle.specification import local, offline
from bmzpack.engines import worker
from bmzpack.errors import UserError


def main(folder: Path) -> None:
    """Do the jobs of ``task.json``; write ``output*.npy`` and ``results.json`` beside it."""
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    entries = worker.read_entries(folder, task)
    results = [
        _run(job, entries, task["outputs"], str(folder / f"output{number}-")) for number, job in enumerate(task["jobs"])
    ]
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")


def _run(job: dict[str, Any], entries: Sequence[dict[str, np.ndarray]], names: list[str], stem: str) -> dict[str, Any]:
    from bioimageio.core import create_prediction_pipeline, test_description
    from bioimageio.spec import InvalidDescr, build_description

    if job["trust"] and "keras" in job["format"]:
        import keras

        keras.config.enable_unsafe_deserialization()
    rdf = Path(job["rdf"])
    content = read_description(rdf)
    # of this format alone: it runs keras_v3 in place of keras_hdf5 wherever a bundle has both, and refuses all formats
    # for a file that one of them lacks
    weights = {key: value for key, value in content["weights"][job["format"]].items() if key != "parent"}
    if Path(job["weights"]) != (rdf.parent / str(weights["source"])).resolve():  # written anew
        weights = {key: value for key, value in weights.items() if key != "sha256"} | {"source": job["weights"]}
    content: Any = local(content) | {"weights": {job["format"]: weights}}
    found = {}
    with offline(content, rdf.parent):
        if not job["applied"]:
            summary = test_description(content, weight_format=job["format"], expected_type="model")
            messages = [
                f"bioimageio.core: {detail.name}: {reason}"
                for detail in summary.details
                for error in detail.errors
                if (reason := _reason(error))
            ]
            found = {"status": "passed" if summary.status == "passed" else "failed", "messages": messages}
        try:
            model: Any = build_description(content, format_version="latest")
            if isinstance(model, InvalidDescr):
                raise UserError("the description is not valid")
            with create_prediction_pipeline(model, weights_format=job["format"]) as pipeline:
                axes = {str(tensor.id): [axis.id for axis in tensor.axes] for tensor in model.inputs}
                return found | worker.run(
                    {"engine": "bioimageio.core", "name": job["name"]},
                    lambda tensors: _predict(pipeline, axes, tensors, names, job["applied"]),
                    entries,
                    names,
                    stem,
                )
        except Exception as error:
            return found | {"error": f"bioimageio.core cannot run {job['name']}: {worker.one_line(error)}"}


def _reason(error: Any) -> str:
    """What an error of bioimageio.core says, else the last line of its traceback, which its message leaves out."""
    trace = [line.strip("` ") for line in (error.traceback_md or "").splitlines() if line.strip("` ")]
    return " ".join(error.msg.split()) or (trace[-1] if trace else "")


def _predict(
    pipeline: Any, axes: dict[str, list[Any]], tensors: dict[str, np.ndarray], names: Sequence[str], applied: bool
) -> list[np.ndarray]:
    """What all of the bundle makes of images, or else the network alone of tensors."""
    from bioimageio.core import Sample, Tensor

    members: dict[Any, Any] = {name: Tensor.from_numpy(array, dims=axes[name]) for name, array in tensors.items()}
    result = pipeline.predict_sample_without_blocking(
        Sample(members=members, stat={}, id="test"),
        skip_preprocessing=not applied,
        skip_postprocessing=not applied,
        skip_input_padding=not applied,
        skip_output_cropping=not applied,
    )
    return [np.asarray(result.members[name].data) for name in names]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
