"""Train the official Omnipose from random weights, as a black box, and predict with it."""

import logging
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from tifffile import imread
from torchvision_operators import declare

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
declare()

from cellpose_omni import models  # noqa: E402


def _read(folder):
    names = sorted(path.stem for path in Path(folder, "images").iterdir())
    images, masks = ([imread(Path(folder, part, f"{name}.tif")) for name in names] for part in ("images", "masks"))
    return names, images, masks


def train_and_predict(given):
    """Train on ``train`` and predict ``validation``, folders of grey images and label images."""
    torch.manual_seed(int(given["seed"]))
    torch.set_num_threads(2)
    _, images, masks = _read(str(given["train"]))
    names, held_out, _ = _read(str(given["validation"]))
    batch, steps = int(given["batch"]), int(given["epochs"]) * int(given["steps"])
    # an epoch of the package is one pass over the images: they are repeated, so that it has the steps of ours
    repeated = [number % len(images) for number in range(batch * int(given["steps"]))]
    network = {"gpu": False, "omni": True, "nclasses": 3, "nchan": 1, "dim": 2, "diam_mean": 0.0}
    model = models.CellposeModel(pretrained_model=False, **network)
    started = time.perf_counter()
    path = model.train(
        [images[number] for number in repeated],
        [masks[number].astype(np.int32) for number in repeated],
        train_links=[None] * len(repeated),
        channels=None,
        n_epochs=steps // int(given["steps"]),
        batch_size=batch,
        tyx=(224, 224),
        save_path=str(given["output"]),
        rescale=False,
    )
    seconds = time.perf_counter() - started
    trained = models.CellposeModel(pretrained_model=str(path), **network)
    labels = {
        f"labels_{name}": trained.eval([image], channels=None, omni=True, rescale=1.0, mask_threshold=0.0)[0][0]
        for name, image in zip(names, held_out, strict=True)
    }
    return labels | {"seconds": seconds}
