"""A patch classifier as a network from an image to a map with one pixel per patch: what a bundle holds."""

from __future__ import annotations

from typing import Any

import keras

ops: Any = keras.ops

TILE = 512
"""Side of the network's input in pixels, about."""


def grid_of(size: int) -> int:
    """Patches of so many pixels along each side of a map's input: about `TILE` pixels in all, at least one patch."""
    return max(1, round(TILE / size))


def patch_map(classifier: keras.Model, enlarge: bool = False) -> keras.Model:
    """Cut an image into a grid of patches, and classify all of them.

    Every patch gets exactly what the classifier says of it alone, also where its convolutions are padded.

    Parameters
    ----------
    classifier
        From patches (batch, size, size, channel) to (batch, class); the size is known.
    enlarge
        Whether every pixel of a patch gets the patch's values, for programs that want an output as large as the input.

    Returns
    -------
    keras.Model
        From `raw` (batch, grid * size, grid * size, channel) to (batch, grid, grid, class), or as large as the input,
        its output named as the classifier's; grid is `grid_of(size)`.
    """
    _, size, _, channels = classifier.input_shape
    grid = grid_of(size)
    inputs = keras.Input((grid * size, grid * size, channels), name="raw")
    x = ops.reshape(inputs, (-1, grid, size, grid, size, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    x = classifier(ops.reshape(x, (-1, size, size, channels)))
    x = ops.reshape(x, (-1, grid, grid, classifier.output_shape[-1]))
    if enlarge:
        x = keras.layers.UpSampling2D(size, interpolation="nearest", name="enlarged")(x)
    name = classifier.output_names[0]
    outputs = keras.layers.Activation("linear", name=name)(x)
    return keras.Model(inputs, outputs, name=f"{classifier.name}_map")
