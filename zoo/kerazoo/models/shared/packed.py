"""What families share where their networks are packed: layers for other programs, and sizes of rescaled images."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import numpy as np

    from kerazoo.models.recipe import Recipe

CHANNELS_FIRST = "channels_first"
"""Name of the layer that brings an output into the layout (batch, channel, y, x)."""


def channels_first(network: keras.Model) -> keras.Model:
    """The network with its output as (batch, channel, y, x)."""
    import keras

    (output,) = network.outputs
    return keras.Model(network.inputs, keras.layers.Permute((3, 1, 2), name=CHANNELS_FIRST)(output), name=network.name)


def without_last(network: keras.Model, name: str) -> keras.Model:
    """The network without its last layer, if that has this name."""
    import keras

    last = network.layers[-1]
    return keras.Model(network.inputs, last.input) if last.name == name else network


def at_network_size(recipe: Recipe) -> Recipe:
    """The recipe for images that are brought to the size of the network before they are given to a bundle."""
    if recipe.scale is None:
        return recipe
    smaller = (recipe.scale.network / recipe.scale.images) ** 2
    size = round(recipe.decoding.minimum_size * smaller)
    decoding = recipe.decoding.model_copy(update={"minimum_size": size})
    return recipe.model_copy(update={"scale": None, "decoding": decoding})


def decoded_batch(output: np.ndarray, recipe: Recipe, dtype: str) -> np.ndarray:
    """Label images (batch, y, x, 1) of outputs (batch, y, x, channel) that are as large as the image."""
    import numpy as np

    from kerazoo.models.registry import family_of_kind

    family, grid = family_of_kind(recipe.targets), recipe.geometry.grid
    found = [family.decode({"packed": image[::grid, ::grid]}, recipe, image.shape) for image in output]
    return np.stack(found)[..., None].astype(dtype)
