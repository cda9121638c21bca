"""StarDist (Schmidt et al. 2018): of every pixel, how central it lies in an object and how far the edge is."""

from __future__ import annotations

import os
from typing import Any

import keras
from keras import layers

from bmzpack.errors import UserError
from kerazoo.models.backbones import add_backbone
from kerazoo.models.weights import backbone_width, initialise


def stardist(
    input_shape: tuple[int | None, int | None, int] = (None, None, 1),
    rays: int = 32,
    grid: tuple[int, int] = (2, 2),
    classes: int | None = None,
    filters: int = 32,
    depth: int | None = None,
    features: int = 128,
    backbone: str | None = None,
    alpha: float | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> keras.Model:
    """StarDist 2D: a U-Net at the resolution of a grid, or an ImageNet encoder, below two 1x1 convolutions.

    Parameters
    ----------
    input_shape
        (y, x, channel); y and x may be None: any size that the network's steps divide.
    rays
        Directions in which the distance to the edge is predicted, at equal angles from +x over +y.
    grid
        (y, x): an object candidate every so many pixels, a power of two each.
    classes
        Classes of objects, background not counted; None: objects only.
    filters
        Width of the U-Net at the resolution of the grid, doubled at every level down.
    depth
        Levels of the U-Net below the grid; by default 3, as published. A backbone has its own.
    features
        Width of the convolution above the U-Net that the heads share; 0 leaves it out.
    backbone
        Instead of the contracting path: a name of `kerazoo.models.backbones.BACKBONES`. It expects values between 0 and
        1, that is, ``normalisation.method`` `scaling` or `percentile`; its own scaling is part of the graph.
    alpha
        Width of MobileNetV2; by default that of the weights file, else 1.
    weights
        `imagenet` (backbone only), a weights file (see `kerazoo.models.weights`), or None: random.

    Returns
    -------
    keras.Model
        From `raw` (batch, y, x, channel) to `stars` (batch, y / grid, x / grid, 1 + rays), float32: object
        probability, then distances in pixels of the image; with classes, class + 1 probabilities more, background
        first. 1,425,185 parameters by default.

    Raises
    ------
    UserError
        An argument is out of range, there is no such backbone, or the weights do not fit.

    Notes
    -----
    Batch normalisation of a pretrained encoder stays in inference mode, as in `kerazoo.models.pixels.network`.
    """
    grid = _check(rays, grid, classes, filters, depth, features, backbone)
    alpha = backbone_width(backbone, alpha, weights, "StarDist")

    inputs = keras.Input(input_shape, name="raw")
    if backbone is None:
        depth = depth or 3
        skips, x = [], _reduce_to_grid(inputs, grid, filters)
        for level in range(1, depth + 1):
            width = filters * 2 ** (level - 1)
            x = _convolutions(x, (width, width), f"encoder{level}")
            skips.append(x)
            x = layers.MaxPooling2D(2, name=f"encoder{level}_pool")(x)
        width = filters * 2**depth
        x = _convolutions(x, (width, width // 2), "bottleneck")
    else:
        *taps, x = add_backbone(inputs, backbone, 5, alpha)
        skips = (
            [_convolutions(inputs, (filters, filters), "encoder1"), *taps] if grid == (1, 1) else taps[grid[0] // 4 :]
        )

    for level, skip in reversed(list(enumerate(skips, start=1))):
        width = filters * 2 ** (level - 1)
        x = layers.UpSampling2D(2, name=f"decoder{level}_up")(x)
        x = layers.Concatenate(name=f"decoder{level}_concatenate")([x, skip])
        x = _convolutions(x, (width, max(width // 2, filters)), f"decoder{level}")

    shared = _convolution(x, features, "features") if features else x
    heads = [_head(shared, 1, "sigmoid", "probability"), _head(shared, rays, "linear", "distances")]
    if classes is not None:
        shared = _convolution(x, features, "class_features") if features else x
        heads.append(_head(shared, classes + 1, "softmax", "classes"))
    outputs = layers.Concatenate(dtype="float32", name="stars")(heads)

    model = keras.Model(inputs, outputs, name="stardist" if backbone is None else f"stardist_{backbone}")
    return initialise(model, weights, backbone, alpha)


def _reduce_to_grid(x: Any, grid: tuple[int, int], filters: int) -> Any:
    """Two convolutions and a pool for every halving; an axis whose grid is reached is not pooled any more."""
    step, reached = 1, (1, 1)
    while reached != grid:
        pool = tuple(2 if have < want else 1 for have, want in zip(reached, grid, strict=True))
        x = _convolutions(x, (filters, filters), f"grid{step}")
        x = layers.MaxPooling2D(pool, name=f"grid{step}_pool")(x)
        step, reached = step + 1, (reached[0] * pool[0], reached[1] * pool[1])
    return x


def _convolutions(x: Any, widths: tuple[int, ...], name: str) -> Any:
    for number, width in enumerate(widths, start=1):
        x = _convolution(x, width, f"{name}_convolution{number}")
    return x


def _convolution(x: Any, width: int, name: str) -> Any:
    return layers.Conv2D(width, 3, padding="same", activation="relu", name=name)(x)


def _head(x: Any, width: int, activation: str, name: str) -> Any:
    return layers.Conv2D(width, 1, activation=activation, dtype="float32", name=name)(x)


def _check(
    rays: int,
    grid: tuple[int, int],
    classes: int | None,
    filters: int,
    depth: int | None,
    features: int,
    backbone: str | None,
) -> tuple[int, int]:
    """Refuse arguments out of range; the grid as a pair."""
    limits = {"rays": (rays, 3), "filters": (filters, 1), "features": (features, 0)}
    limits |= {} if classes is None else {"classes": (classes, 1)}
    limits |= {} if depth is None else {"depth": (depth, 1)}
    for name, (value, least) in limits.items():
        if not isinstance(value, int) or value < least:
            raise UserError(f"StarDist: {name} is {value!r}; choose a whole number from {least} on.")
    steps = tuple(grid) if isinstance(grid, tuple | list) else (grid, grid)
    if len(steps) != 2 or not all(step in (1, 2, 4, 8, 16) for step in steps):
        raise UserError(
            f"StarDist: grid is {grid!r}; choose a power of two up to 16 for y and one for x, such as (2, 2)."
        )
    if backbone is not None and steps not in ((1, 1), (2, 2), (4, 4)):
        raise UserError(f"StarDist: grid is {grid!r}; with a backbone choose (1, 1), (2, 2) or (4, 4).")
    if backbone is not None and depth is not None:
        raise UserError("StarDist: depth is that of the U-Net; a backbone has its own: leave it out.")
    return steps[0], steps[1]
