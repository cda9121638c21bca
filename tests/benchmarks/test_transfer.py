"""Transfer learning beside a plain script with keras.applications and `fit`, on the same patches in the same run."""

import csv
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from clock import Clock
from kerazoo.commands import train
from kerazoo.data.patch_batches import training_patches
from kerazoo.data.patch_feed import PatchFeed
from kerazoo.examples.tissue import CLASSES, write_tissue_patches
from kerazoo.models.configure import family_of, make_config
from kerazoo.training import fit
from kerazoo.training.distribute import Workers
from kerazoo.training.job import _network, prepare
from kerazoo.training.transfer import choose_trainable

SMALL, BATCH = "mobilenetv2_0.35_224_imagenet_notop.npz", 32
CALM = {"flip": False, "quarter_turns": False, "rotation": 0, "scale": 0, "intensity": 0, "gamma": 0}


@pytest.fixture(scope="module")
def weights(data_folder):
    return data_folder("weights_mobilenetv2") / SMALL


def settings(data, weights, size, targets=None, augmentation=CALM, **training):
    return make_config(
        {
            "model": {"name": "classifier2d", "weights": str(weights), "arguments": {"dropout": 0}},
            "data": {"channels": 3, **data},
            "targets": targets or {"kind": "patch"},
            "normalisation": {"method": "scaling"},
            "augmentation": augmentation,
            "training": {
                **{"patch_size": size, "batch_size": BATCH, "precision": "float32", "schedule": "constant"},
                **{"warmup_epochs": 0, "optimizer": "adam", "clip_norm": None, **training},
            },
        }
    )


def plain_model(source, size, trainable, classes=3):
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
    outputs = keras.layers.Dense(classes, activation="softmax")(base(keras.layers.Rescaling(2.0, -1.0)(inputs)))
    model = keras.Model(inputs, outputs)
    # XLA, Keras' default, is several times slower on the CPU: the script gets the faster setting
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    return model


def arrays(patches):
    every = range(len(patches))
    return np.stack([patches.normalised(n) for n in every]).astype("float32"), patches.category.astype("int32")


def tissue(folder):
    return {"folder": str(folder), "annotation": "image", "classes": sorted(CLASSES)}


@pytest.mark.bench
def test_frozen_stage_with_features_computed_once(weights, data_folder, tmp_path, monkeypatch):
    """Patches of 64 pixels from the training images of WSSS4LUAD, a fifth of the images held out."""
    slides = data_folder("histology_wsss4luad") / "train"
    data = {"images": str(slides / "images"), "masks": str(tmp_path / "masks"), "ignore": 255, "annotation": "classes"}
    data["classes"] = ["epithelium", "stroma", "background"]
    (tmp_path / "masks").mkdir()
    without_normal = np.array([0, 1, 255, 2], np.uint8)  # normal tissue is on few of the images
    for path in (slides / "masks").iterdir():
        Image.fromarray(without_normal[np.asarray(Image.open(path))]).save(tmp_path / "masks" / path.name)
    targets = {"kind": "patch", "stride": 16, "purity": 0.85, "balance": False}
    config = settings(data, weights, 64, targets, transfer="freeze", epochs=10)
    jobs = []
    original = fit._fit

    def timed(job, *arguments):
        start = time.perf_counter()
        original(job, *arguments)
        jobs.append((job, time.perf_counter() - start))

    monkeypatch.setattr(fit, "_fit", timed)
    run = train(config, tmp_path / "run", progress=False)
    (job, ours), feed = jobs[0], jobs[0][0].feed
    x, y = arrays(feed.train_patches)
    held_out = arrays(feed.validation_patches)
    model = plain_model(_network(config, family_of(config)), 64, trainable=False, classes=3)
    start = time.perf_counter()
    model.fit(x, y, batch_size=BATCH, epochs=10, validation_data=held_out, verbose=0)
    plain = time.perf_counter() - start
    *_, last = csv.DictReader((run.path / "history.csv").open(encoding="utf-8"))
    accuracy, accuracy_of_plain = float(last["val_accuracy"]), model.evaluate(*held_out, verbose=0)[1]
    print(
        f"\n10 epochs of {len(x)} patches with a fixed encoder: {ours:.1f} s, plain fit {plain:.1f} s, "
        f"ratio {ours / plain:.3f}; accuracy {accuracy:.3f}, plain {accuracy_of_plain:.3f}"
    )
    assert ours <= 0.25 * plain
    assert accuracy >= accuracy_of_plain - 0.01
    assert job.policy == "float32"


def augmented_by_layers(x, y):
    """What the guides of Keras do: random layers on batches in the dataset."""
    layers = [
        keras.layers.RandomFlip(),
        keras.layers.RandomRotation(0.5),
        keras.layers.RandomTranslation(0.06, 0.06),
        keras.layers.RandomBrightness(0.1, value_range=(0, 1)),
        keras.layers.RandomContrast(0.1, value_range=(0, 1)),
    ]
    augment = keras.Sequential([keras.Input(x.shape[1:]), *layers])
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(1000).batch(BATCH, drop_remainder=True).repeat()
    data = data.map(lambda a, b: (augment(a, training=True), b), num_parallel_calls=tf.data.AUTOTUNE)
    return data.prefetch(tf.data.AUTOTUNE)


def waited(data, model, steps):
    """The part of the time that a training waits for its next batch."""
    batches, waits, start = iter(data), 0.0, None
    for step in range(steps + 5):
        asked = time.perf_counter()
        x, y = next(batches)
        got = time.perf_counter()
        if step >= 5:
            start = start or asked
            waits += got - asked
        model.train_on_batch(x, y)
    return waits / (time.perf_counter() - start)


@pytest.mark.bench
@pytest.mark.parametrize("size", [64, 224])
def test_step_of_fine_tuning(weights, tmp_path, size):
    """Beside a script with the same patches in memory, and beside one that augments them with the layers of Keras."""
    write_tissue_patches(tmp_path, patches=60 if size == 64 else 20, seed=1, size=size)
    changes = {"rotation": 180, "shift": 4, "intensity": 0.1, "gamma": 0.1}
    turned = settings(tissue(tmp_path), weights, size, transfer="all", augmentation=changes)
    job = prepare(turned, Workers())
    assert isinstance(job.feed, PatchFeed)
    choose_trainable(job.model, turned, None)
    job.model.compile("adam", job.loss, metrics=["accuracy"], jit_compile=False)
    script = plain_model(job.model, size, trainable=True)
    x, y = arrays(job.feed.train_patches)
    steps, rounds = (24, 15) if size == 64 else (8, 7)
    x, y = (np.resize(a, (steps * BATCH, *a.shape[1:])) for a in (x, y))
    calm = settings(tissue(tmp_path), weights, size, transfer="all")
    runs = {
        "ours": (job.model, training_patches(job.feed.train_patches, calm)),
        "script": (script, tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH).repeat().prefetch(2)),
        "ours, augmented": (job.model, training_patches(job.feed.train_patches, turned)),
        "script, augmented": (script, augmented_by_layers(x, y)),
    }

    def step(model, data):
        clock = Clock()
        model.fit(data, steps_per_epoch=steps, verbose=0, callbacks=[clock])
        return float(np.median(np.diff(clock.ends[2:])))

    for run in runs.values():
        step(*run)
    times = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(step(*run))

    def ratio(suffix):
        return float(np.median(np.divide(times["ours" + suffix], times["script" + suffix])))

    wait = waited(runs["ours, augmented"][1], job.model, 2 * steps)
    print(f"\n{BATCH} patches of {size} pixels:", end=" ")
    print(", ".join(f"{name} {np.median(values) * 1e3:.0f} ms" for name, values in times.items()), end="; ")
    print(f"ratios {ratio(''):.3f} and augmented {ratio(', augmented'):.3f}, data wait {wait:.1%}")
    assert ratio("") <= 1.05
    assert ratio(", augmented") <= 1.05
    assert wait < 0.05
    assert tf.config.list_physical_devices("GPU") == []
