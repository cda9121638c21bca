"""From a run to a bundle: the one place where the zoo uses the packer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmzpack.describe.description import Description, Output, Processing, Training, Validation
from bmzpack.errors import UserError
from bmzpack.files import refuse_existing
from bmzpack.operations.labels import LabelsPostprocessing
from bmzpack.packing.pack import pack
from bmzpack.settings import validate
from kerazoo.config import AugmentationConfig, Config, DataConfig
from kerazoo.data.normalise import EPSILON, Normalisation
from kerazoo.data.patches import patches_of_mask
from kerazoo.data.rescale import rescaled
from kerazoo.files.pairs import load_pair
from kerazoo.files.read import open_stack, read_image, read_mask
from kerazoo.models.recipe import Patch, Recipe
from kerazoo.models.registry import get_model
from kerazoo.runs.run import Run

FORMS = ("friendly", "raw", "labels")
"""What the output of a bundle for single objects can be, see `export`."""

LOSS_TERMS = ("cross_entropy", "dice", "focal", "tversky", "squared_error")
WHOLE_IMAGE = ["channel", "y", "x"]
_OUTPUTS = {
    "stars": "Object probability, then star distances in pixels",
    "flows": "Flow along y, flow along x, logit of the cell probability",
    "fields": "Flow along y, flow along x, distance field, logit of the boundary",
}
_LOSSES = {
    "stars": {"binary cross entropy of the probability": 1.0, "mean absolute error of the distances": 0.2},
    "flows": {"mean squared error of the flows": 0.5, "binary cross entropy of the cells": 1.0},
    "fields": {"weighted errors of flows, distance and boundary": 1.0},
}
"""Terms and weights of the losses that are those of a paper."""
PLAIN_FOLDERS = {"image", "images", "img", "imgs", "train", "training", "val", "validation", "data", "raw"}
"""Names of folders that say nothing about what is on the images."""
TASKS = {
    "instances": "instance segmentation",
    "semantic": "semantic segmentation",
    "classification": "patch classification",
}
USES = {
    "border": "Each pixel gets the probabilities of background, object interior and object border. Objects are found "
    "by `kerazoo predict`, or in another program as connected regions of the interior, grown into the border.",
    "foreground": "Each pixel gets the probabilities of background and foreground; a threshold gives a mask.",
    "classes": "Each pixel gets one probability per class; the largest one gives a class map.",
    "stars": "Each pixel gets the probability that it is near the centre of an object, and the distances in pixels "
    "from there to the object's outline, along rays at equal angles, the first to the right, the next ones clockwise. "
    "Between the pixels of the network's grid the probability is 0. Objects are found by `kerazoo predict`, or in "
    "another program by the non-maximum suppression of StarDist.",
    "flows": "Each pixel gets a flow (y, x) that leads to the centre of its cell, five times a unit vector, and the "
    "logit of the probability that it lies in a cell. Cells are found by `kerazoo predict`, or in another program by "
    "the flow dynamics of Cellpose.",
    "fields": "Each pixel gets a flow (y, x) that leads to the middle line of its object, five times its length, the "
    "distance to its outline, and the logit of the probability that it lies on the outline. Objects are found by "
    "`kerazoo predict`, or in another program by the Euler integration of Omnipose.",
    "labels": "The graph gives a label image: 0 for the background, 1, 2, ... for the objects, with no plugin for "
    "them.",
    "patch": "The image is cut into square patches that lie side by side, and each of them gets one value per class, "
    "independently of the others: the output is a map of the patches. The test image is put together from "
    "validation patches of all classes.",
}


def export(
    run: Run | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    formats: Sequence[str] | None = None,
    image: str | os.PathLike[str] | None = None,
    enlarge: bool = False,
    form: str = "friendly",
    overwrite: bool = False,
) -> Path:
    """Pack a run as a bundle of the BioImage Model Zoo.

    The bundle's rdf.yaml keeps the run's `Recipe` under ``config.kerazoo``; how well the weights formats agree is
    written into the run's agreement.json. The network of a patch classifier is packed as its map, see
    `kerazoo.models.patches.map`.

    Parameters
    ----------
    run
        A trained run, or its folder.
    output
        The ``.zip`` to write.
    formats
        Weights formats; by default all that this installation can write.
    image
        An image file of which the test tensors are made, for networks of pixels and objects; by default a validation
        image. A converted run has none, and needs one.
    enlarge
        Of a patch classifier: whether the map is as large as the image, which ilastik needs.
    form
        `friendly`: maps, as the programs' own plugins for objects take them. Of StarDist and Cellpose also `raw`: with
        the operation of the zoo that makes labels in Python; and `labels`: the graph itself ends in the label image, as
        a saved model only.
    overwrite
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The bundle.

    Raises
    ------
    UserError
        The run is not trained yet, its validation images are gone, the bundle cannot be written, what is to be
        enlarged is no map of patches, or the network has no such form.
    """
    if not isinstance(run, Run):
        run = Run.open(run)
    classifies = run.recipe.task == "classification"
    if form not in FORMS:
        raise UserError(f"There is no form {form!r} of a bundle: choose from {', '.join(FORMS)}.")
    if enlarge and not classifies:
        raise UserError(f"{run.path} gives a class per pixel already: leave --enlarge out.")
    refuse_existing(Path(output), overwrite)
    if image is not None and classifies:
        raise UserError("The test tensors of a classifier are made of its validation patches: leave --image out.")
    description = describe(run, image)
    model: Any = run.model_path
    ending = None
    if classifies and form == "friendly":
        from kerazoo.inference.network import load_model
        from kerazoo.models.patches.map import patch_map

        model = patch_map(load_model(run.model_path), enlarge)
    elif form != "friendly" or run.recipe.targets == "stars":
        model, ending = _of_objects(run, description, form)
    packed = pack(model, description, output, formats=formats, labels=ending, overwrite=overwrite)
    if form == "friendly":
        run.write("agreement", packed.agreement)
    return packed.path


def _of_objects(run: Run, description: Description, form: str) -> tuple[Any, LabelsPostprocessing | None]:
    """A network for single objects as a bundle of a form has it, and what makes labels there; adds to what is said."""
    from kerazoo.exporting import labels as endings
    from kerazoo.inference.network import load_model
    from kerazoo.models.stardist import bundle as star_bundle

    model, recipe = load_model(run.model_path), run.recipe
    if recipe.targets == "stars":
        model = star_bundle.full_resolution(model, recipe.geometry.grid)
    if form == "labels":
        ending = endings.graph_ending(recipe)
        description.documentation = USES["labels"] + _seen_size(recipe)
        # a name that says StarDist would have deepImageJ look for what its plugin needs
        description.name = run.config.publication.name or _allowed(
            f"Instance segmentation of {data_set_name(run.config)} (label images)"
        )
    elif form == "raw":
        ending, model = endings.operation_ending(recipe), endings.laid_out(model, recipe)
        about = f"{USES[recipe.targets]}{_seen_size(recipe)} The channels are {', '.join(recipe.classes)}."
        if recipe.targets == "stars" and recipe.decoding.minimum_size:
            about += " The operation has no smallest size: small objects are not removed."
        description.documentation = about
    else:
        ending = None
        description.config["stardist"] = star_bundle.config(recipe)
        description.attachments[star_bundle.MACRO] = star_bundle.macro(recipe)
    if ending is not None:
        axes = "bcyx" if form == "raw" and recipe.targets == "flows" else "byxc"
        about = "Labels 1, 2, ... of the objects, 0 for the background"
        description.outputs = [Output(id="labels", axes=axes, description=about)]
    return model, ending


def describe(run: Run, image_file: str | os.PathLike[str] | None = None) -> Description:
    """What a run says about its model, with a given image for the test tensors or one of its own."""
    config, recipe, record = run.config, run.recipe, run.read("record")
    publication, model = config.publication, get_model(config.model.name)
    if image_file is None:
        image, pixel_size = _test_image(run, config)
    else:
        image = read_image(Path(image_file), config.data.axes, config.data.channels)
        pixel_size = _pixel_size({"image": str(image_file)}, config.data)
    if publication.pixel_size is not None:
        pixel_size = {"x": publication.pixel_size, "y": publication.pixel_size}
    if recipe.scale is not None:
        factor = recipe.scale.network / recipe.scale.images
        image = rescaled(image, factor)
        pixel_size = pixel_size and {axis: size / factor for axis, size in pixel_size.items()}
    data_set = data_set_name(config)
    task = TASKS[recipe.task]
    content = {
        "name": title(config),
        "description": publication.description
        or f"{_headline(config, 'for ')}{'' if model.targets else ': ' + ', '.join(recipe.classes)}.",
        "documentation": USES[recipe.targets] + _seen_size(recipe),
        "authors": [author.model_dump() for author in publication.authors],
        "cite": [{"text": model.citation, "doi": model.doi}, *publication.cite],
        "licence": publication.licence,
        "tags": list(
            dict.fromkeys([*publication.tags, task.replace(" ", "-"), model.name.partition("2d")[0], "kerazoo"])
        ),
        "timestamp": run.read("environment").get("started"),
        "inputs": [
            {
                "test_image": image,
                "channel_names": recipe.channel_names,
                "preprocessing": operations(recipe.normalisation, recipe.channels),
                "pixel_size": pixel_size,
            }
        ],
        "outputs": [
            {
                "id": model.output if model.targets else None,
                "channel_names": recipe.classes,
                "description": _OUTPUTS.get(
                    recipe.targets, f"{model.output.capitalize()} of {', '.join(recipe.classes)}"[:128]
                ),
            }
        ],
        "task": task,
        "architecture": model.title if config.model.backbone is None else f"{model.title}, {config.model.backbone}",
        "training": _training(config, recipe, record, data_set, len(run.read("split").get("train", []))),
        "validation": _validation(run, record, data_set),
        "config": {"kerazoo": recipe.model_dump(mode="json")},
    }
    return validate(Description, content, f"publication in {run.path / 'config.yaml'}")


def _seen_size(recipe: Recipe) -> str:
    if recipe.scale is None:
        return ""
    return (
        f" The network knows objects of a diameter of {recipe.scale.network:g} pixels: rescale images so that theirs "
        f"is that. On the training images it was {recipe.scale.images:.0f} pixels; `kerazoo predict` rescales itself."
    )


def operations(normalisation: Normalisation, channels: int) -> list[Processing]:
    """A normalisation in the operations of the zoo.

    Parameters
    ----------
    normalisation
        With all its numbers.
    channels
        Of the images. Numbers of several channels become lists, which the packer puts into the network.

    Returns
    -------
    list of Processing
        None or one.
    """

    def along_channels(**numbers: Any) -> dict[str, Any]:
        if channels == 1:
            return {key: values[0] for key, values in numbers.items()}
        return {"axis": "channel", **numbers}

    match normalisation.method:
        case "none":
            return []
        case "scaling":
            return [Processing(id="scale_linear", kwargs={"gain": 1 / normalisation.maximum, "offset": 0.0})]
        case "centering":
            gain = [1 / normalisation.maximum] * channels
            offset = [-mean for mean in normalisation.mean]
            return [Processing(id="scale_linear", kwargs=along_channels(gain=gain, offset=offset))]
        case "standardisation" if normalisation.scope == "dataset":
            kwargs = along_channels(mean=normalisation.mean, std=normalisation.deviation)
            return [Processing(id="fixed_zero_mean_unit_variance", kwargs=kwargs)]
        case "standardisation":
            return [Processing(id="zero_mean_unit_variance", kwargs={"axes": WHOLE_IMAGE, "eps": EPSILON})]
        case "percentile":
            axes = ["y", "x"] if normalisation.per_channel else WHOLE_IMAGE
            kwargs = {"axes": axes, "min_percentile": normalisation.low, "max_percentile": normalisation.high}
            return [Processing(id="scale_range", kwargs=kwargs | {"eps": EPSILON})]


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
        # deepImageJ knows StarDist by the name
        known = config.targets.kind != "stars" or "stardist" in config.publication.name.lower()
        return config.publication.name + ("" if known else " (StarDist)")
    return _allowed(_headline(config))


def _allowed(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "_+- ()") else "-" for c in text)[:128]


def _headline(config: Config, link: str = "") -> str:
    """Model, task and images; a model that is named by its task needs it only once."""
    name = get_model(config.model.name).title
    task = "" if "classifier" in name else f" {link}{TASKS[config.task]}"
    return f"{name}{task} of {data_set_name(config)}"


def _test_image(run: Run, config: Config) -> tuple[np.ndarray, dict[str, float] | None]:
    """A validation image with something on it, and its pixel size."""
    entries = run.read("split").get("validation", [])
    if not entries:
        raise UserError(
            f"{run.path} has no validation images, of which the test tensors are made: name an image that the network "
            "is made for, with --image."
        )
    missing = [entry["image"] for entry in entries if not Path(entry["image"]).is_file()]
    if missing:
        raise UserError(
            f"{run.path}: the validation image {missing[0]} is gone: put it back, the test tensors are cut out of it."
        )
    data, recipe = config.data, run.recipe
    if recipe.patch is not None:
        return _mosaic(run, recipe.patch), _pixel_size(entries[0], data)
    annotation = data.annotation
    assert annotation != "image"
    chosen = next(
        (
            entry
            for entry in entries
            if Path(entry["mask"]).is_file() and np.ptp(read_mask(entry["mask"], annotation, data.ignore)) > 0
        ),
        entries[0],
    )
    return read_image(chosen["image"], data.axes, data.channels), _pixel_size(chosen, data)


def _pixel_size(entry: dict[str, Any], data: DataConfig) -> dict[str, float] | None:
    size = open_stack(entry["image"], data.axes, data.channels).pixel_size
    return size and {"y": size[0], "x": size[1]}


def _mosaic(run: Run, patch: Patch) -> np.ndarray:
    """Validation patches of all classes in turns, side by side, as large as the packed network's input."""
    from kerazoo.evaluation.validate import validation_pairs
    from kerazoo.models.patches.map import grid_of

    config, grid = run.config, grid_of(patch.size)
    by_class: dict[int, list[np.ndarray]] = {}
    for pair in validation_pairs(run):
        sample = load_pair(pair, config.data)
        for y, x, category in patches_of_mask(sample.mask, patch, len(config.class_names), config.data.ignore):
            by_class.setdefault(int(category), []).append(sample.image[y : y + patch.size, x : x + patch.size])
    random = np.random.default_rng(0)
    classes = sorted(by_class)
    chosen = [by_class[category][index] for category, index in _turns(classes, by_class, grid**2, random)]
    rows = [np.concatenate(chosen[row * grid : (row + 1) * grid], axis=1) for row in range(grid)]
    return np.concatenate(rows)


def _turns(
    classes: list[int], members: dict[int, list[np.ndarray]], count: int, random: np.random.Generator
) -> list[tuple[int, int]]:
    """Class and member of so many patches: classes in turns, members in a random order, all before one comes again."""
    orders = {category: random.permutation(len(members[category])) for category in classes}
    taken = [divmod(place, len(classes)) for place in range(count)]
    chosen = [(classes[slot], int(orders[classes[slot]][turn % len(orders[classes[slot]])])) for turn, slot in taken]
    return [chosen[place] for place in random.permutation(count)]


def _training(config: Config, recipe: Recipe, record: dict[str, Any], data_set: str, images: int) -> Training:
    training, loss = config.training, config.training.loss
    if "converted_from" in record:
        return Training(data=f"Official weights, converted from {record['converted_from']}: see the paper.")
    terms = _LOSSES.get(recipe.targets) or {name: getattr(loss, name) for name in LOSS_TERMS if getattr(loss, name)}
    schedule = training.schedule + (f", {training.warmup_epochs:g} epochs of warm-up" if training.warmup_epochs else "")
    regularisation = f"weight decay {training.weight_decay:g}" if training.optimizer == "adamw" else None
    # the folder is of no interest to others, and may name the author
    start = f", starting from the weights {Path(config.model.weights).name}" if config.model.weights else ""
    return Training(
        data=f"Trained on {images} images of {data_set} in patches of {training.patch_size} pixels{start}.",
        training_preprocessing=f"{recipe.normalisation.method}; {_augmentation(config.augmentation)}",
        training_epochs=record.get("epochs"),
        training_batch_size=training.batch_size,
        initial_learning_rate=training.learning_rate,
        learning_rate_schedule=schedule,
        loss_function=" + ".join(name.replace("_", " ") for name in terms),
        loss_function_kwargs={"weights": list(terms.values())},
        optimizer=training.optimizer,
        optimizer_kwargs={"momentum": training.momentum} if training.optimizer == "sgd" else {},
        regularization=regularisation,
        training_duration=round(record["seconds"] / 3600, 4) if "seconds" in record else None,
    )


def _augmentation(augmentation: AugmentationConfig) -> str:
    used = [
        name.replace("_", " ") + ("" if value is True else f" {value:g}")
        for name, value in augmentation.model_dump().items()
        if value
    ]
    return f"augmentation: {', '.join(used)}" if used else "no augmentation"


def _validation(run: Run, record: dict[str, Any], data_set: str) -> list[Validation]:
    scores = {name: value for name, value in record.get("scores", {}).items() if value is not None}
    if not scores:
        return []
    return [
        Validation(
            dataset=data_set,
            samples=len(run.read("split")["validation"]),
            scores=scores,
            notes="held out of the training; the best epoch and the thresholds of the decoding, if there are any, were "
            "chosen on these images",
        )
    ]
