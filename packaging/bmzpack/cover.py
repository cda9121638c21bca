"""The cover of a bundle: the test image on the left, what the network makes of it on the right."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 256
"""Of one picture in pixels: two of them stay below the 500 kB of the zoo also when they do not compress."""
COLOURS = ((0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 0.3, 0.25), (0.3, 1, 0.3), (0.35, 0.5, 1))


def write_cover(
    path: Path,
    inputs: Sequence[Mapping[str, Any]],
    outputs: Sequence[Mapping[str, Any]],
    tensors: Mapping[str, np.ndarray],
    visible: float = 1.0,
) -> None:
    """Write the cover as PNG, twice as wide as high, or square where the network gives no image.

    Parameters
    ----------
    path
        The file to write.
    inputs, outputs
        Entries of rdf.yaml.
    tensors
        Test tensors by id.
    visible
        Part of their sides, in the middle, that is shown: what lies around it is mirrored.
    """
    pictures = []
    for entries, draw in ((inputs, _image), (outputs, _prediction)):
        found = next((entry for entry in entries if {"y", "x"} <= {axis["id"] for axis in entry["axes"]}), None)
        if found is not None:
            plane, names = _plane(tensors[found["id"]], found)
            pictures.append(_square(draw(plane, names), visible))
    if not pictures:
        pictures = [np.full((SIDE, SIDE, 3), 32, np.uint8)]
    Image.fromarray(np.concatenate(pictures, axis=1)).save(path, optimize=True)


def _plane(tensor: np.ndarray, entry: Mapping[str, Any]) -> tuple[np.ndarray, list[str]]:
    """The middle plane as (y, x, channel), and the names of its channels."""
    ids = [axis["id"] for axis in entry["axes"]]
    for position in reversed(range(len(ids))):
        if ids[position] not in ("y", "x", "channel"):
            tensor = np.take(tensor, tensor.shape[position] // 2, axis=position)
            del ids[position]
    names = next((axis["channel_names"] for axis in entry["axes"] if axis["id"] == "channel"), ["channel0"])
    if "channel" not in ids:
        tensor, ids = tensor[..., np.newaxis], [*ids, "channel"]
    return tensor.transpose([ids.index(axis) for axis in ("y", "x", "channel")]), names


def _image(plane: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """One channel in grey, three as red, green and blue where they are that, else each in a colour of its own."""
    channels = plane.shape[-1]
    if channels == 3 and [name.lower() for name in names] in (
        ["red", "green", "blue"],
        ["channel0", "channel1", "channel2"],
    ):
        return plane / 255 if plane.min() >= 0 and 1 < plane.max() <= 255 else _stretched(plane)
    stretched = np.concatenate([_stretched(plane[..., [n]]) for n in range(channels)], axis=-1)
    return np.repeat(stretched, 3, axis=-1) if channels == 1 else stretched @ np.array(_palette(channels))


def _prediction(plane: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """One channel in grey; several as the mixture of their colours, the background black."""
    channels = plane.shape[-1]
    stretched = _stretched(plane, 0, 100)
    if channels == 1:
        return np.repeat(stretched, 3, axis=-1)
    background = names[0].lower().startswith("background")
    return stretched @ np.array([(0, 0, 0), *_palette(channels - 1)] if background else _palette(channels))


def _stretched(plane: np.ndarray, low: float = 0.5, high: float = 99.5) -> np.ndarray:
    bottom, top = np.percentile(plane, (low, high))
    return np.clip((plane - bottom) / (top - bottom or 1), 0, 1)


def _palette(count: int) -> list[tuple[float, float, float]]:
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    return [colorsys.hsv_to_rgb(n / count, 0.8, 1) for n in range(count)]


def _square(picture: np.ndarray, visible: float) -> np.ndarray:
    side = max(1, round(min(picture.shape[:2]) * visible))
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    image = Image.fromarray(np.uint8(np.rint(np.clip(picture[top : top + side, left : left + side], 0, 1) * 255)))
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC if side < SIDE else Image.Resampling.LANCZOS))
