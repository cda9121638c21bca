"""Names and sentences of a bundle that follow from its run."""

from __future__ import annotations

from pathlib import Path

from kerazoo.config import Config
from kerazoo.models.configure import family_of
from kerazoo.models.family import Task
from kerazoo.models.recipe import Recipe
from kerazoo.models.registry import get_model

PLAIN_FOLDERS = {"image", "images", "img", "imgs", "train", "training", "val", "validation", "data", "raw"}
"""Names of folders that say nothing about what is on the images."""
TASKS: dict[Task, str] = {
    "instances": "instance segmentation",
    "semantic": "semantic segmentation",
    "classification": "patch classification",
}
LABELS = "The graph gives a label image: 0 for the background, 1, 2, ... for the objects, with no plugin for them."
"""What a bundle of the form `labels` says of its output."""
MASK = (
    "The graph gives a mask of the objects: 1 in objects, 0 in the background and on a line between objects that touch."
)
"""The same of the form `mask`."""


def rescaling_note(recipe: Recipe) -> str:
    if recipe.scale is None:
        return ""
    return (
        f" The network knows objects of a diameter of {recipe.scale.network:g} pixels: rescale images so that theirs "
        f"is that. On the training images it was {recipe.scale.images:.0f} pixels; `kerazoo predict` rescales itself."
    )


def data_set_name(config: Config) -> str:
    """What the training images are called: the nearest of three folders whose name says something."""
    path = config.data.images or config.data.folder or config.data.table
    if path is None:
        return "images"
    if path == config.data.table:
        return path.stem
    people = {Path.home(), *Path.home().parents}
    folders = [folder.name for folder in (path, *path.parents[:2]) if folder not in people]
    return next((name for name in folders if name and name.lower() not in PLAIN_FOLDERS), "images")


def title(config: Config) -> str:
    """The name of the bundle, by default made of model, task and images, in the characters that the zoo allows."""
    if config.publication.name is not None:
        return family_of(config).bundle_name(config.publication.name)
    return allowed(headline(config))


def allowed(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "_+- ()") else "-" for c in text)[:128]


def headline(config: Config, link: str = "") -> str:
    """Model, task and images; a model that is named by its task needs it only once."""
    name = get_model(config.model.name).title
    task = "" if "classifier" in name else f" {link}{TASKS[family_of(config).task(str(config.targets.kind))]}"
    return f"{name}{task} of {data_set_name(config)}"
