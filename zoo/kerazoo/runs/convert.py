"""From an official checkpoint to a run: the network and all that turns images into objects with it."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Literal

import keras
import yaml
from keras import layers

from bmzpack.errors import UserError
from bmzpack.files import new_file
from bmzpack.measure.geometry import measure
from kerazoo.config import Config
from kerazoo.data.normalise import fit_normalisation
from kerazoo.data.rescale import Scale
from kerazoo.models.configure import family_of, make_config
from kerazoo.models.recipe import Recipe, TileGeometry
from kerazoo.runs.environment import describe_environment
from kerazoo.runs.run import Run

Kind = Literal["cellpose", "omnipose", "stardist"]
KINDS: tuple[Kind, ...] = ("cellpose", "omnipose", "stardist")
ARCHITECTURE = ("rays", "filters", "depth", "features")
"""Arguments of `kerazoo.models.stardist.network.stardist` that an official configuration tells."""
PERCENTILES = {"cellpose": {"low": 1, "high": 99}, "omnipose": {"low": 0.01, "high": 99.99}}
"""To which the official packages scale every channel of an image by default."""


def convert(
    kind: str,
    checkpoint: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    channels: int | None = None,
    overwrite: bool = False,
) -> Run:
    """Make a run of an official checkpoint.

    Parameters
    ----------
    kind
        `cellpose` (versions 2 and 3) or `omnipose`, for a file that torch saved; `stardist`, for a model's folder.
    checkpoint
        The file or folder.
    output
        The run folder.
    channels
        Of the images. A network for two channels takes images of one, too, as the official packages do it: with zeros
        in place of the other; that is the default for Cellpose and Omnipose.
    overwrite
        Whether an existing run may be replaced.

    Returns
    -------
    Run
        It can be applied, evaluated and exported; its best.keras can be the start of a training.

    Raises
    ------
    UserError
        The checkpoint is not of this kind, or does not fit tensor by tensor; the folder exists, and is no run that may
        be replaced.
    """
    if kind not in KINDS:
        raise UserError(f"There is no conversion of {kind!r}: choose {', '.join(KINDS)}.")
    checkpoint, folder = Path(checkpoint), Path(output)
    Run(folder).refuse_to_replace(overwrite)
    if not checkpoint.exists():
        raise UserError(f"There is no checkpoint {checkpoint}: check the name.")
    if folder.resolve() in (checkpoint.resolve(), *checkpoint.resolve().parents):
        raise UserError(f"{checkpoint} lies in {folder}, which would be replaced: choose another name with -o.")
    if kind == "stardist":
        model, config, recipe = _stardist(checkpoint, channels)
    else:
        model, config, recipe = _cellpose(kind, checkpoint, channels)
    with new_file(folder, overwrite) as temporary:
        temporary.mkdir()
        run = Run(temporary)
        content = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        (temporary / "config.yaml").write_text(content, encoding="utf-8")
        model.save(run.model_path)
        run.write("recipe", recipe.model_dump(mode="json"))
        run.write("environment", describe_environment("float32", 1))
        run.write("record", {"parameters": model.count_params(), "converted_from": checkpoint.name})
        if folder.exists():
            shutil.rmtree(folder)
    return Run(folder)


def _cellpose(kind: str, checkpoint: Path, channels: int | None) -> tuple[keras.Model, Config, Recipe]:
    from kerazoo.models.cellpose.checkpoint import load_cellpose

    model, about = load_cellpose(checkpoint)
    expected = {"cellpose": 3, "omnipose": 4}
    if (found := model.outputs[0].shape[-1]) != expected[kind]:
        other = next((name for name, outputs in expected.items() if outputs == found), "neither of both")
        raise UserError(
            f"{checkpoint} has {found} outputs; {kind} has {expected[kind]} here. By its outputs it is {other} "
            "(or an Omnipose network without boundaries, which cannot be run)."
        )
    taken = model.inputs[0].shape[-1]
    channels = 1 if channels is None else channels
    if not 1 <= channels <= taken:
        raise UserError(f"{checkpoint} is for {taken} channels: choose from 1 to {taken}.")
    if channels < taken:
        model = _with_zeros(model, channels, taken)
    diameter = about.get("diam_labels") if kind == "cellpose" else None
    seen = about.get("diam_mean", 30.0)
    config = make_config(
        {
            "model": {"name": f"{kind}2d", "weights": None},
            "data": {"channels": channels},
            "normalisation": {"method": "percentile", **PERCENTILES[kind], "per_channel": channels > 1},
            "targets": {"diameter": seen} if kind == "cellpose" else {},
            "decoding": {"minimum_size": 15},
        }
    )
    scale = Scale(network=seen, images=diameter or seen) if kind == "cellpose" else None
    return model, config, _recipe(config, model, scale)


def _with_zeros(model: keras.Model, channels: int, taken: int) -> keras.Model:
    """The network for fewer channels, with zeros in place of the others."""
    inputs = keras.Input((None, None, channels), name="raw")
    zeros = layers.Rescaling(0.0, name="channel_without_image")(inputs)
    missing = [zeros] * -(-(taken - channels) // channels)
    together = layers.Concatenate(name="channels")([inputs, *missing])
    return keras.Model(inputs, model(together), name=f"{model.name}_of_{channels}")


def _stardist(checkpoint: Path, channels: int | None) -> tuple[keras.Model, Config, Recipe]:
    from kerazoo.models.stardist.checkpoint import load_stardist

    model, about = load_stardist(checkpoint)
    if channels not in (None, about["channels"]):
        raise UserError(f"{checkpoint} is for {about['channels']} channels: leave --channels out.")
    if about.get("classes"):
        raise UserError(
            f"{checkpoint} also tells {about['classes']} classes of objects: only networks without can be run."
        )
    grid = list(about["grid"])
    if len(set(grid)) > 1:
        raise UserError(f"{checkpoint} has the grid {grid}: only networks with one number for y and x can be run.")
    config = make_config(
        {
            "model": {"name": "stardist2d", "arguments": {name: about[name] for name in ARCHITECTURE} | {"grid": grid}},
            "data": {"channels": about["channels"]},
            "normalisation": {"method": "percentile", "low": 1, "high": 99.8},
            "decoding": {"threshold": about["threshold"], "overlap": about["overlap"]},
        }
    )
    return model, config, _recipe(config, model, None, grid[0])


def _recipe(config: Config, model: keras.Model, scale: Scale | None, grid: int = 1) -> Recipe:
    return Recipe(
        model=config.model.name,
        task="instances",
        channels=config.data.channels,
        channel_names=[f"channel{number}" for number in range(config.data.channels)],
        classes=family_of(config).channel_names(config),
        targets=str(config.targets.kind),
        scale=scale,
        normalisation=fit_normalisation(config.normalisation, []),
        decoding=config.decoding,
        geometry=TileGeometry(**dataclasses.asdict(measure(model)), grid=grid),
    )
