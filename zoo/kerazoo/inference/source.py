"""What a user names to be applied to images: a run, or a bundle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bmzpack.errors import UserError
from kerazoo.inference.network import load_model
from kerazoo.inference.served import ServedNetwork
from kerazoo.models.recipe import Recipe
from kerazoo.runs.run import Run

if TYPE_CHECKING:
    import keras


def open_source(source: Run | str | os.PathLike[str]) -> tuple[keras.Model | ServedNetwork, Recipe]:
    """Load the network and the recipe of a run or of a bundle.

    Parameters
    ----------
    source
        A run, its folder, or a bundle: a zip file, its unpacked folder, or the rdf.yaml in it.

    Returns
    -------
    tuple of keras.Model or ServedNetwork, and Recipe
        The network of a patch classifier's bundle is its map, see `kerazoo.models.patches.map`.

    Raises
    ------
    UserError
        There is no run and no bundle, or the bundle does not say what is needed.
    """
    if not isinstance(source, Run):
        source = Path(source)
        if not source.exists():
            raise UserError(f"There is no run and no bundle {source}: check the name.")
        if not (source / "config.yaml").is_file():
            from kerazoo.inference.bundle import load_bundle

            return load_bundle(source)
        source = Run.open(source)
    return load_model(source.model_path), source.recipe
