"""From a run to a bundle: the one room where the zoo uses the packer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bmzpack.errors import UserError
from bmzpack.files import refuse_existing
from bmzpack.packing.pack import pack
from kerazoo.exporting.describe import describe
from kerazoo.exporting.labels import IN_GRAPH, with_labels
from kerazoo.exporting.prompts import FORMS as PROMPTS
from kerazoo.exporting.prompts import with_prompts
from kerazoo.inference.network import load_model
from kerazoo.models.registry import family_of_kind
from kerazoo.runs.run import Run
from kerazoo.runs.trained import open_run

MAPS = "maps"
"""The form of an ordinary bundle."""
FORMS = (MAPS, "raw", *IN_GRAPH, *PROMPTS)
"""What the output of a bundle for single objects can be, see `export`."""


def export(
    run: Run | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    formats: Sequence[str] | None = None,
    image: str | os.PathLike[str] | None = None,
    enlarge: bool = False,
    form: str = MAPS,
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
        `maps`: what the network gives, as the programs' own plugins for objects take it. Of some networks also `raw`:
        with the operation of the BioImage Model Zoo that makes labels in Python; `labels`: the graph itself ends in the
        label image, as a saved model, in ONNX and in TorchScript, for Keras files have no loops; and `mask`: in a mask
        in which objects that touch lie apart, for programs that tile images, and know no labels. Of networks that
        answer prompts also `prompts`: from an image and boxes to masks, in ONNX; and `embedding`: of an image.
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
    run = open_run(run)
    recipe = run.recipe
    family, maps_patches = family_of_kind(recipe.targets), recipe.patch is not None
    if form not in FORMS:
        raise UserError(f"There is no form {form!r} of a bundle: choose from {', '.join(FORMS)}.")
    if enlarge and not maps_patches:
        raise UserError(f"{run.path} gives a class per pixel already: leave --enlarge out.")
    refuse_existing(Path(output), overwrite)
    if image is not None and maps_patches:
        raise UserError("The test tensors of a classifier are made of its validation patches: leave --image out.")
    description = describe(run, image)
    made: dict[str, Any] = {"model": run.model_path}  # packed as it was saved, unless something has to be put behind it
    if form in PROMPTS:
        made = with_prompts(run, load_model(run.model_path), description, form)
    elif form != MAPS or family.changes_network:
        made["model"] = family.packed(load_model(run.model_path), recipe, enlarge=enlarge)
    if form == MAPS:
        config, attachments = family.bundle_extras(recipe)
        description.config |= config
        description.attachments |= attachments
    elif form != "raw":
        description.config["kerazoo"]["form"] = form  # its graph is not that of the run, and is not applied like it
    if form not in (MAPS, *PROMPTS):
        made["model"], made["labels"] = with_labels(made["model"], run, description, form)
    if formats is not None:
        made["formats"] = formats
    packed = pack(**made, description=description, output=output, overwrite=overwrite)
    if form == MAPS and not run.comes_with_package:
        run.write("agreement", packed.agreement)
    return packed.path
