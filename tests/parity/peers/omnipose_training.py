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

torch.set_num_threads(2)


def read(folder):
    names = sorted(path.stem for path in Path(folder, "images").iterdir())
    images, masks = ([imread(Path(folder, part, f"{name}.tif")) for name in names] for part in ("images", "masks"))
    return names, images, [mask.astype(np.int32) for mask in masks]


def new_model(path=False):
    """Flows and distances, no boundary: with nclasses=3, omnipose 1.1.4 cannot be trained, for its loss takes the
    logits of the boundary for probabilities."""
    return models.CellposeModel(pretrained_model=path, gpu=False, omni=True, nclasses=2, nchan=1, dim=2, diam_mean=0.0)


def train(model, images, masks, size, batch, steps, epochs, output):
    """The settings of the package's documentation. An epoch is one pass over the images: they are repeated, so that it
    has ``steps`` steps."""
    repeated = [number % len(images) for number in range(batch * steps)]
    return model.train(
        [images[number] for number in repeated],
        [masks[number] for number in repeated],
        train_links=[None] * len(repeated),
        channels=None,
        n_epochs=epochs,
        batch_size=batch,
        min_train_masks=1,
        tyx=(size, size),
        save_path=output,
        rescale=False,
    )


def train_and_predict(inputs):
    """Train on ``train`` and predict ``validation``, folders of grey images and label images."""
    torch.manual_seed(int(inputs["seed"]))
    _, images, masks = read(str(inputs["train"]))
    names, held_out, _ = read(str(inputs["validation"]))
    started = time.perf_counter()
    sizes = {name: int(inputs[name]) for name in ("size", "batch", "steps", "epochs")}
    path = train(new_model(), images, masks, **sizes, output=str(inputs["output"]))
    seconds = time.perf_counter() - started
    trained = new_model(str(path))
    labels = {
        # where there is nothing, booleans
        f"labels_{name}": np.asarray(
            trained.eval([image], channels=None, omni=True, rescale=1.0, mask_threshold=0.0)[0][0], np.int32
        )
        for name, image in zip(names, held_out, strict=True)
    }
    return labels | {"seconds": seconds}
