"""What a bundle says about the model of a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from bmzpack.describe.description import Description, Training, Validation
from bmzpack.settings import validate
from kerazoo.config import AugmentationConfig, Config
from kerazoo.data.rescale import rescaled
from kerazoo.exporting.processing import operations
from kerazoo.exporting.sample_image import pixel_size_of, sample_image
from kerazoo.exporting.texts import TASKS, data_set_name, headline, rescaling_note, title
from kerazoo.files.read import read_image
from kerazoo.models.configure import family_of
from kerazoo.models.recipe import Recipe
from kerazoo.models.registry import family_of_kind, get_model
from kerazoo.runs.records import Record
from kerazoo.runs.run import Run


def describe(run: Run, image_file: str | os.PathLike[str] | None = None) -> Description:
    """What a run says about its model, with a given image for the test tensors or one of its own."""
    config, recipe, record = run.config, run.recipe, run.record
    family, publication, model = family_of_kind(recipe.targets), config.publication, get_model(config.model.name)
    if image_file is None:
        image, pixel_size = sample_image(run, config)
    else:
        image = read_image(Path(image_file), config.data.axes, config.data.channels)
        pixel_size = pixel_size_of(image_file, config.data)
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
        or f"{headline(config, 'for ')}{'' if family.learns_objects else ': ' + ', '.join(recipe.classes)}.",
        "documentation": family.use(recipe) + rescaling_note(recipe),
        "authors": [author.model_dump() for author in publication.authors],
        "cite": [{"text": model.citation, "doi": model.doi}, *publication.cite],
        "licence": publication.licence,
        "tags": list(
            dict.fromkeys([*publication.tags, task.replace(" ", "-"), model.name.partition("2d")[0], "kerazoo"])
        ),
        "timestamp": run.environment.started,
        "inputs": _inputs(recipe, image, pixel_size),
        "outputs": [
            {"id": name, "channel_names": channels, "description": family.output_description(recipe, model)}
            for name, channels in family.outputs(recipe, model).items()
        ],
        "task": task,
        "architecture": model.title if config.model.backbone is None else f"{model.title}, {config.model.backbone}",
        "training": _training(config, recipe, record, data_set, len(run.split.train)),
        "validation": _validation(run, record, data_set),
        "config": {"kerazoo": recipe.model_dump(mode="json")},
    }
    return validate(Description, content, f"publication in {run.path / 'config.yaml'}")


def _inputs(recipe: Recipe, image: np.ndarray, pixel_size: dict[str, float] | None) -> list[dict[str, Any]]:
    """One entry for each input of the network, with the channels of the image that it takes."""
    family = family_of_kind(recipe.targets)
    places = family.inputs(np.arange(recipe.channels)[None, None])
    return [
        {
            "id": name if len(places) > 1 else None,
            "test_image": array,
            "channel_names": [recipe.channel_names[place] for place in places[name][0, 0]],
            "preprocessing": operations(
                recipe.normalisation.of_channels(places[name][0, 0], recipe.channels), array.shape[-1]
            ),
            "pixel_size": pixel_size,
        }
        for name, array in family.inputs(image).items()
    ]


def _training(config: Config, recipe: Recipe, record: Record, data_set: str, images: int) -> Training:
    training = config.training
    if record.converted_from is not None:
        return Training(data=f"Official weights, converted from {record.converted_from}: see the paper.")
    terms = family_of(config).loss_terms(config)
    schedule = training.schedule + (f", {training.warmup_epochs:g} epochs of warm-up" if training.warmup_epochs else "")
    regularisation = f"weight decay {training.weight_decay:g}" if training.optimizer == "adamw" else None
    # the folder is of no interest to others, and may name the author
    start = f", starting from the weights {Path(config.model.weights).name}" if config.model.weights else ""
    return Training(
        data=f"Trained on {images} images of {data_set} in patches of {training.patch_size} pixels{start}.",
        training_preprocessing=f"{recipe.normalisation.method}; {_augmentation(config.augmentation)}",
        training_epochs=record.epochs,
        training_batch_size=training.batch_size,
        initial_learning_rate=training.learning_rate,
        learning_rate_schedule=schedule,
        loss_function=" + ".join(name.replace("_", " ") for name in terms),
        loss_function_kwargs={"weights": list(terms.values())},
        optimizer=training.optimizer,
        optimizer_kwargs={"momentum": training.momentum} if training.optimizer == "sgd" else {},
        regularization=regularisation,
        training_duration=None if record.seconds is None else round(record.seconds / 3600, 4),
    )


def _augmentation(augmentation: AugmentationConfig) -> str:
    used = [
        name.replace("_", " ") + ("" if value is True else f" {value:g}")
        for name, value in augmentation.model_dump().items()
        if value
    ]
    return f"augmentation: {', '.join(used)}" if used else "no augmentation"


def _validation(run: Run, record: Record, data_set: str) -> list[Validation]:
    scores = {name: value for name, value in record.scores.items() if value is not None}
    if not scores:
        return []
    return [
        Validation(
            dataset=data_set,
            samples=len(run.split.validation),
            scores=scores,
            notes="held out of the training; the best epoch and the thresholds of the decoding, if there are any, were "
            "chosen on these images",
        )
    ]
