"""Bundles that end in labels of objects: by an operation of the zoo, or by more operations in the graph."""

from __future__ import annotations

import keras

from bmzpack.describe.description import Description, Output, Processing
from bmzpack.errors import UserError
from bmzpack.operations.labels import Ending
from kerazoo.exporting.texts import LABELS, allowed, data_set_name, seen_size
from kerazoo.models.registry import family_of_kind
from kerazoo.models.shared.packed import channels_first
from kerazoo.runs.run import Run


def with_labels(network: keras.Model, run: Run, description: Description, form: str) -> tuple[keras.Model, Ending]:
    """The network of a bundle that ends in labels, and what makes them; completes the description.

    Parameters
    ----------
    network
        As the ordinary bundle has it.
    run
        Of a network for single objects.
    description
        Of the ordinary bundle.
    form
        `raw`: an operation of the zoo makes the labels; `labels`: the graph itself.

    Raises
    ------
    UserError
        The network has no such form.
    """
    recipe = run.recipe
    family, axes = family_of_kind(recipe.targets), "byxc"
    if form == "labels":
        if (in_graph := family.labels_in_graph(recipe)) is None:
            raise _none_for(recipe.model)
        ending = Ending(in_graph.labels, function=in_graph.function, arguments=in_graph.arguments)
        description.documentation = LABELS + seen_size(recipe)
        # a name that says StarDist would have deepImageJ look for what its plugin needs
        description.name = run.config.publication.name or allowed(
            f"Instance segmentation of {data_set_name(run.config)} (label images)"
        )
    else:
        if (operation := family.operation(recipe)) is None:
            raise _none_for(recipe.model)
        ending = Ending(operation.labels, Processing(id=operation.id, kwargs=operation.kwargs))
        if operation.channels_first:
            network, axes = channels_first(network), "bcyx"
        channels = f" The channels are {', '.join(recipe.classes)}."
        description.documentation = family.use(recipe) + seen_size(recipe) + channels + operation.remark
    about = "Labels 1, 2, ... of the objects, 0 for the background"
    description.outputs = [Output(id="labels", axes=axes, description=about)]
    return network, ending


def _none_for(model: str) -> UserError:
    return UserError(f"Labels can be made in bundles of StarDist and Cellpose, but not of {model}: leave --form out.")
