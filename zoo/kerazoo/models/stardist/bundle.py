"""StarDist in Fiji: the network at the resolution of the image, and what StarDist's plugin needs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from kerazoo.models.exchange import LabelsEnding
from kerazoo.models.recipe import Recipe
from kerazoo.models.shared.packed import at_network_size, decoded_batch

MACRO = "stardist_postprocessing.ijm"
"""Name of the macro in the bundle."""
FULL_RESOLUTION = "stars_at_full_resolution"
"""Name of the layer that enlarges the output."""

BORDER = 2
"""Pixels of a network's output at its edges that StarDist takes for no candidates."""

_MACRO = """\
// Objects of the output of this network, by the non-maximum suppression of the StarDist plugin for Fiji
// (Schmidt et al. 2018). Install the update sites CSBDeep and StarDist, apply the network, and run this macro while its
// output is the active image: the first channel is the object probability, the others are the star distances.
output = getTitle();
Stack.getDimensions(width, height, channels, slices, frames);
if (channels == 1)
    run("Stack to Hyperstack...", "order=xyczt(default) channels=" + slices * frames + " slices=1 frames=1");
run("Duplicate...", "title=object_probability duplicate channels=1");
selectWindow(output);
run("Duplicate...", "title=star_distances duplicate channels=2-{last}");
arguments = "'prob':'object_probability', 'dist':'star_distances', 'probThresh':'{threshold}', ";
arguments += "'nmsThresh':'{overlap}', 'outputType':'Both', 'excludeBoundary':'2', 'roiPosition':'Automatic', ";
arguments += "'verbose':'false'";
run("Command From Macro", "command=[de.csbdresden.stardist.StarDist2DNMS], args=[" + arguments + "], process=[false]");
close("object_probability");
close("star_distances");
"""


def full_resolution(model: keras.Model, grid: int) -> keras.Model:
    """The network with one output pixel per image pixel, as StarDist's plugin for Fiji takes it.

    Between the pixels of the grid the object probability is 0, so that the candidates stay the same; the distances are
    repeated.

    Parameters
    ----------
    model
        From `raw` (batch, y, x, channel) to `stars` (batch, y / grid, x / grid, 1 + rays).
    grid
        So many pixels of the image are one of the output, along y and x.

    Returns
    -------
    keras.Model
        From `raw` to `stars` (batch, y, x, 1 + rays), float32.
    """
    if grid == 1:
        return model
    (stars,) = model.outputs
    channels = stars.shape[-1]
    # One transposed convolution per channel: a probability goes to the first pixel of its cell, distances to all.
    upsample = layers.Conv2DTranspose(
        channels, grid, strides=grid, padding="same", use_bias=False, dtype="float32", name=FULL_RESOLUTION
    )
    network = keras.Model(model.inputs, upsample(stars), name=model.name)
    kernel = np.zeros((grid, grid, channels, channels), np.float32)
    kernel[:, :, range(1, channels), range(1, channels)] = 1
    kernel[0, 0, 0, 0] = 1
    upsample.set_weights([kernel])
    return network


def macro(recipe: Recipe) -> str:
    """The ImageJ macro that makes objects of the output."""
    decoding = recipe.decoding
    return (
        _MACRO.replace("{last}", str(len(recipe.classes)))
        .replace("{threshold}", f"{decoding.threshold:g}")
        .replace("{overlap}", f"{decoding.overlap:g}")
    )


def config(recipe: Recipe) -> dict[str, Any]:
    """What ``config.kerazoo_stardist`` holds: thresholds and shape of the network, as StarDist names them."""
    grid = recipe.geometry.grid
    return {
        "thresholds": {"prob": recipe.decoding.threshold, "nms": recipe.decoding.overlap},
        "config": {
            "n_dim": 2,
            "axes": "YXC",
            "n_channel_in": recipe.channels,
            "n_channel_out": len(recipe.classes),
            "n_rays": len(recipe.classes) - 1,
            "grid": [grid, grid],
            "n_classes": None,
        },
        "postprocessing_macro": MACRO,
    }


def operation(recipe: Recipe) -> LabelsEnding:
    """The zoo's operation ``stardist_postprocessing``, for an output at the resolution of the image."""
    recipe = at_network_size(recipe)
    decoding = recipe.decoding
    kwargs = {
        "prob_threshold": decoding.threshold,
        "nms_threshold": decoding.overlap,
        "n_rays": len(recipe.classes) - 1,
        "grid": [1, 1],
        "b": BORDER * recipe.geometry.grid,
    }
    plain = recipe.model_copy(update={"decoding": decoding.model_copy(update={"minimum_size": 0})})
    remark = " The operation has no smallest size: small objects are not removed." if decoding.minimum_size else ""
    operation = {"id": "stardist_postprocessing", "kwargs": kwargs}
    return LabelsEnding(lambda output: decoded_batch(output, plain, "int32"), operation, remark=remark)


def labels_in_graph(recipe: Recipe) -> LabelsEnding:
    """TensorFlow operations that make polygons of the output."""
    recipe = at_network_size(recipe)
    decoding = recipe.decoding
    arguments = {
        "border": BORDER * recipe.geometry.grid,
        "threshold": decoding.threshold,
        "overlap": decoding.overlap,
        "minimum_size": decoding.minimum_size,
    }
    return LabelsEnding(
        lambda output: decoded_batch(output, recipe, "float32"),
        function="kerazoo.models.stardist.graph:find_stars",
        torch_function="kerazoo.models.stardist.torch_graph:find_stars",
        arguments=arguments,
    )
