"""A network whose input is its answer, to test what comes after a network: decoding, endings and their bundles."""

import keras
import numpy as np
from scipy import ndimage

from arrays import decode
from bmzpack import pack
from kerazoo.config import DecodingConfig
from kerazoo.data.normalise import Normalisation
from kerazoo.models.cellpose.targets import flow_targets
from kerazoo.models.omnipose.targets import field_targets
from kerazoo.models.recipe import Recipe, TileGeometry
from kerazoo.models.sam.targets import map_targets
from kerazoo.models.stardist.targets import star_targets

GRID = 2


def recipe_of(targets):
    names = {
        "stars": ["probability", *(f"distance{ray}" for ray in range(32))],
        "flows": ["flow y", "flow x", "cell"],
        "fields": ["flow y", "flow x", "distance", "boundary"],
        "border": ["background", "interior", "border"],
        "prompts": ["foreground", "centre_distance", "boundary_distance"],
    }[targets]
    return Recipe(
        model=targets,
        task="instances",
        channels=len(names),
        channel_names=names,
        classes=names,
        targets=targets,
        normalisation=Normalisation(method="none"),
        decoding=DecodingConfig(threshold=0.4, overlap=0.4, minimum_size=0 if targets == "stars" else 15),
        geometry=TileGeometry(step=1, halo=0, minimum=1, grid=GRID if targets == "stars" else 1),
    )


def network_of(recipe):
    """A network that has the right answer from its input: all that is tested here comes after it."""
    raw = keras.Input((None, None, recipe.channels), name="raw")
    x = keras.layers.MaxPooling2D(1, strides=recipe.geometry.grid, name=recipe.targets)(raw)
    return keras.Model(raw, x, name="answers")


def answer(labels, recipe):
    """The output of a good network, as an image of many channels."""
    if recipe.targets == "stars":
        stars = star_targets(labels, 32, GRID)
        stars[..., 0] *= 0.9 + 0.1 * np.random.default_rng(1).random(stars.shape[:2])  # no two are equal
        stars = stars.repeat(GRID, axis=0).repeat(GRID, axis=1).astype(np.float32)
        return stars[: labels.shape[0], : labels.shape[1]]
    if recipe.targets == "prompts":
        return map_targets(labels)
    if recipe.targets == "border":
        inside = ndimage.minimum_filter(labels, 3) == ndimage.maximum_filter(labels, 3)
        classes = np.where(labels > 0, np.where(inside, 1, 2), 0)
        return ndimage.gaussian_filter(np.eye(3, dtype=np.float32)[classes], (0.7, 0.7, 0))
    if recipe.targets == "fields":
        target = field_targets(labels)
        return np.concatenate([target[..., :3], 10 * target[..., 3:4] - 5], axis=-1)
    target = flow_targets(labels)
    return np.concatenate([5 * target[..., :2], 12 * target[..., 2:] - 6], axis=-1).astype(np.float32)


def packed(recipe, image, path, ending, model, axes="byxc", id="labels", **options):
    description = {
        "name": "Labels of nuclei",
        "licence": "MIT",
        "inputs": [{"test_image": image, "channel_names": recipe.channel_names}],
        "outputs": [{"id": id, "axes": axes}],
    }
    return pack(model, description, path, labels=ending, **options)


def labels_of(output, recipe):
    grid = recipe.geometry.grid
    return decode(output[::grid, ::grid], recipe, output.shape)[: output.shape[0], : output.shape[1]]
