"""A bundle whose labels bioimageio.core makes with the official package of its environment."""

import numpy as np
from bioimageio.core import Sample, Tensor, create_prediction_pipeline, test_description
from bioimageio.spec import ValidationContext, load_model_description


def labels_of(inputs):
    """Labels of an image (y, x, channel) by the ONNX file and the operation, and what the test of the model says."""
    with ValidationContext(perform_io_checks=False):
        summary = test_description(str(inputs["bundle"]), weight_format="onnx")
        model = load_model_description(str(inputs["bundle"]), format_version="latest")
        image = Tensor.from_numpy(inputs["image"][None].astype(np.float32), dims=model.inputs[0].axes)
        with create_prediction_pipeline(model, weights_format="onnx") as pipeline:
            sample = Sample(members={model.inputs[0].id: image}, stat={}, id="image")
            found = pipeline.predict_sample_without_blocking(sample).members[model.outputs[0].id]
    problems = [error.msg for detail in summary.details for error in detail.errors]
    return {"labels": found.to_numpy().squeeze(), "status": summary.status, "problems": "; ".join(problems)}
