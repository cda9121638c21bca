"""StarDist against the official package: networks, targets, loss, suppression, rendering and whole decoding."""

import json

import cv2
import keras
import numpy as np
import pytest

from answers import answer, labels_of, network_of, packed, recipe_of
from kerazoo.exporting.labels import labels_postprocessing
from kerazoo.models.stardist.bundle import full_resolution
from kerazoo.models.stardist.checkpoint import load_stardist
from kerazoo.models.stardist.decoding import Candidates, find_candidates, find_stars, render, suppress
from kerazoo.models.stardist.loss import StarLoss
from kerazoo.models.stardist.targets import star_targets

FIELDS = 25
"""Fields of each kind whose survivors are compared."""


@pytest.fixture
def stardist(peer):
    return peer("stardist")


def random_labels(rng, size=256):
    """Ellipses, some of which overlap, touch or are cut by the border."""
    labels = np.zeros((size, size), np.int32)
    radius = rng.uniform(5, 14)
    for label in range(1, int(size**2 / (6 * radius**2)) + 1):
        axes = (radius * rng.uniform(0.7, 1.3, 2)).astype(int) + 1
        centre = rng.integers(0, size, 2)
        cv2.ellipse(labels, centre.tolist(), axes.tolist(), rng.uniform(0, 180), 0, 360, label, -1)
    return labels


def real_labels(data_folder, number):
    """Label images of nuclei, at most 256 pixels wide."""
    files = sorted((data_folder("nuclei_dsb2018") / "train" / "masks").glob("*.png"))
    chosen = files[:: max(len(files) // number, 1)][:number]
    return [cv2.imread(str(file), cv2.IMREAD_UNCHANGED).astype(np.int32)[:256, :256] for file in chosen]


def noisy_output(rng, labels, grid):
    """What a network might say: the targets and noise."""
    stars = star_targets(labels, 32, grid)
    noise = rng.normal(size=stars.shape).astype(np.float32)
    inside = stars[..., 0] > 0
    # No two are equal: the official order of equal ones is that of an unstable sort.
    stars[..., 0] = np.where(inside, np.maximum(0.7 * stars[..., 0] + 0.06 * noise[..., 0], 0), 0)
    stars[..., 1:] += (0.3 + rng.choice([0.02, 0.05, 0.1]) * stars[..., 1:]) * noise[..., 1:]
    return stars


def all_fields(rng, data_folder):
    labels = [random_labels(rng) for _ in range(FIELDS)] + real_labels(data_folder, FIELDS)
    return [(image, noisy_output(rng, image, 1 + index % 2), 1 + index % 2) for index, image in enumerate(labels)]


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({"grid": [1, 1]}, "weights_best.h5"),
        ({"grid": [2, 2], "n_channel_in": 3}, "weights_last.h5"),
        ({"grid": [4, 4], "n_rays": 64}, "weights_best.weights.h5"),
        ({"grid": [2, 2], "n_classes": 3}, "weights_best.h5"),
        ({"grid": [2, 4], "unet_n_depth": 2, "unet_n_filter_base": 16, "net_conv_after_unet": 0}, "weights_best.h5"),
    ],
)
def test_network_outputs_are_equal(stardist, tmp_path, options, weights):
    image = np.random.default_rng(0).normal(size=(64, 96, options.get("n_channel_in", 1))).astype(np.float32)
    official = stardist(
        "make_model", folder=str(tmp_path / "model"), weights=weights, options=json.dumps(options), seed=1, image=image
    )
    model, settings = load_stardist(tmp_path / "model")
    assert settings["grid"] == tuple(options["grid"])
    assert (settings["threshold"], settings["overlap"]) == (0.5, 0.4)
    stars = keras.ops.convert_to_numpy(model(image[None]))[0]
    np.testing.assert_allclose(stars, official["stars"], atol=1e-4)


@pytest.mark.parametrize("grid", [1, 2, 4])
def test_targets_are_equal(stardist, data_folder, grid):
    rng = np.random.default_rng(grid)
    images = [random_labels(rng), np.ones((24, 36), np.int32), np.zeros((24, 36), np.int32)]
    images += [np.kron(rng.integers(0, 5, (20, 25)), np.ones((3, 3), np.int64)), *real_labels(data_folder, 3)]
    images += [images[0][::-1, 3:].astype(np.uint16)]
    for labels in images:
        official = stardist("targets_directly", labels=labels, rays=32, grid=grid)["stars"]
        stars = star_targets(labels, 32, grid)
        assert stars.dtype == np.float32
        np.testing.assert_allclose(stars, official, atol=1e-3, rtol=0)
        np.testing.assert_allclose(stars[..., 0], official[..., 0], atol=1e-6, rtol=0)


def test_targets_of_the_official_generator_and_its_ignored_pixels(stardist):
    labels = random_labels(np.random.default_rng(3))
    labels[40:90, 30:200] = -1
    official = stardist("targets", labels=labels, rays=32, grid=2)
    stars = star_targets(labels, 32, 2)
    np.testing.assert_allclose(stars, official["stars"], atol=1e-3, rtol=0)
    np.testing.assert_allclose(np.maximum(stars[..., 0], 0), official["mask"], atol=1e-6)
    assert (stars[20:45, 15:100, 0] == -1).all()


def test_loss_is_equal(stardist):
    rng = np.random.default_rng(4)
    labels = random_labels(rng, 128)
    labels[:30, :40] = -1
    truth = np.stack([star_targets(labels, 32, 2), star_targets(random_labels(rng, 128), 32, 2)])
    stars = np.concatenate([rng.random((2, 64, 64, 1)), rng.normal(5, 5, (2, 64, 64, 32))], axis=-1).astype(np.float32)
    official = float(stardist("loss", truth=truth, stars=stars)["loss"])
    assert float(StarLoss()(truth, stars)) == pytest.approx(official, rel=1e-5)


@pytest.mark.parametrize("overlap", [0.3, 0.4, 0.5])
def test_survivors_are_identical(stardist, data_folder, overlap):
    """Also those of the official function itself; candidates are sorted here, so that ties have one order."""
    rng = np.random.default_rng(5)
    fields = []
    for _, stars, grid in all_fields(rng, data_folder):
        candidates = find_candidates(stars, (grid, grid), 0.2)
        fields.append(candidates.take(np.argsort(-candidates.probability, kind="stable")))
    ends = np.cumsum([0] + [len(field) for field in fields])
    together = Candidates(
        *(np.concatenate([getattr(field, name) for field in fields]) for name in ("probability", "distances", "points"))
    )
    kept = stardist("suppress", **vars(together), overlap=overlap, fields=np.stack([ends[:-1], ends[1:]], axis=1))[
        "kept"
    ]
    assert len(fields) == 2 * FIELDS
    assert len(together) > 100_000
    for field, start, stop in zip(fields, ends[:-1], ends[1:], strict=True):
        np.testing.assert_array_equal(suppress(field, overlap), np.flatnonzero(kept[start:stop]))


def test_rendering_is_identical(stardist):
    """Overlapping polygons, vertices on whole numbers, polygons beyond the border and tiny ones."""
    rng = np.random.default_rng(6)
    for count, rays, radius in ((200, 32, 8.0), (60, 8, 20.0), (300, 64, 1.0)):
        distances = (radius * rng.uniform(0.5, 1.5, (count, rays))).astype(np.float32)
        distances[: count // 4] = np.round(distances[: count // 4])
        points = rng.integers(0, 100, (count, 2)).astype(np.int32)
        candidates = Candidates(rng.random(count).astype(np.float32).round(2), distances, points)
        official = stardist("render", **vars(candidates), shape=(90, 110))["labels"]
        np.testing.assert_array_equal(render(candidates, (90, 110)), official)


def test_label_images_are_identical(stardist, data_folder):
    rng = np.random.default_rng(7)
    for labels in (random_labels(rng), *real_labels(data_folder, 2)):
        stars = noisy_output(rng, labels[: len(labels) // 2 * 2, : labels.shape[1] // 2 * 2], 2)
        shape = (2 * stars.shape[0], 2 * stars.shape[1])
        official = stardist("instances", stars=stars, grid=2, threshold=0.4, overlap=0.4, shape=shape)["labels"]
        found = find_stars(stars, (2, 2), 0.4, 0.4)
        assert found.max() > 5
        np.testing.assert_array_equal(found, official)


def test_the_operation_of_the_zoo_gives_our_labels(peer, tmp_path):
    """A raw bundle run by bioimageio.core with the official package, on another image than the packed one."""
    rng = np.random.default_rng(3)
    recipe = recipe_of("stars")
    images = [answer(random_labels(rng, 160), recipe) for _ in range(2)]
    model = full_resolution(network_of(recipe), recipe.geometry.grid)
    path = tmp_path / "raw.zip"
    packed(recipe, images[0], path, labels_postprocessing(recipe, "raw"), model, formats=["keras_v3", "onnx"])
    for image in images:
        found = peer("stardist", "core_bundle")("labels_of", bundle=path, image=image)
        assert found["status"] == "passed", found["problems"]
        assert found["labels"].max() > 10
        np.testing.assert_array_equal(found["labels"], labels_of(image, recipe))
