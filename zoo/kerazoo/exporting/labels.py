"""Bundles that end in labels of objects: by an operation of the zoo, or by more operations in the graph."""

from __future__ import annotations

from collections.abc import Iterator

import keras

from bmzpack.describe.description import Description, Output, Processing
from bmzpack.errors import UserError
from bmzpack.operations.labels import LabelsPostprocessing, mask_of
from bmzpack.settings import validate
from kerazoo.exporting.texts import LABELS, MASK, allowed, data_set_name, rescaling_note
from kerazoo.models.exchange import LabelsEnding
from kerazoo.models.recipe import Recipe
from kerazoo.models.registry import families, family_of_kind
from kerazoo.models.shared.packed import channels_first
from kerazoo.runs.run import Run

IN_GRAPH = {"labels": "label images", "mask": "masks"}
"""Forms whose graph ends in objects, and in what they end."""


def with_labels(
    network: keras.Model, run: Run, description: Description, form: str
) -> tuple[keras.Model, LabelsPostprocessing]:
    """The network of a bundle that ends in labels, and what makes them; completes the description.

    Parameters
    ----------
    network
        As the ordinary bundle has it.
    run
        A run of a network for single objects.
    description
        Description of the ordinary bundle.
    form
        `raw`: an operation of the zoo makes the labels; `labels`: the graph itself; `mask`: the graph goes on to a
        mask of the objects.

    Raises
    ------
    UserError
        The network has no such form.
    """
    recipe, axes = run.recipe, "byxc"
    found = _ending(recipe, form)
    if form in IN_GRAPH:
        description.documentation = (MASK if form == "mask" else LABELS) + rescaling_note(recipe)
        # a name that says StarDist would have deepImageJ search for what its plugin needs
        description.name = run.config.publication.name or allowed(
            f"Instance segmentation of {data_set_name(run.config)} ({IN_GRAPH[form]})"
        )
    else:
        if found.channels_first:
            network, axes = channels_first(network), "bcyx"
        channels = f" The channels are {', '.join(recipe.classes)}."
        use = family_of_kind(recipe.targets).use(recipe)
        description.documentation = use + rescaling_note(recipe) + channels + found.remark
    labels = labels_postprocessing(recipe, form)
    about = "1 in objects, 0 elsewhere" if labels.as_mask else "Labels 1, 2, ... of the objects, 0 for the background"
    description.outputs = [Output(id="mask" if labels.as_mask else "labels", axes=axes, description=about)]
    return network, labels


def labels_postprocessing(recipe: Recipe, form: str) -> LabelsPostprocessing:
    """What makes labels of the output of a network.

    Parameters
    ----------
    recipe
        Recipe of the network.
    form
        As for `with_labels`.

    Raises
    ------
    UserError
        There is none for the network.
    """
    found = _ending(recipe, form)
    operation = validate(Processing, found.operation, recipe.model) if found.operation else None
    as_mask = form == "mask"
    return LabelsPostprocessing(
        decode=(lambda output: mask_of(found.labels(output))) if as_mask else found.labels,
        operation=operation,
        function=found.function,
        torch_function=found.torch_function,
        arguments=found.arguments,
        as_mask=as_mask,
    )


def _ending(recipe: Recipe, form: str) -> LabelsEnding:
    found = _found(recipe, form)
    if found is None:
        raise UserError(
            f"The form {form} is there for {', '.join(_able(recipe, form))}, but not for {recipe.model} with the "
            f"targets {recipe.targets}: leave --form out."
        )
    return found


def _found(recipe: Recipe, form: str) -> LabelsEnding | None:
    family = family_of_kind(recipe.targets)
    return family.labels_in_graph(recipe) if form in IN_GRAPH else family.operation(recipe)


def _able(recipe: Recipe, form: str) -> Iterator[str]:
    """Models that have the form, with their targets where it depends on these; every family is asked."""
    for family in families():
        for model in family.models:
            asked = {kind: recipe.model_copy(update={"model": model.name, "targets": kind}) for kind in family.kinds}
            kinds = [kind for kind, other in asked.items() if _found(other, form) is not None]
            if kinds:
                yield model.name if len(kinds) == len(asked) else f"{model.name} with the targets {' or '.join(kinds)}"
