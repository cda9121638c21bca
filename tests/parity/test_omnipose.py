"""Omnipose's fields and objects against those of the official package."""

import time

import cv2
import numba
import numpy as np
import pytest
import tifffile

from kerazoo.models.omnipose.decoding import find_field_objects, flow_errors, integrate
from kerazoo.models.omnipose.targets import distance_fields, field_targets
from kerazoo.models.shared.matching import overlaps

IMAGES = ("Sample000033", "Sample000306", "caulo_15", "ec_5I_t141xy5c1")


@pytest.fixture(params=IMAGES)
def labels(request, data_folder):
    folder = data_folder("bacteria_omnipose")
    return tifffile.imread(folder / "masks" / f"{request.param}_cp_masks.tif").astype(np.int32)


def own_slopes(distance, labels):
    """Length of the gradient that a pixel compares its neighbours' with, by the mean of axes and diagonals."""
    padded, names = np.pad(distance, 1, mode="edge"), np.pad(labels, 1, mode="edge")
    height, width = labels.shape

    def at(y, x):
        here = np.s_[1 + y : 1 + y + height, 1 + x : 1 + x + width]
        return np.where(names[here] == labels, padded[here], 0)

    falling, rising = (at(1, 1) - at(-1, -1)) / 8, (at(-1, 1) - at(1, -1)) / 8
    return np.hypot((at(1, 0) - at(-1, 0)) / 4 + falling - rising, (at(0, 1) - at(0, -1)) / 4 + falling + rising)


def precision(truth, prediction, iou):
    pairs = overlaps(truth.astype(np.int32), prediction.astype(np.int32))
    hits = int((pairs.iou > iou).sum())
    return hits / (len(pairs.truth_labels) + len(pairs.prediction_labels) - hits)


def noisy(labels, seed):
    """What a fairly good network might say: noise that is smooth over a few pixels."""
    rng = np.random.default_rng(seed)
    output = field_targets(labels)[..., :4]
    output[..., 3] = 10 * output[..., 3] - 5
    noise = rng.standard_normal(output.shape).astype(np.float32) * np.float32([6, 6, 2, 4])
    return cv2.GaussianBlur(output, (0, 0), 0.7) + cv2.GaussianBlur(noise, (0, 0), 1.5)


@pytest.mark.parametrize("roots", ["exact", "peer"])
def test_fields_and_targets_are_the_official_ones(peer, labels, roots):
    """On a CPU, PyTorch rounds some square roots wrongly, which decides the flows of a few pixels on ridges.

    The gradient is nearly 0 there, and its last bits are what the neighbours are weighted by.
    """
    official = peer("omnipose", f"omnipose_{roots}")("fields", labels=labels)
    distance, flow, boundary = distance_fields(labels)
    target = field_targets(labels)
    assert np.abs(distance - official["distance"]).max() < 1e-4
    assert np.array_equal(boundary, official["boundary"])
    assert np.abs(target[..., 2:] - official["target"][..., 2:]).max() < 1e-4
    error = np.abs(flow - official["flow"]).max(axis=-1)
    print(f"{roots}: error of flows {error.max():.1e}, above 1e-3 at {(error > 1e-3).sum()} of {(labels > 0).sum()}")
    counted = np.ones_like(labels, bool)
    if roots == "peer":
        counted = (labels == 0) | (own_slopes(distance, labels) > 1e-3)
        assert (error > 1e-3).sum() < 1e-3 * (labels > 0).sum()
    assert error[counted].max() < 1e-3
    assert np.abs(target[..., :2] - official["target"][..., :2])[counted].max() < 5e-3


@pytest.mark.parametrize("seed", [None, 0])
def test_objects_are_the_official_ones(peer, labels, seed):
    output = field_targets(labels)[..., :4] if seed is None else noisy(labels, seed)
    official = peer("omnipose")("masks", output=output, flow_error=0.4, minimum_size=15)
    found = find_field_objects(output, flow_error=0.4, minimum_size=15)
    ap = precision(official["masks"], found, 0.9)
    print(f"AP at IoU 0.9 {ap:.4f}, objects {found.max()} against {official['masks'].max()}")
    assert ap >= 0.99
    if seed is None:
        inside = labels > 0
        distances = np.linalg.norm(integrate(output[..., :2], inside) - official["ends"][inside], axis=1)
        # A point that comes to the border between two pixels goes where rounding leads.
        assert np.quantile(distances, 0.999) < 0.02


def test_flow_errors_are_the_official_ones(peer, labels):
    dense = np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)
    flow = noisy(dense, 3)[..., :2]
    official = peer("omnipose")("errors", labels=dense, flow=flow)["errors"]
    assert np.abs(flow_errors(dense, flow)[1:] - official).max() < 1e-2


@pytest.mark.bench
def test_speed(peer, data_folder):
    """Masks from flows and flows from labels of 1024 x 1024 pixels, two threads each."""
    small = tifffile.imread(data_folder("bacteria_omnipose") / "masks" / "ec_5I_t141xy5c1_cp_masks.tif").astype(
        np.int32
    )
    rows = []
    for row in range(4):
        tiles = [np.where(small > 0, small + 1000 * (4 * row + column), 0) for column in range(4)]
        rows.append(np.concatenate(tiles, axis=1))
    labels = np.concatenate(rows)[:1024, :1024]
    output = noisy(labels, 0)
    numba.set_num_threads(2)

    def seconds(work):
        work()
        times = []
        for _ in range(5):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return min(times)

    official_fields = float(peer("omnipose")("fields", labels=labels, repeats=4)["seconds"])
    fields = seconds(lambda: field_targets(labels))
    official_masks = float(
        peer("omnipose")("masks", output=output, flow_error=0.4, minimum_size=15, repeats=4)["seconds"]
    )
    masks = seconds(lambda: find_field_objects(output))
    print(f"labels to flows {fields:.3f} s, official {official_fields:.3f} s: {fields / official_fields:.2f}")
    print(f"masks {masks:.3f} s, official {official_masks:.3f} s: {masks / official_masks:.2f}")
    assert masks <= 0.8 * official_masks
