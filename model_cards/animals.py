"""Trains the networks that come with the package, by the recipes beside this file, and ships them: `make animals`.

What is there is left alone, and an interrupted training goes on. The images lie in ../shared/data, or where
KERAZOO_DATA says.
"""

from __future__ import annotations

import copy
import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

import kerazoo
from bmzpack.settings import read_yaml
from kerazoo.config import DataConfig
from kerazoo.files.masks import read_mask
from kerazoo.files.pairs import pairs_of
from kerazoo.files.read import read_image
from kerazoo.models.configure import make_config
from kerazoo.models.trained import trained_networks
from kerazoo.runs.records import Origin
from kerazoo.runs.run import Run
from kerazoo.runs.shipping import ship

HERE = Path(__file__).parent
DATA = Path(os.environ.get("KERAZOO_DATA", HERE.parents[1] / "shared" / "data"))
RUNS = HERE.parent / "runs"
Row = tuple[str, str, str]
"""Image, mask or class, and side."""


def main() -> None:
    """Train what is missing, or the networks that are named."""
    for path in sorted(HERE.glob("recipes/*/*.yaml")):
        name = f"{path.parent.name}/{path.stem}"
        if name in sys.argv[1:] or not (sys.argv[1:] or name in trained_networks()):
            recipe = read_yaml(path, "recipe")
            run = train(recipe, RUNS / name.replace("/", "-"))
            print(f"{ship(run, path.stem, recipe['sample'], Origin(**recipe['origin']))} is written")


def train(recipe: dict[str, Any], folder: Path) -> Run:
    """The finished run of a recipe; one that has a first part starts from the network of that."""
    folder.parent.mkdir(exist_ok=True)
    images, content = recipe["images"], copy.deepcopy(recipe["configuration"])
    if "first" in recipe:
        before = {"images": recipe["first"]["images"], "configuration": copy.deepcopy(content)}
        before["configuration"]["training"] |= recipe["first"]["training"]
        content["model"]["weights"] = str(train(before, folder.with_name(f"{folder.name}-first")).model_path)
    if "split" in images:
        places = {kind: str(DATA / images["split"] / kind) for kind in ("images", "masks")}
    else:
        table = folder.with_suffix(".csv")
        with table.open("w", newline="", encoding="utf-8") as file:
            digits = "digits" in images
            rows = [("file", "class", "side")] if digits else [("image", "mask", "side")]
            rows += rows_of_digits(DATA / images["digits"], folder) if digits else rows_of(images, folder)
            csv.writer(file).writerows(rows)
        places = {"table": str(table)}
        content["split"] = {"column": "side"}
    content["data"] |= places
    return kerazoo.train(make_config(content), folder, resume=(folder / "config.yaml").is_file())


def rows_of(images: dict[str, Any], folder: Path) -> Iterator[Row]:
    """Whole images of folders, or their left and right halves, which are written."""
    for side in ("train", "validation"):
        for name in images.get(side, ()):
            for pair in pairs(name):
                yield str(pair.image), str(pair.mask), side
    if "halves" not in images:
        return
    halves = folder.with_name(f"{folder.name}-images")
    halves.mkdir(exist_ok=True)
    for pair in pairs(images["halves"]):
        image, labels = read_image(pair.image, channels=1)[..., 0], read_mask(pair.mask, DataConfig())
        middle = image.shape[1] // 2
        for side, part in (("train", slice(None, middle)), ("validation", slice(middle, None))):
            files = [halves / f"{pair.id}_{side}{end}.tif" for end in ("", "_mask")]
            tifffile.imwrite(files[0], np.ascontiguousarray(image[:, part]))
            tifffile.imwrite(files[1], np.ascontiguousarray(labels[:, part].astype(np.uint16)))
            yield str(files[0]), str(files[1]), side


def rows_of_digits(source: Path, folder: Path) -> Iterator[Row]:
    """Digits, each of which is written as an image of its own; every eighth validates, as they are sorted."""
    digits = folder.with_name(f"{folder.name}-images")
    digits.mkdir(exist_ok=True)
    with np.load(source / "mnist_8000.npz") as arrays:
        for number, (image, label) in enumerate(zip(arrays["x"], arrays["y"], strict=True)):
            file = digits / f"digit{number:04d}.png"
            Image.fromarray(image).save(file)
            yield str(file), str(label), "validation" if number % 8 == 7 else "train"


def pairs(name: str) -> list[Any]:
    """Images and masks of a folder of the data."""
    return pairs_of(DataConfig(images=DATA / name / "images", masks=DATA / name / "masks"))


if __name__ == "__main__":
    main()
