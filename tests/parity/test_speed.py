"""Time against the official packages, in the same run, with two threads each and nothing else running."""

import os
import time

import keras
import numpy as np
import pytest
import tifffile
from test_training import CASES, by_folder, write

import kerazoo
from clock import Clock
from kerazoo.examples.synthetic import write_nuclei
from kerazoo.inference.load import load_predictor
from kerazoo.inference.network import compiled, load_model
from kerazoo.models.configure import make_config
from kerazoo.models.sam.network import sam_vit_b
from kerazoo.models.sam.prompted import PromptedNetwork
from kerazoo.training.convert import convert
from kerazoo.training.distribute import Workers
from kerazoo.training.job import prepare


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, str(min(2, os.cpu_count() or 2)))


def best_of(repeats, function):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return min(times), result


def prepared(case, table, steps):
    settings = CASES[case].settings
    given = {"table": table, "channels": 1, "annotation": "labels"}
    training = settings["training"] | {"epochs": 1, "steps_per_epoch": steps, "precision": "float32"}
    config = make_config(settings | {"data": given, "split": {"column": "side"}, "training": training})
    return prepare(config, Workers())


def step_of(job, steps):
    """Median time from the end of one step of `kerazoo train` to the end of the next."""
    clock = Clock()
    fitted = job.family.fitted(job.model, job.config)
    fitted.compile(keras.optimizers.Adam(1e-4), job.loss, jit_compile=False)
    fitted.fit(job.training(job.feed, step=0), steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[clock])
    return float(np.median(np.diff(clock.ends[3:])))


def few(case, data_folder, folder):
    samples = {part: entries[:40] for part, entries in CASES[case].read(data_folder(CASES[case].data)).items()}
    return write(samples, folder)


STEPS = {"stardist on nuclei": 20, "cellpose on cells": 9, "omnipose on bacteria": 9}


@pytest.mark.bench
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", STEPS)
def test_step_of_training(case, peer, data_folder, tmp_path):
    package, steps = CASES[case].package, STEPS[case]
    table = few(case, data_folder, tmp_path)
    ratios = []
    for _ in range(2):
        ours = step_of(prepared(case, table, steps), steps)
        official = peer(package, f"{package}_speed")(
            "step",
            train=tmp_path / "train",
            output=tmp_path,
            size=CASES[case].settings["training"]["patch_size"],
            batch=CASES[case].settings["training"]["batch_size"],
            steps=steps,
        )
        ratios.append(ours / float(official["seconds"]))
        print(f"\n{case}: a step takes {ours:.2f} s, officially {float(official['seconds']):.2f} s")
    print(f"{case}: {np.median(ratios):.2f}x")
    assert np.median(ratios) <= 0.9


@pytest.mark.bench
@pytest.mark.timeout(3600)
def test_whole_prediction_of_stardist(peer, tmp_path):
    """A network that was trained on synthetic nuclei, on 1024 x 1024 pixels of them."""
    write_nuclei(tmp_path, images=10, seed=1, size=256)
    config = make_config(
        {
            "model": {"name": "stardist2d"},
            "data": {"images": tmp_path / "images", "masks": tmp_path / "masks"},
            "normalisation": {"method": "percentile", "low": 1.0, "high": 99.8},
            "training": {"epochs": 6, "steps_per_epoch": 40, "batch_size": 4, "patch_size": 128, "learning_rate": 1e-3},
        }
    )
    run = kerazoo.train(config, tmp_path / "run", progress=False)
    predictor = load_predictor(run)
    write_nuclei(tmp_path / "large", images=1, seed=2, size=1024)
    image = tifffile.imread(next((tmp_path / "large" / "images").iterdir()))[..., None]
    weights = {f"weight{n}": value for n, value in enumerate(load_model(run.model_path).get_weights())}
    decoding = run.recipe.decoding
    ratios = []
    for _ in range(2):
        ours, labels = best_of(5, lambda: predictor.result(image))
        official = peer("stardist", "stardist_speed")(
            "predict",
            image=image[..., 0],
            threshold=decoding.threshold,
            overlap=decoding.overlap,
            repeats=5,
            **weights,
        )
        ratios.append(ours / float(official["seconds"]))
        print(f"\n{labels.max()} objects, officially {official['labels'].max()}, in {ours:.2f} s and ", end="")
        print(f"{float(official['seconds']):.2f} s")
    print(f"whole prediction of StarDist: {np.median(ratios):.2f}x")
    assert abs(int(labels.max()) - int(official["labels"].max())) <= 0.01 * labels.max()
    assert np.median(ratios) <= 0.75


@pytest.mark.bench
@pytest.mark.timeout(3600)
def test_whole_prediction_of_cellpose(peer, data_folder, tmp_path):
    """Random weights: what is found is nothing, but all is computed."""
    *_, (_, image, _) = by_folder(data_folder("cells_usiigaci"))["validation"]
    images = {"image": np.zeros((1, 32, 32, 2), np.float32)}
    peer("cellpose")("network", path=tmp_path / "official.pth", seed=1, channels=2, outputs=3, **images)
    run = convert("cellpose", tmp_path / "official.pth", tmp_path / "run", channels=1)
    predictor = load_predictor(run, diameter=run.recipe.scale.network)
    ratios = []
    for _ in range(2):
        ours, labels = best_of(2, lambda: predictor.result(image[..., None]))
        official = peer("cellpose")("predict", path=tmp_path / "official.pth", image=image, repeats=2)
        ratios.append(ours / float(official["seconds"]))
        print(f"\n{labels.max()} objects, officially {official['masks'].max()}, in {ours:.2f} s and ", end="")
        print(f"{float(official['seconds']):.2f} s")
    print(f"whole eval of Cellpose: {np.median(ratios):.2f}x")
    assert np.median(ratios) <= 0.55


@pytest.mark.bench
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_segment_anything(precision, peer):
    """ViT-B with random weights at 1024 x 1024 pixels: the encoder, one box, 64 boxes."""
    random = np.random.default_rng(0)
    image = random.normal(size=(1024, 1024, 3)).astype(np.float32)
    corners = random.uniform(0, 900, (64, 2))
    boxes = np.concatenate([corners, corners + 80], axis=1).astype(np.float32)
    official = peer("segment_anything")("encoder_time", size="vit_b", image=image, boxes=boxes, repeats=2)
    keras.mixed_precision.set_global_policy(precision)
    try:
        network = sam_vit_b(instances=0)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    asked = PromptedNetwork(network, compiled)
    embedding = asked.embed(image)
    ratios = {}
    for name, call in {
        "encoder": lambda: asked.embed(image),
        "one": lambda: list(asked.masks(embedding, boxes=boxes[:1])),
        "many": lambda: list(asked.masks(embedding, boxes=boxes)),
    }.items():
        call()
        ours, _ = best_of(2, call)
        ratios[name] = ours / float(official[name])
        print(f"\n{precision} {name}: {ours:.2f} s, officially {float(official[name]):.2f} s: {ratios[name]:.2f}x")
    assert ratios["encoder"] <= (0.6 if precision == "float32" else 0.4)
    assert ratios["one"] <= 1
    assert ratios["many"] <= 0.8
