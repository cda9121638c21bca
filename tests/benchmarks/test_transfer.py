"""Transfer learning beside a plain script with keras.applications and `fit`, on the same patches in the same run."""

import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerazoo.config import make_config
from kerazoo.data.patch_batches import training_patches
from kerazoo.data.tissue import CLASSES, write_tissue_patches
from kerazoo.training import fit
from kerazoo.training.feed import PatchFeed

SMALL, BATCH = "mobilenetv2_0.35_224_imagenet_notop.npz", 32
CALM = {"flip": False, "quarter_turns": False, "rotation": 0, "scale": 0, "intensity": 0, "gamma": 0}


@pytest.fixture(scope="module")
def weights(data_folder):
    return data_folder("weights_mobilenetv2") / SMALL


def settings(folder, weights, size, **training):
    augmentation = training.pop("augmentation", CALM)
    return make_config(
        {
            "model": {"name": "classifier2d", "weights": str(weights), "arguments": {"dropout": 0}},
            "data": {"folder": str(folder), "channels": 3, "annotation": "image", "classes": sorted(CLASSES)},
            "normalisation": {"method": "scaling"},
            "augmentation": augmentation,
            "training": {
                **{"patch_size": size, "batch_size": BATCH, "precision": "float32", "schedule": "constant"},
                **{"warmup_epochs": 0, "optimizer": "adam", "clip_norm": None, **training},
            },
        }
    )


def plain_model(source, size, trainable):
    """What a script does: an encoder of keras.applications and a softmax; the weights are those of our network."""
    base = keras.applications.MobileNetV2(
        input_shape=(size, size, 3), alpha=0.35, include_top=False, weights=None, pooling="avg"
    )
    for layer in base.layers:
        if layer.weights:
            layer.set_weights(source.get_layer(layer.name).get_weights())
    base.trainable = trainable
    if trainable:
        for layer in base.layers:
            layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    inputs = keras.Input((size, size, 3))
    outputs = keras.layers.Dense(3, activation="softmax")(base(keras.layers.Rescaling(2.0, -1.0)(inputs)))
    model = keras.Model(inputs, outputs)
    # XLA, Keras' default, is several times slower on the CPU: the script gets the faster setting
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    return model


def arrays(patches):
    every = range(len(patches))
    return np.stack([patches.normalised(n) for n in every]).astype("float32"), patches.category.astype("int32")


@pytest.mark.bench
def test_frozen_stage_with_features_computed_once(weights, tmp_path, monkeypatch):
    write_tissue_patches(tmp_path / "tissue", patches=320, seed=1, size=64)
    config = settings(tmp_path / "tissue", weights, 64, transfer="freeze", epochs=10)
    jobs = []
    original = fit._fit

    def timed(job, *arguments):
        start = time.perf_counter()
        original(job, *arguments)
        jobs.append((job, time.perf_counter() - start))

    monkeypatch.setattr(fit, "_fit", timed)
    run = fit.train(config, tmp_path / "run", progress=False)
    (job, ours), feed = jobs[0], jobs[0][0].feed
    x, y = arrays(feed.train_patches)
    held_out = arrays(feed.validation_patches)
    model = plain_model(fit._network(config), 64, trainable=False)
    start = time.perf_counter()
    model.fit(x, y, batch_size=BATCH, epochs=10, validation_data=held_out, verbose=0)
    plain = time.perf_counter() - start
    accuracy = run.read("record")["scores"]["accuracy"]
    print(
        f"\n10 epochs of {len(x)} patches with a fixed encoder: {ours:.1f} s, plain fit {plain:.1f} s, "
        f"ratio {ours / plain:.3f}; accuracy {accuracy:.3f}, plain {model.evaluate(*held_out, verbose=0)[1]:.3f}"
    )
    assert ours <= 0.25 * plain
    assert accuracy >= model.evaluate(*held_out, verbose=0)[1] - 0.01
    assert job.policy == "float32"


@pytest.mark.bench
@pytest.mark.parametrize("size", [64, 224])
def test_step_of_fine_tuning(weights, tmp_path, size):
    """Ours cuts, augments and normalises, the script has arrays; then our step on one batch in memory."""
    write_tissue_patches(tmp_path, patches=20, seed=1, size=size)
    turned = {"rotation": 180, "shift": 4, "intensity": 0.1, "gamma": 0.1}
    config = settings(tmp_path, weights, size, transfer="all", augmentation=turned)
    job = fit._prepare(config, fit.Workers())
    assert isinstance(job.feed, PatchFeed)
    fit.choose_trainable(job.model, config, None)
    job.model.compile("adam", job.loss, metrics=["accuracy"], jit_compile=False)
    model = plain_model(job.model, size, trainable=True)
    x, y = arrays(job.feed.train_patches)
    steps = 40 if size == 64 else 8
    x, y = (np.resize(a, (steps * BATCH, *a.shape[1:])) for a in (x, y))
    ours = training_patches(job.feed.train_patches, config)
    waiting_free = ours.take(1).cache().repeat()

    def seconds(network, *data, **options):
        start = time.perf_counter()
        network.fit(*data, verbose=0, shuffle=False, **options)
        return (time.perf_counter() - start) / steps

    def three():
        return (
            seconds(job.model, ours, steps_per_epoch=steps),
            seconds(model, x, y, batch_size=BATCH),
            seconds(job.model, waiting_free, steps_per_epoch=steps),
        )

    three()
    times = np.array([three() for _ in range(5)])
    step, plain, still = np.median(times, axis=0)
    wait = max(0.0, float(np.median(1 - times[:, 2] / times[:, 0])))
    ratio = float(np.median(times[:, 0] / times[:, 1]))
    print(
        f"\n{BATCH} patches of {size} pixels: step {step * 1e3:.0f} ms, plain script {plain * 1e3:.0f} ms, "
        f"ratio {ratio:.3f}; {still * 1e3:.0f} ms with data in memory, wait {wait:.1%}"
    )
    assert ratio <= 1.05
    assert wait < 0.05
    assert tf.config.list_physical_devices("GPU") == []
