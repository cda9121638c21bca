"""Training side by side with the official packages: the same images, steps and batches, scored on held-out images.

Each pair takes most of an hour on two cores: `pytest -m bench -s tests/parity/test_training.py`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tifffile
from skimage.io import imread
from skimage.measure import label

import kerazoo
from kerazoo.evaluation.scores import count_instances, total
from kerazoo.models.configure import make_config

CALM = {"flip": True, "quarter_turns": True, "intensity": 0, "gamma": 0}
STARDIST = {
    "model": {"name": "stardist2d", "arguments": {"rays": 32, "grid": [2, 2]}},
    "normalisation": {"method": "percentile", "low": 1.0, "high": 99.8},
    "augmentation": CALM | {"rotation": 15, "scale": 0.15, "intensity": 0.2, "gamma": 0.2},
    "training": {"batch_size": 4, "patch_size": 256, "learning_rate": 0.0006, "optimizer": "adam"},
}
CELLPOSE = {
    "model": {"name": "cellpose2d"},
    "normalisation": {"method": "percentile", "low": 1.0, "high": 99.0},
    "augmentation": CALM | {"rotation": 180, "scale": 0.25},
    "targets": {"diameter": 30},
    "training": {"batch_size": 8, "patch_size": 224, "learning_rate": 0.002, "optimizer": "adamw"},
    "decoding": {"minimum_size": 15},
}
OMNIPOSE = {
    "model": {"name": "omnipose2d"},
    "normalisation": {"method": "percentile", "low": 0.1, "high": 99.9},
    "augmentation": CALM | {"rotation": 180, "scale": 0.25, "intensity": 0.1, "gamma": 0.2},
    "training": {"batch_size": 8, "patch_size": 128, "learning_rate": 0.002, "optimizer": "adamw"},
    "decoding": {"minimum_size": 10},
}
SPARSE = OMNIPOSE | {"training": OMNIPOSE["training"] | {"batch_size": 4}}
"""Where images show few cells, many small steps."""


def grey(path):
    image = imread(path)
    return image[..., 0] if image.ndim == 3 else image


def connected(labels):
    """Objects without what is not connected to their largest part."""
    parts = label(labels, background=0, connectivity=1)
    areas = np.bincount(parts.ravel())
    kept = np.zeros_like(labels)
    for value in np.unique(labels[labels > 0]):
        own = np.unique(parts[labels == value])
        kept[parts == own[areas[own].argmax()]] = value
    return kept


def by_folder(folder, masks="masks"):
    """Images and labels of the folders `train` and `val`."""
    found = {}
    for part, name in (("train", "train"), ("validation", "val")):
        images = sorted((folder / name / "images").iterdir())
        truths = [next((folder / name / masks).glob(f"{path.stem}.*")) for path in images]
        found[part] = [
            (path.stem, grey(path), connected(imread(truth).astype(np.int32)))
            for path, truth in zip(images, truths, strict=True)
        ]
    return found


def by_halves(folder):
    """The left half of every image to train, the right one to validate: few images, each of another species."""
    found = {"train": [], "validation": []}
    for path in sorted((folder / "images").iterdir()):
        image, labels = grey(path), imread(folder / "masks" / f"{path.stem}_cp_masks.tif").astype(np.int32)
        middle = image.shape[1] // 2
        for part, columns in (("train", slice(middle)), ("validation", slice(middle, None))):
            found[part].append((path.stem, image[:, columns], connected(labels[:, columns])))
    return found


def derived(folder):
    """Objects of which a program has made labels, from outlines that were drawn by people."""
    return by_folder(folder, "instances_derived")


def drawn(folder):
    return by_folder(folder, "masks_binary")


@dataclasses.dataclass(frozen=True)
class Case:
    package: str
    data: str
    read: Callable[..., Any]
    settings: dict[str, Any]
    epochs: int
    steps: int
    judged: str = "ap_50"
    truth: Callable[..., Any] | None = None
    """Where it is not what is learned."""


CASES = {
    "stardist on nuclei": Case("stardist", "nuclei_dsb2018", by_folder, STARDIST, 8, 100),
    "cellpose on cells": Case("cellpose", "cells_usiigaci", by_folder, CELLPOSE, 10, 6),
    "omnipose on bacteria": Case("omnipose", "bacteria_omnipose", by_halves, OMNIPOSE, 20, 5),
    "omnipose on soil bacteria": Case(
        "omnipose", "bacteria_strack", derived, SPARSE, 25, 10, judged="iou", truth=drawn
    ),
}


def write(samples, folder):
    for part, entries in samples.items():
        for name, image, labels in entries:
            for kind, array in (("images", image), ("masks", labels.astype(np.uint16))):
                (folder / part / kind).mkdir(parents=True, exist_ok=True)
                tifffile.imwrite(folder / part / kind / f"{name}.tif", array)
    rows = [
        f"{part}/images/{name}.tif,{part}/masks/{name}.tif,{part}" for part in samples for name, _, _ in samples[part]
    ]
    table = folder / "table.csv"
    table.write_text("image,mask,side\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return table


def scores(truths, predictions):
    found = total(count_instances(truth, prediction) for truth, prediction in zip(truths, predictions, strict=True))
    return found.scores()


@pytest.mark.bench
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_trained_side_by_side(case, peer, data_folder, tmp_path):
    folder = data_folder(case.data)
    samples = case.read(folder)
    table = write(samples, tmp_path)
    names = [name for name, _, _ in samples["validation"]]
    truths = [labels for _, _, labels in (case.truth or case.read)(folder)["validation"]]
    images = [tmp_path / "validation" / "images" / f"{name}.tif" for name in names]

    training = {"epochs": case.epochs, "steps_per_epoch": case.steps, "precision": "float32", "seed": 1}
    given = {"table": table, "channels": 1, "annotation": "labels"}
    content = {"data": given, "split": {"column": "side"}, "training": case.settings["training"] | training}
    run = kerazoo.train(make_config(case.settings | content), tmp_path / "run", progress=False)
    ours = kerazoo.predict(run, images, tmp_path / "ours")
    classical = kerazoo.predict("classical2d", images, tmp_path / "classical")

    official = peer(case.package, f"{case.package}_training")(
        "train_and_predict",
        train=tmp_path / "train",
        validation=tmp_path / "validation",
        output=tmp_path,
        seed=1,
        size=case.settings["training"]["patch_size"],
        batch=case.settings["training"]["batch_size"],
        epochs=case.epochs,
        steps=case.steps,
    )
    rows = {
        "ours": (scores(truths, [tifffile.imread(path) for path in ours]), run.record.as_json()["seconds"]),
        "official": (scores(truths, [official[f"labels_{name}"] for name in names]), official["seconds"]),
        "classical2d": (scores(truths, [tifffile.imread(path) for path in classical]), 0.0),
    }
    print(f"\n{case.epochs * case.steps} steps of {case.settings['training']['batch_size']} patches on {case.data}")
    for name, (found, seconds) in rows.items():
        print(f"{name:12} AP50 {found['ap_50']:.3f}, AP50-95 {found['ap_50_95']:.3f}, ", end="")
        print(f"foreground IoU {found['iou']:.3f}, {float(seconds):.0f} s of training")
    assert rows["ours"][0][case.judged] >= rows["official"][0][case.judged] - 0.01
