"""The only list of models and families: commands, rooms, tests and model cards walk over it.

Listing must not import Keras: a family's `family.py` and `about.py` import no framework, its other files are imported
when they are first needed.
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, Any

from bmzpack.errors import UserError
from kerazoo.models.entry import IMAGENET_BACKBONES as IMAGENET_BACKBONES
from kerazoo.models.entry import Model
from kerazoo.models.exchange import Outputs
from kerazoo.models.family import Family

if TYPE_CHECKING:
    import keras
    import numpy as np

    from kerazoo.models.recipe import Recipe

FAMILIES = [
    "kerazoo.models.neurons.family:Neurons",
    "kerazoo.models.patches.family:PatchClassifiers",
    "kerazoo.models.classical.family:Classical",
    "kerazoo.models.pixels.family:Pixels",
    "kerazoo.models.stardist.family:StarDist",
    "kerazoo.models.cellpose.family:Cellpose",
    "kerazoo.models.omnipose.family:Omnipose",
    "kerazoo.models.sam.family:SegmentAnything",
]
"""`module:class` of every family; its models are listed in this order."""

_instances: dict[str, Family] = {}


def families() -> list[Family]:
    """All families, in the order of `FAMILIES`."""
    for name in FAMILIES:
        if name not in _instances:
            module, cls = name.split(":")
            _instances[name] = getattr(importlib.import_module(module), cls)()
    return [_instances[name] for name in FAMILIES]


def list_models() -> list[Model]:
    """All models of the zoo, in the registry's order."""
    return [model for family in families() for model in family.models]


def get_model(name: str) -> Model:
    """The entry of a name.

    Raises
    ------
    UserError
        No model has this name; the message gives the nearest one.
    """
    models = {model.name: model for model in list_models()}
    if name in models:
        return models[name]
    near = difflib.get_close_matches(name, models, n=1, cutoff=0.0)[0]
    raise UserError(f"There is no model {name!r}; did you mean {near!r}? All names: {', '.join(models)}.")


def baseline() -> Model | None:
    """The entry that networks for single objects are compared with, if there is one."""
    return next((model for model in list_models() if model.baseline), None)


def family_of_model(name: str) -> Family:
    """The family of a model.

    Raises
    ------
    UserError
        As for `get_model`.
    """
    model = get_model(name)
    return next(family for family in families() if model in family.models)


def family_of_kind(kind: str) -> Family:
    """The family whose networks learn a kind of target, a value of ``targets.kind``.

    Raises
    ------
    UserError
        No family learns it.
    """
    for family in families():
        if kind in family.kinds:
            return family
    known = ", ".join(kind for family in families() for kind in family.kinds)
    raise UserError(f"There is no kind of target {kind!r}: choose from {known}.")


def decode(outputs: Outputs, recipe: Recipe, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """The result of a network's outputs for a whole image, see `kerazoo.models.family.Family.decode`."""
    return family_of_kind(recipe.targets).decode(outputs, recipe, shape)


def create_model(name: str, **arguments: Any) -> keras.Model:
    """Build a model of the zoo.

    Parameters
    ----------
    name
        A name of `list_models`.
    **arguments
        Arguments of the model's builder, such as ``input_shape``, ``classes``, ``backbone``.

    Returns
    -------
    keras.Model
        The network, its inputs and outputs named by their tensor ids.

    Raises
    ------
    UserError
        There is no such model, or the builder does not take an argument.
    """
    return get_model(name).build(**arguments)
