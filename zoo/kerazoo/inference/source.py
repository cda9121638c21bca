"""What a user names to be applied to images: a run, or a bundle."""

from __future__ import annotations

import os
from pathlib import Path

from bmzpack.errors import UserError
from kerazoo.inference.network import Network, load_model
from kerazoo.models.exchange import AppliedNetwork
from kerazoo.models.recipe import Recipe
from kerazoo.models.registry import family_of_kind
from kerazoo.models.trained import trained_networks
from kerazoo.runs.run import Run
from kerazoo.runs.trained import find_run


def open_source(source: Run | str | os.PathLike[str]) -> tuple[AppliedNetwork, Recipe]:
    """Load the network and the recipe of a run or of a bundle.

    Parameters
    ----------
    source
        A run, its folder, one of `kerazoo.models.trained.trained_networks`, or a bundle: a zip file, its unpacked
        folder, or the rdf.yaml in it.

    Returns
    -------
    tuple of AppliedNetwork and Recipe
        The network of a patch classifier's bundle is its map, see `kerazoo.models.patches.map`.

    Raises
    ------
    UserError
        There is no run and no bundle, or the bundle does not say what is needed.
    """
    run = find_run(source)
    if run is None:
        path = Path(str(source))
        if not path.exists():
            raise UserError(
                f"There is no run and no bundle {source}: check the name. Trained networks of kerazoo: "
                f"{', '.join(trained_networks()) or 'none'}."
            )
        from kerazoo.inference.bundle import load_bundle

        return load_bundle(path)
    recipe = run.recipe
    size = 1 if recipe.patch is None else None  # tiles come one by one, patches in batches
    return Network(load_model(run.model_path), family_of_kind(recipe.targets), size), recipe
