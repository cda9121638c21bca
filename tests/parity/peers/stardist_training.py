"""Train the official StarDist, and time what it does."""

import time
from pathlib import Path

import numpy as np
from csbdeep.utils import normalize
from skimage.io import imread
from stardist import fill_label_holes
from stardist.models import Config2D, StarDist2D


def read(folder, limit=None):
    names = sorted(path.name for path in Path(folder, "images").iterdir())[:limit]
    images = [normalize(imread(Path(folder, "images", name)), 1, 99.8, axis=(0, 1)) for name in names]
    return names, images, [fill_label_holes(imread(Path(folder, "masks", name))) for name in names]


def augmented(image, labels, random=np.random.default_rng(1)):
    """Flips, quarter turns and intensities, as in the examples of the package."""
    turns = int(random.integers(4))
    image, labels = np.rot90(image, turns), np.rot90(labels, turns)
    if random.random() < 0.5:
        image, labels = image[::-1], labels[::-1]
    return image * random.uniform(0.6, 2) + random.uniform(-0.2, 0.2), labels


def train_and_predict(inputs):
    """Train on ``train``, choose thresholds and predict on ``validation``, folders of images and masks."""
    np.random.seed(int(inputs["seed"]))  # noqa: NPY002 - the package draws from it
    _, images, masks = read(inputs["train"])
    names, held_out, truths = read(inputs["validation"])
    config = Config2D(
        n_rays=32,
        grid=(2, 2),
        n_channel_in=1,
        train_patch_size=(256, 256),
        train_batch_size=int(inputs["batch"]),
        train_tensorboard=False,
    )
    model = StarDist2D(config, name="model", basedir=str(inputs["output"]))
    epochs, steps = int(inputs["epochs"]), int(inputs["steps"])
    started = time.perf_counter()
    model.train(images, masks, (held_out, truths), augmenter=augmented, epochs=epochs, steps_per_epoch=steps)
    seconds = time.perf_counter() - started
    model.optimize_thresholds(held_out, truths)
    labels = {f"labels_{name}": model.predict_instances(image)[0] for name, image in zip(names, held_out, strict=True)}
    return labels | {"seconds": seconds}
