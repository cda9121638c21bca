"""How long the official StarDist takes: a step of its training, and the whole prediction of an image."""

import time

import numpy as np
from csbdeep.utils import normalize
from stardist.models import Config2D, StarDist2D
from stardist_training import augmented, read

from clock import Clock


def _model(basedir=None, **options):
    config = Config2D(n_rays=32, grid=(2, 2), n_channel_in=1, train_tensorboard=False, **options)
    return StarDist2D(config, name="model", basedir=basedir)


def step(inputs):
    """Median time from the end of one step to the end of the next, in seconds."""
    _, images, masks = read(str(inputs["train"]), limit=40)
    model = _model(str(inputs["output"]), train_patch_size=(256, 256), train_batch_size=int(inputs["batch"]))
    clock, steps = Clock(), int(inputs["steps"])
    model.prepare_for_training()
    model.callbacks.append(clock)
    few = images[:2], masks[:2]
    model.train(images, masks, few, augmenter=augmented, epochs=1, steps_per_epoch=steps)
    return {"seconds": np.median(np.diff(clock.ends[3:]))}


def predict(inputs):
    """Labels of a raw image with given weights, in the order of `keras_model.get_weights()`, and the shortest time."""
    model = _model()
    model.keras_model.set_weights([inputs[f"weight{n}"] for n in range(len(model.keras_model.weights))])
    thresholds = {"prob_thresh": float(inputs["threshold"]), "nms_thresh": float(inputs["overlap"])}
    times = []
    for _ in range(int(inputs["repeats"])):
        start = time.perf_counter()
        image = normalize(inputs["image"], 1, 99.8, axis=(0, 1))
        labels, _ = model.predict_instances(image, show_tile_progress=False, **thresholds)
        times.append(time.perf_counter() - start)
    return {"labels": labels, "seconds": min(times)}
