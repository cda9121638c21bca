"""Bundles that end in labels of objects: by an operation of the zoo, or by more operations in the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from bmzpack.describe.description import Processing
from bmzpack.errors import UserError
from bmzpack.operations.labels import LabelsPostprocessing
from kerazoo.models.cellpose.decoding import cluster, fill_enclosed, integrate, remove_inconsistent
from kerazoo.models.pixels.decoding import FLOW_ITERATIONS, decode, logit
from kerazoo.models.recipe import Recipe

CHANNELS_FIRST = "channels_first"
"""Name of the layer that brings an output into the layout of ``cellpose_flow_dynamics``."""
CELLPOSE_MINIMUM = 15
"""Pixels of the smallest object by default, which the operation applies before its own minimum."""
BORDER = 2
"""Pixels of a network's output at its edges that StarDist takes for no candidates."""


def operation_ending(recipe: Recipe) -> LabelsPostprocessing:
    """The operation of the zoo that makes labels of the output.

    Parameters
    ----------
    recipe
        Of a network for single objects: `stars`, at the resolution of the image, or `flows`, channels first.

    Raises
    ------
    UserError
        There is none for the network.
    """
    recipe = _at_network_size(recipe)
    decoding, grid = recipe.decoding, recipe.geometry.grid
    match recipe.targets:
        case "stars":
            kwargs = {
                "prob_threshold": decoding.threshold,
                "nms_threshold": decoding.overlap,
                "n_rays": len(recipe.classes) - 1,
                "grid": [1, 1],
                "b": BORDER * grid,
            }
            plain = recipe.model_copy(update={"decoding": decoding.model_copy(update={"minimum_size": 0})})
            return LabelsPostprocessing(
                _decoder(plain, np.int32), Processing(id="stardist_postprocessing", kwargs=kwargs)
            )
        case "flows":
            kwargs = {
                "cellprob_threshold": _finite_logit(decoding.threshold),
                "flow_threshold": decoding.flow_error,
                "do_3D": False,
                "min_size": max(decoding.minimum_size, 1),
                "output_dtype": "uint16",
            }

            def labels(output: np.ndarray) -> np.ndarray:
                found = [_as_cellpose(image.transpose(1, 2, 0), kwargs) for image in output]
                return np.stack(found)[:, None].astype(np.uint16)

            return LabelsPostprocessing(labels, Processing(id="cellpose_flow_dynamics", kwargs=kwargs))
    raise _none_for(recipe)


def graph_ending(recipe: Recipe) -> LabelsPostprocessing:
    """The TensorFlow operations that make labels of the output.

    Parameters
    ----------
    recipe
        Of a network for single objects: `stars`, at the resolution of the image, or `flows`.

    Raises
    ------
    UserError
        There are none for the network.
    """
    recipe = _at_network_size(recipe)
    decoding = recipe.decoding
    match recipe.targets:
        case "stars":
            function = "kerazoo.models.stardist.graph:find_stars"
            arguments = {
                "border": BORDER * recipe.geometry.grid,
                "threshold": decoding.threshold,
                "overlap": decoding.overlap,
                "minimum_size": decoding.minimum_size,
            }
        case "flows":
            function = "kerazoo.models.cellpose.graph:find_flow_objects"
            arguments = {
                "threshold": _finite_logit(decoding.threshold),
                "flow_error": decoding.flow_error,
                "minimum_size": decoding.minimum_size,
                "iterations": FLOW_ITERATIONS,
            }
        case _:
            raise _none_for(recipe)
    return LabelsPostprocessing(_decoder(recipe, np.float32), function=function, arguments=arguments)


def _none_for(recipe: Recipe) -> UserError:
    return UserError(
        f"Labels can be made in bundles of StarDist and Cellpose, but not of {recipe.model}: leave --form out."
    )


def laid_out(model: keras.Model, recipe: Recipe) -> keras.Model:
    """The network with the output in the layout that its operation asks for: of `flows` (batch, channel, y, x)."""
    if recipe.targets != "flows":
        return model
    output = keras.layers.Permute((3, 1, 2), name=CHANNELS_FIRST)(model.outputs[0])
    return keras.Model(model.inputs, output, name=model.name)


def _at_network_size(recipe: Recipe) -> Recipe:
    """For images that are brought to the size of the network before they are given to a bundle."""
    if recipe.scale is None:
        return recipe
    smaller = (recipe.scale.network / recipe.scale.images) ** 2
    size = round(recipe.decoding.minimum_size * smaller)
    decoding = recipe.decoding.model_copy(update={"minimum_size": size})
    return recipe.model_copy(update={"scale": None, "decoding": decoding})


def _finite_logit(probability: float) -> float:
    """Beyond what any network says for 0 and 1, of which a description cannot hold the logit."""
    return float(np.clip(logit(probability), -1000, 1000))


def _as_cellpose(output: np.ndarray, kwargs: dict[str, Any]) -> np.ndarray:
    """Labels in the order of steps of Cellpose 3, to the number: it looks for small objects by their rank.

    Once an object has been removed for its flows, the labels have gaps, and others than the small ones are removed for
    being small (see `kerazoo.models.cellpose.decoding.find_flow_objects`).
    """
    inside = output[..., 2] > kwargs["cellprob_threshold"]
    labels = cluster(integrate(output, inside, FLOW_ITERATIONS), inside)
    if kwargs["flow_threshold"] > 0:
        labels = remove_inconsistent(labels, output, kwargs["flow_threshold"])
    for least in (CELLPOSE_MINIMUM, kwargs["min_size"]):
        labels = _without_small_ranks(fill_enclosed(_without_small_ranks(labels, least)), least)
    return labels


def _without_small_ranks(labels: np.ndarray, least: int) -> np.ndarray:
    values, areas = np.unique(labels[labels > 0], return_counts=True)
    table = np.zeros(labels.max() + 1, np.int32)
    kept = values[~np.isin(values, np.flatnonzero(areas < least) + 1)]
    table[kept] = np.arange(1, len(kept) + 1)
    return table[labels]


def _decoder(recipe: Recipe, dtype: type) -> Callable[[np.ndarray], np.ndarray]:
    grid = recipe.geometry.grid

    def labels(output: np.ndarray) -> np.ndarray:
        found = [decode(image[::grid, ::grid], recipe, image.shape) for image in output]
        return np.stack(found)[..., None].astype(dtype)

    return labels
