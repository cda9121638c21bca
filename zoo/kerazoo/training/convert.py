"""From an official checkpoint to a run: the network and all that turns images into objects with it."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import yaml

from bmzpack.errors import UserError
from bmzpack.files import new_file
from bmzpack.measure.geometry import measure
from kerazoo.data.normalise import fit_normalisation
from kerazoo.models.configure import make_config
from kerazoo.models.recipe import TileGeometry, make_recipe
from kerazoo.models.registry import families
from kerazoo.runs.environment import describe_environment
from kerazoo.runs.run import Run


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
        `cellpose` (versions 2 and 3), `omnipose` or `sam` (Segment Anything and micro-sam), for a file that torch
        saved; `stardist`, for a model's folder.
    checkpoint
        The file or folder.
    output
        The run folder.
    channels
        Channels of the images. A network for two channels takes images of one, too, as the official packages do it:
        with zeros in place of the other; that is the default for Cellpose and Omnipose. Segment Anything sees grey
        images (1, the default) in all of its three channels.
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
    known = {family.name: family for family in families() if family.converts}
    if kind not in known:
        raise UserError(f"There is no conversion of {kind!r}: choose {', '.join(sorted(known))}.")
    checkpoint, folder = Path(checkpoint), Path(output)
    Run(folder).refuse_to_replace(overwrite)
    if not checkpoint.exists():
        raise UserError(f"There is no checkpoint {checkpoint}: check the name.")
    if folder.resolve() in (checkpoint.resolve(), *checkpoint.resolve().parents):
        raise UserError(f"{checkpoint} lies in {folder}, which would be replaced: choose another name with -o.")
    converted = known[kind].convert(checkpoint, channels)
    config, network = make_config(converted.content), converted.network
    geometry = converted.geometry or TileGeometry(**dataclasses.asdict(measure(network)), grid=converted.grid)
    normalisation = converted.normalisation or fit_normalisation(config.normalisation, [])
    recipe = make_recipe(config, known[kind], normalisation, geometry, converted.scale)
    with new_file(folder, overwrite) as temporary:
        temporary.mkdir()
        run = Run(temporary)
        content = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        (temporary / "config.yaml").write_text(content, encoding="utf-8")
        network.save(run.model_path)
        run.write("recipe", recipe.model_dump(mode="json"))
        run.write("environment", describe_environment("float32", 1))
        run.write("record", {"parameters": network.count_params(), "converted_from": checkpoint.name})
        if folder.exists():
            shutil.rmtree(folder)
    return Run(folder)
