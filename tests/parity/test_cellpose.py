"""Cellpose against the official package: network, flows, loss, objects; and what they take."""

import time

import keras
import numba
import numpy as np
import pytest
import scipy.ndimage

from answers import answer, labels_of, network_of, packed, recipe_of
from bmzpack.errors import UserError
from kerazoo.config import DataConfig
from kerazoo.data.rescale import diameter
from kerazoo.exporting.labels import labels_postprocessing
from kerazoo.files.masks import read_mask
from kerazoo.models.cellpose.checkpoint import read_network
from kerazoo.models.cellpose.decoding import cluster, find_flow_objects, flow_errors, integrate, remove_inconsistent
from kerazoo.models.cellpose.loss import FlowLoss
from kerazoo.models.cellpose.network import cellpose as cellpose_network
from kerazoo.models.cellpose.targets import flow_targets
from kerazoo.models.omnipose.network import omnipose
from kerazoo.models.shared.matching import overlaps
from kerazoo.models.shared.packed import channels_first
from kerazoo.training.convert import convert

SETS = ("cells_usiigaci", "nuclei_dsb2018")


@pytest.fixture
def cellpose(peer):
    return peer("cellpose")


@pytest.fixture
def field(data_folder):
    """A function from the name of a data set to a label image of 1024 x 1024 pixels, made of several."""

    def build(name, size=1024):
        paths = sorted((data_folder(name) / "train" / "masks").iterdir())
        labels, y, number = np.zeros((size, size), np.int32), 0, 0
        while y < size:
            x, height = 0, size
            while x < size:
                mask = read_mask(paths[number % len(paths)], DataConfig())[: size - y, : size - x].astype(np.int32)
                part = labels[y : y + mask.shape[0], x : x + mask.shape[1]]
                part[mask > 0] = mask[mask > 0] + labels.max()
                number, x, height = number + 1, x + mask.shape[1], min(height, mask.shape[0])
            y += height
        return labels

    return build


def network_output(labels, noise, seed=1):
    """What a network might say: blurred targets with smooth noise."""
    random = np.random.default_rng(seed)
    target = flow_targets(labels)
    output = np.concatenate([5 * target[..., :2], 12 * target[..., 2:] - 6], axis=-1)
    if noise:
        for channel in np.moveaxis(output, -1, 0):
            channel[:] = scipy.ndimage.gaussian_filter(channel, 1)
            channel += noise * scipy.ndimage.gaussian_filter(random.normal(size=labels.shape), 1.5)
    return output.astype(np.float32)


def precision(truth, found, threshold=0.9):
    """Average precision TP / (TP + FP + FN)."""
    pairs = overlaps(truth, found)
    hits = (pairs.iou >= threshold).sum()
    return hits / max(truth_count(truth) + truth_count(found) - hits, 1)


def truth_count(labels):
    return len(np.unique(labels[labels > 0]))


def images(channels, *sizes):
    random = np.random.default_rng(1)
    return {f"image{i}": random.normal(size=(2, *size, channels)).astype(np.float32) for i, size in enumerate(sizes)}


def trainable(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


@pytest.mark.parametrize(("channels", "legacy"), [(1, 0), (2, 0), (2, 1)])
def test_same_outputs_with_the_same_weights(cellpose, tmp_path, channels, legacy):
    given = images(channels, (32, 48), (8, 8), (224, 224))
    path = tmp_path / "official.pth"
    official = cellpose("network", seed=1, channels=channels, outputs=3, path=str(path), legacy=legacy, **given)
    assert official["tensors"] == 313
    model, diameters = read_network(path, cellpose_network)
    assert diameters == {"diam_mean": 30.0, "diam_labels": 23.5}
    assert model.name == "cellpose"
    assert trainable(model) == official["parameters"] == {1: 6_600_519, 2: 6_600_843}[channels]
    for name, image in given.items():
        np.testing.assert_allclose(model.predict_on_batch(image), official[name], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("channels", "outputs", "parameters"), [(2, 4, 6_600_876), (1, 3, 6_600_519)])
def test_omnipose_has_the_same_outputs_with_the_same_weights(peer, tmp_path, channels, outputs, parameters):
    given = images(channels, (32, 48), (16, 16), (224, 224))
    path = tmp_path / "official.pth"
    run = peer("omnipose", "omnipose_network")
    official = run("network", seed=1, channels=channels, outputs=outputs, path=str(path), **given)
    model, diameters = read_network(path, omnipose)
    assert (model.name, diameters) == ("omnipose", {})
    assert trainable(model) == official["parameters"] == parameters
    for name, image in given.items():
        np.testing.assert_allclose(model.predict_on_batch(image), official[name], atol=1e-4, rtol=0)


def test_four_outputs_are_those_of_omnipose(cellpose, tmp_path):
    cellpose("network", seed=1, channels=2, outputs=4, path=str(tmp_path / "four.pth"))
    assert convert("omnipose", tmp_path / "four.pth", tmp_path / "run", channels=2).recipe.model == "omnipose2d"
    with pytest.raises(UserError, match="By its outputs it is omnipose"):
        convert("cellpose", tmp_path / "four.pth", tmp_path / "other")
    cellpose("network", seed=1, channels=2, outputs=2, path=str(tmp_path / "two.pth"))
    with pytest.raises(UserError, match="2 outputs"):
        convert("cellpose", tmp_path / "two.pth", tmp_path / "other")


@pytest.mark.parametrize("name", SETS)
def test_same_flows(cellpose, field, name):
    labels = field(name)
    expected = cellpose("flows", labels=labels)["flows"]
    found = flow_targets(labels)
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)
    assert diameter(labels) == pytest.approx(float(cellpose("diameter", labels=labels)["diameter"]))


def test_same_loss_and_gradient(cellpose):
    import tensorflow as tf

    random = np.random.default_rng(1)
    truth = random.uniform(-1, 1, (3, 20, 24, 3)).astype(np.float32)
    truth[..., 2] = random.integers(0, 2, truth.shape[:3])
    prediction = (4 * random.normal(size=truth.shape)).astype(np.float32)
    expected = cellpose("loss", truth=truth, prediction=prediction)
    variable = tf.Variable(prediction)
    with tf.GradientTape() as tape:
        loss = FlowLoss()(truth, variable)
    assert float(loss) == pytest.approx(float(expected["loss"]), rel=1e-6)
    gradient = keras.ops.convert_to_numpy(tape.gradient(loss, variable))
    np.testing.assert_allclose(gradient, expected["gradient"], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("noise", [0, 2, 8, 16])
def test_same_objects(cellpose, field, name, noise):
    output = network_output(field(name, 512), noise)
    threshold, flow_error = (0.0, 0.4) if noise < 16 else (1.0, 0.6)
    expected = cellpose("masks", flows=output, threshold=threshold, flow_error=flow_error)
    inside = output[..., 2] > threshold
    ends = integrate(output, inside, 200)
    np.testing.assert_array_equal(ends, expected["ends"])
    labels = cluster(ends, inside)
    np.testing.assert_array_equal(labels, expected["clusters"])
    errors = cellpose("errors", labels=labels, flows=output)["errors"]
    np.testing.assert_allclose(flow_errors(labels, output)[1:], errors, rtol=1e-9)
    np.testing.assert_array_equal(remove_inconsistent(labels, output, flow_error), expected["consistent"])
    found = find_flow_objects(output, threshold, flow_error)
    # The official result where removed objects leave no gaps in the labels, see `find_flow_objects`.
    np.testing.assert_array_equal(found, expected["closed"])
    assert precision(expected["masks"].astype(np.int32), found) >= 0.99


def test_objects_of_a_network_that_knows_nothing(cellpose):
    random = np.random.default_rng(3)
    output = np.stack([scipy.ndimage.gaussian_filter(random.normal(size=(300, 260)), 3) * 40 for _ in range(3)], -1)
    output = output.astype(np.float32)
    expected = cellpose("masks", flows=output, threshold=0.0, flow_error=0.0)
    inside = output[..., 2] > 0
    ends = integrate(output, inside, 200)
    np.testing.assert_array_equal(ends, expected["ends"])
    np.testing.assert_array_equal(cluster(ends, inside), expected["clusters"])
    np.testing.assert_array_equal(find_flow_objects(output, flow_error=0), expected["masks"])


def best_of(repeats, function):
    """The shortest time, in seconds, after a first call that compiles."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.bench
@pytest.mark.parametrize("name", SETS)
def test_faster_than_the_official_package(cellpose, field, name, capsys):
    numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))  # pyright: ignore[reportAttributeAccessIssue]
    labels = field(name)
    output = network_output(labels, noise=2)
    targets = best_of(5, lambda: flow_targets(labels)) / float(cellpose("flows", labels=labels, repeats=5)["seconds"])
    official = cellpose("masks", flows=output, threshold=0.0, flow_error=0.4, repeats=5)["seconds"]
    masks = best_of(5, lambda: find_flow_objects(output)) / float(official)
    with capsys.disabled():
        print(f"\n{name} 1024^2 against cellpose: labels to flows {targets:.2f}x, masks from flows {masks:.2f}x")
    assert targets <= 0.5
    assert masks <= 0.4


def test_the_operation_of_the_zoo_gives_our_labels(peer, field, tmp_path):
    """A raw bundle run by bioimageio.core with the official package, on another image than the packed one."""
    recipe = recipe_of("flows")
    images = [answer(field(name, 256), recipe) for name in SETS]
    path = tmp_path / "raw.zip"
    formats = ["keras_v3", "onnx"]
    model = channels_first(network_of(recipe))
    packed(recipe, images[0], path, labels_postprocessing(recipe, "raw"), model, "bcyx", formats=formats)
    for image in images:
        found = peer("cellpose", "core_bundle")("labels_of", bundle=path, image=image)
        assert found["status"] == "passed", found["problems"]
        assert found["labels"].max() > 5
        np.testing.assert_array_equal(found["labels"], labels_of(image, recipe))


def test_the_operation_also_where_objects_are_removed(peer, tmp_path):
    """Once flows have removed an object, the official filter of small ones goes by ranks: so does the test tensor."""
    recipe = recipe_of("flows")
    labels = np.zeros((96, 96), np.int32)
    for label, (y, x, height, width) in enumerate(
        [(4, 4, 21, 21), (30, 8, 20, 22), (60, 40, 24, 20), (66, 70, 20, 18)], start=1
    ):
        labels[y : y + height, x : x + width] = label
    rows, columns = np.ogrid[:96, :96]
    labels[abs(rows - 45) + abs(columns - 60) <= 2] = 5  # 13 pixels
    output = answer(labels, recipe)
    wrong = labels == 1
    turned = output[wrong, :2] @ np.float32([[0.5, 0.87], [-0.87, 0.5]])  # a spiral into the centre
    output[wrong, :2] = turned
    path = tmp_path / "raw.zip"
    ending = labels_postprocessing(recipe, "raw")
    packed(recipe, output, path, ending, channels_first(network_of(recipe)), "bcyx", formats=["keras_v3", "onnx"])
    found = peer("cellpose", "core_bundle")("labels_of", bundle=path, image=output)
    assert found["status"] == "passed", found["problems"]
    expected = ending.decode(output.transpose(2, 0, 1)[None]).squeeze()
    np.testing.assert_array_equal(found["labels"], expected)
    assert found["labels"].max() < labels_of(output, recipe).max()
