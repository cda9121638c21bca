"""Bundles that end in labels of objects: by an operation of the zoo, or by more operations in the graph."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from bmzpack.description import Processing
from bmzpack.ending import Ending
from bmzpack.errors import UserError
from kerazoo.decoding.decode import FLOW_ITERATIONS, decode, logit
from kerazoo.recipe import Recipe

CHANNELS_FIRST = "channels_first"
"""Name of the layer that brings an output into the layout of ``cellpose_flow_dynamics``."""
BORDER = 2
"""Pixels of a network's output at its edges that StarDist takes for no candidates."""


def operation_ending(recipe: Recipe) -> Ending | None:
    """The operation of the zoo that makes labels of the output, or None where there is none.

    Parameters
    ----------
    recipe
        Of a network for single objects: `stars`, at the resolution of the image; `flows`, channels first; `fields`, for
        which the zoo has no operation.
    """
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
            return Ending(_decoder(plain, np.int32), Processing(id="stardist_postprocessing", kwargs=kwargs))
        case "flows":
            kwargs = {
                "cellprob_threshold": logit(decoding.threshold),
                "flow_threshold": decoding.flow_error,
                "do_3D": False,
                "min_size": max(decoding.minimum_size, 1),
                "output_dtype": "uint16",
            }
            decode_last = _decoder(_at_network_size(recipe), np.uint16)

            def decode_first(output: np.ndarray) -> np.ndarray:
                return decode_last(output.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)

            return Ending(decode_first, Processing(id="cellpose_flow_dynamics", kwargs=kwargs))
    return None


def graph_ending(recipe: Recipe) -> Ending:
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
    decoding = recipe.decoding
    match recipe.targets:
        case "stars":
            function = "kerazoo.decoding.star_graph:find_stars"
            arguments = {
                "border": BORDER * recipe.geometry.grid,
                "threshold": decoding.threshold,
                "overlap": decoding.overlap,
                "minimum_size": decoding.minimum_size,
            }
        case "flows":
            function = "kerazoo.decoding.flow_graph:find_flow_objects"
            arguments = {
                "threshold": logit(decoding.threshold),
                "flow_error": decoding.flow_error,
                "minimum_size": decoding.minimum_size,
                "iterations": FLOW_ITERATIONS,
            }
        case _:
            raise UserError(
                f"Labels can end the graph of StarDist and Cellpose, but this is {recipe.model}: choose another form."
            )
    return Ending(_decoder(_at_network_size(recipe), np.float32), function=function, arguments=arguments)


def laid_out(model: keras.Model, recipe: Recipe) -> keras.Model:
    """The network with the output in the layout that its operation asks for: of `flows` (batch, channel, y, x)."""
    if recipe.targets != "flows":
        return model
    output = keras.layers.Permute((3, 1, 2), name=CHANNELS_FIRST)(model.outputs[0])
    return keras.Model(model.inputs, output, name=model.name)


def _at_network_size(recipe: Recipe) -> Recipe:
    """For images that are brought to the size of the network before they are given to a bundle."""
    return recipe.model_copy(update={"scale": None})


def _decoder(recipe: Recipe, dtype: type) -> Callable[[np.ndarray], np.ndarray]:
    grid = recipe.geometry.grid

    def labels(output: np.ndarray) -> np.ndarray:
        found = [decode(image[::grid, ::grid], recipe, image.shape) for image in output]
        return np.stack(found)[..., None].astype(dtype)

    return labels
