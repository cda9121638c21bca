"""Train the official Cellpose from random weights, and predict with it."""

import time
from pathlib import Path

import torch
from cellpose import models, train
from tifffile import imread


def read(folder):
    names = sorted(path.stem for path in Path(folder, "images").iterdir())
    images, masks = (
        [imread(next(Path(folder, part).glob(f"{name}.*"))) for name in names] for part in ("images", "masks")
    )
    return names, images, masks


def train_and_predict(inputs):
    """Train on ``train`` and predict ``validation``, folders of grey images and label images."""
    torch.manual_seed(int(inputs["seed"]))
    _, images, masks = read(inputs["train"])
    names, held_out, _ = read(inputs["validation"])
    model = models.CellposeModel(gpu=False, pretrained_model=None, nchan=2)
    started = time.perf_counter()
    path, *_ = train.train_seg(
        model.net,
        train_data=images,
        train_labels=masks,
        channels=[0, 0],
        batch_size=int(inputs["batch"]),
        n_epochs=int(inputs["epochs"]),
        nimg_per_epoch=int(inputs["batch"]) * int(inputs["steps"]),
        save_path=str(inputs["output"]),
        model_name="official",
    )
    seconds = time.perf_counter() - started
    trained = models.CellposeModel(gpu=False, pretrained_model=str(path))
    labels = {
        f"labels_{name}": trained.eval(image, channels=[0, 0])[0] for name, image in zip(names, held_out, strict=True)
    }
    return labels | {"seconds": seconds}
