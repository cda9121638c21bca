"""The model of JDLL against what its own code did, and the image sizes that verdicts state."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from corpus import clean
from hypothesis import given
from hypothesis import strategies as st

from bmzpack import check
from bmzpack.consumers.jdll.descriptor import Refused, read
from bmzpack.consumers.jdll.java import hash_map_order, string_hash
from bmzpack.consumers.jdll.processing import Transformation
from bmzpack.consumers.jdll.tiles import tried
from bmzpack.consumers.jdll.weights import walked

OUTCOMES = json.loads(Path(__file__).with_name("jdll_outcomes.json").read_text(encoding="utf-8"))
"""Descriptions made at random, images, and whether the tile calculator and tile maker of dl-modelrunner 0.6.1, compiled
and run, came to an end with as many tiles of every image as of the first."""


@pytest.mark.parametrize("number", range(len(OUTCOMES)))
def test_tiles_as_in_its_own_code(number):
    case = OUTCOMES[number]
    try:
        model = read(case["rdf"], case["rdf"]["format_version"].startswith("0.4"))
    except Refused:
        assert not any(case["runs"])
        return
    for image, runs in zip(case["images"], case["runs"], strict=True):
        trial = tried(model, {name: [np.array([size]) for size in sizes] for name, sizes in image.items()})
        follows = any("follows another axis" in reason.why for reason in trial.reasons)
        # a tile of one pixel is no exception there: the network gets it
        assert (trial.refused[0] < 0) == runs or follows, (image, trial.reasons)


def test_many_sizes_at_once_are_those_one_by_one():
    for case in OUTCOMES[:20]:
        try:
            model = read(case["rdf"], case["rdf"]["format_version"].startswith("0.4"))
        except Refused:
            continue
        images = case["images"]
        names = list(images[0])
        together = {name: [np.array(sizes) for sizes in zip(*(i[name] for i in images), strict=True)] for name in names}
        alone = [
            tried(model, {name: [np.array([size]) for size in image[name]] for name in names}).refused[0] < 0
            for image in images
        ]
        assert (tried(model, together).refused < 0).tolist() == alone


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0), ("a", 97), ("pytorch_state_dict_vUnknown0", -380592883), ("torchscript_v1.13.1", -1695829376)],
)
def test_hash_of_a_string(text, expected):
    """As Java printed it."""
    assert string_hash(text) == expected % 2**32


def test_order_of_weights():
    """As Java's own HashMap printed it."""
    assert hash_map_order(["pytorch_state_dict_vUnknown0", "torchscript_v1.13.1"]) == [
        "torchscript_v1.13.1",
        "pytorch_state_dict_vUnknown0",
    ]
    versions = {
        "onnx": {"opset_version": 15},
        "torchscript": {"pytorch_version": "2.3.0"},
        "keras_v3": {"keras_version": "3.15.1"},
    }
    assert walked(versions) == ["torchscript", "onnx"]
    # no version: those that JDLL takes
    assert walked({"pytorch_state_dict": {}, "torchscript": {}}) == ["torchscript", "pytorch_state_dict"]
    # the version of CUDA is cut off, and YAML's number 1.10 is 1.1
    assert walked({"torchscript": {"pytorch_version": "1.13.1+cu117"}, "onnx": {}}) == walked(
        {"torchscript": {"pytorch_version": "1.13.1"}, "onnx": {"opset_version": 17}}
    )


@given(st.lists(st.text(), unique=True, max_size=12))
def test_every_key_comes_back(keys):
    assert sorted(hash_map_order(keys)) == sorted(keys)


def test_tensors_of_one_id_and_other_axes(tmp_path):
    """JDLL keeps tensors by their ids: the second would take the place of the first."""
    bundle = clean(tmp_path / "bundle")
    other = copy.deepcopy(bundle.rdf["inputs"][0])
    del other["axes"][1]
    bundle.rdf["inputs"].append(other)
    with pytest.raises(Refused, match="Another tensor has the id raw too"):
        read(bundle.rdf, is_old=False)
    verdict = check(bundle.finish(), consumers=["fiji"]).consumers["fiji"]
    assert "T7" in {finding.rule for finding in verdict.findings}
    assert verdict.sides is None


def test_sides_of_a_verdict(tmp_path):
    verdict = check(clean(tmp_path / "bundle").finish(), consumers=["fiji"]).consumers["fiji"]
    assert verdict.sides is not None
    first, last = verdict.sides.running[0].first, verdict.sides.running[0].last
    assert (str(verdict.sides), first, last) == ("14 to 5,021 pixels a side", 14, 5021)
    # 5,024 x 5,024 pixels of two channels are more than 4096 x 4096 x 3
    assert 5008**2 * 2 <= 4096 * 4096 * 3 < 5024**2 * 2
    assert "never returns" in verdict.sides.stretches[-1].why
    written = verdict.as_dict()
    assert written["sides"]["text"] == "14 to 5,021 pixels a side"
    assert written["versions"] == {"deepImageJ": "3.1 (c84362b)", "JDLL": "0.6.1"}


@pytest.mark.parametrize(
    ("name", "kwargs", "says"),
    [
        ("zero_mean_unit_variance", {"axes": ["channel", "y", "x"]}, None),
        ("zero_mean_unit_variance", {"mode": "fixed", "axes": "yx", "mean": 1.0, "std": 2.0}, "no numbers"),
        ("zero_mean_unit_variance", {"mode": "fixed", "axes": "yx", "mean": [1.0, 2.0], "std": [1.0, 1.0]}, None),
        ("zero_mean_unit_variance", {"mode": "fixed", "mean": 1.0, "std": 2.0}, None),
        ("zero_mean_unit_variance", {"mean": 1.0, "std": 2.0}, "in the mode fixed only"),
        ("zero_mean_unit_variance", {"mode": "by_hand"}, "no mode"),
        ("fixed_zero_mean_unit_variance", {"axis": "channel", "mean": [1.0], "std": [2.0]}, "as many numbers"),
        ("scale_linear", {"gain": 0.1, "offset": "2.5"}, None),
        ("scale_linear", {"gain": True}, "does not take gain"),
        ("clip", {"min": 0}, "needs max"),
        ("binarize", {"threshold": 0.5, "limit": 1}, "no argument limit"),
        ("softmax", {}, "no operation softmax"),
    ],
)
def test_arguments(name, kwargs, says):
    refusal = Transformation(name, kwargs, "bcyx").refusal({"b": 1, "c": 2})
    assert says in refusal if says else refusal is None


def test_what_transformations_compute():
    image = np.random.default_rng(0).gamma(2, 20, (1, 2, 8, 6))
    plane_by_plane = Transformation("zero_mean_unit_variance", {"axes": ["y", "x"]}, "bcyx").forward(image)
    expected = image
    for channel in range(2):
        plane = expected[:, channel]
        expected = (expected - plane.mean()) / (plane.std() + 1e-6)
    np.testing.assert_allclose(plane_by_plane, expected)
    # of "batch" the letters b and c count
    whole = Transformation("zero_mean_unit_variance", {"axes": ["batch", "y", "x"]}, "bcyx").forward(image)
    np.testing.assert_allclose(whole, (image - image.mean()) / (image.std() + 1e-6))
    first = Transformation("scale_linear", {"axis": "channel", "gain": [2.0, 9.0]}, "bcyx").forward(image)
    np.testing.assert_allclose(first, 2 * image)
    by_channel = {"mode": "fixed", "axes": "yx", "mean": [1.0, 5.0], "std": [2.0, 3.0]}
    fixed = Transformation("zero_mean_unit_variance", by_channel, "bcyx").forward(image)
    right = (image - np.reshape([1, 5], (1, 2, 1, 1))) / (np.reshape([2, 3], (1, 2, 1, 1)) + 1e-6)
    np.testing.assert_allclose(fixed, right)
    scaled = Transformation("scale_range", {"axes": ["channel", "y", "x"], "max_percentile": 50}, "bcyx").forward(image)
    low, high = np.sort(image, None)[[0, image.size // 2]]
    np.testing.assert_allclose(scaled, (image - low) / (high - low + 1e-6))
