"""The cover of a bundle: the test image on the left, what the network makes of it on the right."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bmzpack.operations.labels import CHANNEL_NAMES, are_labels

SIDE = 256
"""Side of one picture in pixels: two of them stay below the 500 kB of the zoo also when they do not compress."""
DARK, SLOT, LIGHT = 24 / 255, 52 / 255, 208 / 255
"""Greys of bars: what lies behind, where a bar could be, and the bars of an input."""
MOST_BARS = 16
"""Values beyond which they are drawn as a grid."""
MOST_NAMES = 7
"""Classes that a legend names, those with the most pixels first."""
LABEL_COLOURS = 19
"""Colours of objects, which have no order: neighbours shall differ."""
LINE, INDENT = 16, 5
"""Height and distances of a legend's lines in pixels."""
COLOURS = ((0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 0.3, 0.25), (0.3, 1, 0.3), (0.35, 0.5, 1))


def write_cover(
    path: Path,
    inputs: Sequence[Mapping[str, Any]],
    outputs: Sequence[Mapping[str, Any]],
    tensors: Mapping[str, np.ndarray],
    visible: float = 1.0,
    classes: bool = False,
) -> None:
    """Write the cover as PNG, twice as wide as high; a tensor that is no image is drawn as bars.

    Parameters
    ----------
    path
        The file to write.
    inputs, outputs
        Entries of rdf.yaml.
    tensors
        Test tensors by id.
    visible
        Part of their sides, in the middle, that is shown: what lies around it is mirrored, or a rim of zeros.
    classes
        Whether every pixel of an output has one class, that of the highest value: it is drawn in one colour per class,
        with a legend.
    """
    pictures, height = [], 0
    for entries, draw in ((inputs, _image), (outputs, _prediction)):
        entry = next((entry for entry in entries if {"y", "x"} <= {axis["id"] for axis in entry["axes"]}), None)
        if entry is None:
            values = tensors[entries[0]["id"]].ravel()
            pictures.append(_square(_values(values, in_colours=draw is _prediction), 1, Image.Resampling.NEAREST))
        else:
            plane, names = _plane(tensors[entry["id"]], entry)
            if classes and draw is _prediction and len(names) > 1:
                pictures.append(_class_map(plane, names, visible))
                continue
            picture = draw(plane, names)
            # pixels that stand for a patch of the input each are to be seen as such
            enlarging = Image.Resampling.NEAREST if len(picture) < height else Image.Resampling.BICUBIC
            pictures.append(_square(picture, visible, enlarging))
            height = len(picture)
    Image.fromarray(np.concatenate(pictures, axis=1)).save(path, optimize=True)


def _values(values: np.ndarray, in_colours: bool) -> np.ndarray:
    """Bars that begin at zero, or a grid of greys where they are many."""
    if len(values) > MOST_BARS:
        side = math.isqrt(len(values) - 1) + 1
        grid = np.full(side**2, np.nan)
        grid[: len(values)] = _stretched(values, 0, 100)
        greys = np.where(np.isnan(grid), DARK, SLOT + (1 - SLOT) * grid)
        return np.repeat(greys.reshape(side, side, 1), 3, axis=-1)
    top, bottom = max(0.0, float(values.max())), min(0.0, float(values.min()))
    height, rim = SIDE - 2 * SIDE // 8, SIDE // 8
    levels = rim + np.rint((top - np.append(values, 0.0)) / (top - bottom or 1) * (height - 1)).astype(int)
    zero = levels[-1]
    colours = _palette(len(values)) if in_colours else [(LIGHT, LIGHT, LIGHT)] * len(values)
    picture = np.full((SIDE, SIDE, 3), DARK)
    width = height / len(values)
    for n, (level, colour) in enumerate(zip(levels, colours, strict=False)):
        bar = slice(round(rim + (n + 0.1) * width), round(rim + (n + 0.9) * width))
        picture[rim : rim + height, bar] = SLOT
        picture[min(level, zero) : max(level, zero) + 1, bar] = colour
    picture[zero, rim // 2 : SIDE - rim // 2] = LIGHT
    return picture


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
    """One channel in grey; several as the mixture of their colours, the background black; labels in many colours.

    Of more channels than there are colours, which would mix to white, the first, unless they are shares of a whole.
    """
    channels = plane.shape[-1]
    if channels > len(COLOURS) and not np.allclose(plane.sum(axis=-1), 1, atol=1e-2):
        plane, channels = plane[..., :1], 1
    if names == CHANNEL_NAMES and are_labels(plane):
        colours = np.array([(0, 0, 0), *_palette(LABEL_COLOURS)])
        labels = plane[..., 0].astype(np.int64)
        return colours[np.where(labels > 0, 1 + labels * 7 % LABEL_COLOURS, 0)]
    stretched = _stretched(plane, 0, 100)
    if channels == 1:
        return np.repeat(stretched, 3, axis=-1)
    background = names[0].lower().startswith("background")
    return stretched @ np.array([(0, 0, 0), *_palette(channels - 1)] if background else _palette(channels))


def _class_map(plane: np.ndarray, names: Sequence[str], visible: float) -> np.ndarray:
    """The class of every pixel in its colour, and the names of those that are seen most."""
    found, palette = plane.argmax(axis=-1), np.array(_palette(len(names)))
    counts = np.bincount(found.ravel(), minlength=len(names))
    most: list[int] = np.argsort(-counts, kind="stable")[:MOST_NAMES].tolist()
    shown = [number for number in sorted(most) if counts[number]]
    image, font = Image.fromarray(_square(palette[found], visible, None)), ImageFont.load_default(LINE - 4)
    drawing = ImageDraw.Draw(image)
    box = LINE - 6
    room = SIDE - 3 * INDENT - box
    texts = [_fitting(names[number], font, room - INDENT) for number in shown]
    width = 3 * INDENT + box + math.ceil(max(font.getlength(text) for text in texts))
    top = SIDE - LINE * len(shown) - 2 * INDENT
    drawing.rectangle((0, top, width, SIDE), fill=(round(255 * DARK),) * 3)
    for n, (text, number) in enumerate(zip(texts, shown, strict=True)):
        y, colour = top + INDENT + n * LINE, tuple(np.rint(255 * palette[number]).astype(int).tolist())
        drawing.rectangle((INDENT, y + 3, INDENT + box - 1, y + 2 + box), fill=colour)
        drawing.text((2 * INDENT + box, y + LINE / 2), text, fill=(255, 255, 255), font=font, anchor="lm")
    return np.asarray(image)


def _fitting(text: str, font: Any, room: float) -> str:
    """A text, or as much of its beginning as there is room for."""
    if font.getlength(text) <= room:
        return text
    return next((cut for end in range(len(text), 0, -1) if font.getlength(cut := f"{text[:end]}...") <= room), "...")


def _stretched(plane: np.ndarray, low: float = 0.5, high: float = 99.5) -> np.ndarray:
    bottom, top = np.percentile(plane, (low, high))
    return np.clip((plane - bottom) / (top - bottom or 1), 0, 1)


def _palette(count: int) -> list[tuple[float, float, float]]:
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    return [colorsys.hsv_to_rgb(n / count, 0.8, 1) for n in range(count)]


def _square(
    picture: np.ndarray, visible: float, enlarging: Image.Resampling | None = Image.Resampling.BICUBIC
) -> np.ndarray:
    """The middle of a picture in the size of the cover; colours are not mixed where ``enlarging`` is None."""
    side = max(1, round(min(picture.shape[:2]) * visible))
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    image = Image.fromarray(np.uint8(np.rint(np.clip(picture[top : top + side, left : left + side], 0, 1) * 255)))
    if enlarging is None:
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.NEAREST))
    return np.asarray(image.resize((SIDE, SIDE), enlarging if side < SIDE else Image.Resampling.LANCZOS))
