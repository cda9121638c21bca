"""Every operation computes what bioimageio.core computes, and so does its Keras layer."""

import keras
import numpy as np
import pytest
from bioimageio.spec.model import v0_5

from bmzpack.consumers import fiji, qupath
from bmzpack.consumers.jdll.processing import Transformation
from bmzpack.operations import processing
from bmzpack.operations.registry import OPERATIONS
from bmzpack.operations.section import Processing

AXES = ["batch", "y", "x", "channel"]
IMAGE = np.random.default_rng(0).uniform(-2, 9, (1, 8, 6, 3)).astype(np.float32)
CASES = [
    Processing(id="binarize", kwargs={"threshold": 3.0}),
    Processing(id="binarize", kwargs={"threshold": [1.0, 2.0, 3.0], "axis": "channel"}),
    Processing(id="clip", kwargs={"min": 0.0, "max": 4.0}),
    Processing(id="ensure_dtype", kwargs={"dtype": "uint8"}),
    Processing(id="fixed_zero_mean_unit_variance", kwargs={"mean": 3.0, "std": 2.0}),
    Processing(
        id="fixed_zero_mean_unit_variance", kwargs={"mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0], "axis": "channel"}
    ),
    Processing(id="scale_linear", kwargs={"gain": 2.0, "offset": -1.0}),
    Processing(id="scale_linear", kwargs={"gain": [1.0, 2.0, 3.0], "offset": [0.0, -1.0, 0.5], "axis": "channel"}),
    Processing(id="scale_range", kwargs={"min_percentile": 1.0, "max_percentile": 99.0}),
    Processing(id="scale_range", kwargs={"axes": ["y", "x"]}),
    Processing(id="sigmoid"),
    Processing(id="softmax"),
    Processing(id="zero_mean_unit_variance"),
    Processing(id="zero_mean_unit_variance", kwargs={"axes": ["y", "x"]}),
]
NAMES = [f"{case.id}-{len(case.kwargs)}" for case in CASES]


def by_core(step):
    image = np.abs(IMAGE) if step.id == "ensure_dtype" else IMAGE
    entry = {
        "id": "raw",
        "axes": [
            {"type": "batch", "id": "batch"},
            {"type": "space", "id": "y", "size": 8},
            {"type": "space", "id": "x", "size": 6},
            {"type": "channel", "id": "channel", "channel_names": ["a", "b", "c"]},
        ],
        "data": {"type": "float32"},
        "test_tensor": {"source": "a.npy"},
        "preprocessing": [step.model_dump(exclude_defaults=True)],
    }
    return image, processing.arrays(processing.preprocess([entry], {"raw": image}), ["raw"])["raw"]


@pytest.mark.parametrize("step", CASES, ids=NAMES)
def test_forward(step):
    image, expected = by_core(step)
    np.testing.assert_allclose(step.operation.forward(image, AXES), expected, atol=1e-5)


@pytest.mark.parametrize("step", [case for case in CASES if case.operation.has_layer])
def test_layer(step):
    layer = step.operation.layer("byxc", "step")
    found = keras.ops.convert_to_numpy(layer(IMAGE))
    np.testing.assert_allclose(found, step.operation.forward(IMAGE, AXES), atol=1e-5)


@pytest.mark.parametrize("step", CASES, ids=NAMES)
def test_declared_form_means_the_same(step):
    if not step.operation.needs_graph:
        declared = step.operation.declared(AXES, 3)
        np.testing.assert_allclose(declared.forward(IMAGE, AXES), step.operation.forward(IMAGE, AXES), atol=1e-5)


@pytest.mark.parametrize("step", CASES, ids=NAMES)
def test_fiji_where_it_is_exact(step):
    lists = any(isinstance(value, list) for value in step.kwargs.values())
    if step.id in ("binarize", "clip", "sigmoid", "fixed_zero_mean_unit_variance") and not lists:
        found = Transformation(step.id, step.kwargs, "byxc").forward(IMAGE)
        np.testing.assert_allclose(found, step.operation.forward(IMAGE, AXES), atol=1e-12)


def test_names_are_those_of_the_specification():
    known = {
        description.model_fields["id"].annotation.__args__[0]
        for description in (*_members(v0_5.PreprocessingDescr), *_members(v0_5.PostprocessingDescr))
    }
    assert set(OPERATIONS) == known - {"custom"}
    assert list(OPERATIONS) == sorted(OPERATIONS)


def _members(union):
    return union.__args__[0].__args__


def test_what_programs_compute():
    same = {"binarize", "clip", "scale_linear", "scale_range", "sigmoid", "zero_mean_unit_variance"}
    assert same == qupath.OPERATIONS
    assert same | {"fixed_zero_mean_unit_variance"} == fiji.OPERATIONS
    assert set(OPERATIONS) >= fiji.OPERATIONS


@pytest.mark.parametrize("name", ["sigmoid", "softmax", "zero_mean_unit_variance"])
def test_operations_without_arguments_are_as_specified(name):
    processing.check_operations([Processing.model_validate(name)], "postprocessing", "raw")
