"""Masks: the numbers that a picture stores, and what they mean by the configuration's section `data`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import tifffile

from bmzpack.errors import UserError
from kerazoo.config import DataConfig
from kerazoo.files.appearance import ORIENTATION, black_is_zero, page_orientation, turned
from kerazoo.files.pictures import decoding, is_16_bit_png, open_picture
from kerazoo.files.read import PICTURE_SUFFIXES, TIFF_SUFFIXES, check_complete, check_exists, squeezed

_MOST_COLOURS = 12
"""So many colours are named in a message."""


def read_mask(path: str | Path, data: DataConfig) -> np.ndarray:
    """Read a picture with one number or one colour per pixel.

    Parameters
    ----------
    path
        A TIFF, PNG or BMP file; palette files are read as indices, files whose zero is white are inverted.
    data
        What its numbers mean: ``annotation``, ``background``, ``ignore``, ``threshold``, ``class_values``,
        ``split_labels``.

    Returns
    -------
    np.ndarray
        Array (y, x), int32: an object's number, a class index, or 0 and 1; and ``data.ignored``.

    Raises
    ------
    UserError
        As for `read_values` and `interpreted`.
    """
    path = Path(path)
    return interpreted(read_values(path, lossy=data.threshold is not None), data, path)


def read_values(path: Path, *, lossy: bool = False) -> np.ndarray:
    """The numbers of a mask as they are stored, palettes not resolved, axes of length one left away.

    Parameters
    ----------
    path
        The file.
    lossy
        Whether a JPEG is read too, as where a threshold is applied.

    Returns
    -------
    np.ndarray
        Array (y, x), bool, integer, or float; colours (y, x, 3) where red, green and blue differ.

    Raises
    ------
    UserError
        The file is missing, damaged, a JPEG, a stack, or of another kind.
    """
    check_exists(path)
    if path.suffix.lower() in (".jpg", ".jpeg") and not lossy:
        raise UserError(
            f"{path} is a JPEG, which changes the values of a mask: save it as PNG or TIFF, or, where it is black and "
            "white, name the grey value between the two with --threshold (data.threshold)."
        )
    values = _stored(path)
    if values.ndim == 3 and values.shape[2] in (2, 4) and (values[..., -1] == values[..., -1].max()).all():
        values = values[..., :-1]
    if values.ndim == 3 and values.shape[2] <= 4 and (values == values[..., :1]).all():
        values = values[..., 0]
    if values.ndim != 2 and not (values.ndim == 3 and values.shape[2] == 3):
        raise UserError(f"{path} is a stack ({' x '.join(map(str, values.shape))}): save its planes as single masks.")
    if values.dtype.kind not in "biuf":
        raise UserError(f"{path} has values of type {values.dtype}: save it as a label image.")
    return values


def interpreted(values: np.ndarray, data: DataConfig, path: Path) -> np.ndarray:
    """What stored values mean.

    Parameters
    ----------
    values
        As `read_values` gives them.
    data
        See `read_mask`.
    path
        The file, for messages.

    Returns
    -------
    np.ndarray
        See `read_mask`.

    Raises
    ------
    UserError
        There are colours or values that ``data`` does not explain, or float values that are no whole numbers.
    """
    if values.ndim == 3:
        return _classes_of_colours(values, data, path)
    if data.threshold is None:
        values = whole_numbers(values, path)
    ignored = np.zeros(values.shape, bool) if data.ignore is None else values == data.ignore
    if data.annotation == "binary":
        inside = values != data.background if data.threshold is None else values > data.threshold
        mask = inside.astype(np.int32)
    elif data.annotation == "classes":
        mask = _class_indices(values, ignored, data, path)
    else:
        mask = _labels(values, ignored, data, path)
    if data.ignored is not None:
        mask[ignored] = data.ignored
    return mask


def whole_numbers(values: np.ndarray, path: Path) -> np.ndarray:
    """Float values as integers.

    Raises
    ------
    UserError
        Some are no whole numbers.
    """
    if values.dtype.kind != "f":
        return values
    broken = ~(np.isfinite(values) & (values == np.rint(values)))
    if broken.any():
        example = values[broken][0]
        raise UserError(
            f"{path} is a float mask with {broken.sum()} values that are no whole numbers, such as {example:.6g}: save "
            "it as a label image, or, where it holds probabilities, name the value from which on a pixel is foreground "
            "with --threshold (data.threshold)."
        )
    return values.astype(np.int64)


def colours_of(values: np.ndarray) -> dict[str, int]:
    """How many pixels have which colour, ``#RRGGBB``, the most frequent first.

    Parameters
    ----------
    values
        Colours (y, x, 3); those of 16 bits are told by their upper 8.
    """
    packed, counts = np.unique(_packed(values), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {f"#{packed[place]:06X}": int(counts[place]) for place in order}


def refuse_colours(path: Path, colours: Sequence[str]) -> UserError:
    """What to say of a mask in colours that nothing explains."""
    if len(colours) > _MOST_COLOURS:
        return UserError(
            f"{path} has {len(colours)} colours, as a photograph: a mask needs one number or colour per class or "
            "object; were images and masks swapped?"
        )
    options = " ".join(f"--class NAME={colour}" for colour in colours)
    return UserError(
        f"{path} is a colour picture: say which class each colour means, the background first, with {options} "
        "(data.classes and data.class_values)."
    )


def _stored(path: Path) -> np.ndarray:
    with decoding(path):
        if path.suffix.lower() in TIFF_SUFFIXES:
            with tifffile.TiffFile(path) as file:
                series = file.series[0]
                check_complete(path, series, file.filehandle.size)
                stored = series.asarray()
                stored = stored.reshape(squeezed(series.axes, stored.shape)[1])
                if stored.ndim == 3 and "S" in series.axes and stored.shape[0] <= 4:
                    stored = np.moveaxis(stored, 0, -1)
                return turned(black_is_zero(stored, series.keyframe), page_orientation(series.keyframe))
        if path.suffix.lower() not in PICTURE_SUFFIXES:
            raise UserError(f"{path} is not a mask that can be read: save it as TIFF or PNG.")
        if is_16_bit_png(path):
            return imagecodecs.png_decode(path.read_bytes())
        with open_picture(path) as image:
            return turned(np.asarray(image), int(image.getexif().get(ORIENTATION, 1)))


def _labels(values: np.ndarray, ignored: np.ndarray, data: DataConfig, path: Path) -> np.ndarray:
    if values.dtype == bool:
        values = values.astype(np.uint8)
    low, high = int(values.min()), int(values.max())
    if low >= 0 and high <= np.iinfo(np.int32).max and not data.background and not data.split_labels:
        return values.astype(np.int32)
    outside = ignored | (values == data.background)
    if data.background >= 0:
        outside |= values == 0  # where nothing was drawn, such as the lines between basins of a watershed
    if not outside.all() and values[~outside].min() < 0:
        least = int(values[~outside].min())
        raise UserError(
            f"{path} has negative values (down to {least}): name one that means background with --background, one that "
            "means not annotated with --ignore (data.background, data.ignore), or save it without."
        )
    if data.split_labels:
        from skimage.measure import label

        labels = np.asarray(
            label(np.where(outside, low - 1, values.astype(np.int64)), background=low - 1, connectivity=2), np.int32
        )
    else:
        present = np.unique(values[~outside])
        labels = np.zeros(values.shape, np.int32)
        numbers = np.arange(1, len(present) + 1) if high > np.iinfo(np.int32).max else present
        if 0 in present:
            numbers = np.where(present == 0, high + 1, numbers)
        if len(present):
            labels[~outside] = numbers[np.searchsorted(present, values[~outside])]
    if data.ignored is not None and data.ignored > 0:
        labels[labels >= data.ignored] += 1
    return labels


def _class_indices(values: np.ndarray, ignored: np.ndarray, data: DataConfig, path: Path) -> np.ndarray:
    if not data.class_values:
        return values.astype(np.int32)
    known = np.array([value for value in data.class_values if isinstance(value, int)], np.int64)
    if len(known) < len(data.class_values):
        raise UserError(
            f"{path} has one number per pixel, but data.class_values names colours: name its values with --class "
            "NAME=VALUE (data.class_values)."
        )
    order = np.argsort(known)
    places = np.searchsorted(known[order], values).clip(max=len(known) - 1)
    mask = order[places].astype(np.int32)
    strange = (known[mask] != values) & ~ignored
    if strange.any():
        value = values[strange][0]
        raise UserError(
            f"{path} has the value {value} on {strange.sum()} pixels, which no class has: name it with --class "
            f"NAME={value} (data.classes and data.class_values), or leave it out with --ignore {value} (data.ignore)."
        )
    return mask


def _classes_of_colours(values: np.ndarray, data: DataConfig, path: Path) -> np.ndarray:
    known = [value for value in data.class_values if isinstance(value, str)]
    if not known or data.annotation != "classes" or len(known) < len(data.class_values):
        raise refuse_colours(path, list(colours_of(values)))
    packed = _packed(values)
    mask = np.full(packed.shape, -1, np.int32)
    for index, colour in enumerate(known):
        mask[packed == int(colour[1:], 16)] = index
    if (mask < 0).any():
        counted = colours_of(values)
        strange = next(colour for colour in counted if int(colour[1:], 16) in packed[mask < 0])
        raise UserError(
            f"{path} has the colour {strange} on {counted[strange]} pixels, which no class has: name it with --class "
            f"NAME={strange} (data.classes and data.class_values), or save the mask without smoothed edges."
        )
    return mask


def _packed(values: np.ndarray) -> np.ndarray:
    parts = (values >> 8 * (values.dtype.itemsize - 1) if values.dtype.kind in "iu" else values).astype(np.int64)
    return parts[..., 0] << 16 | parts[..., 1] << 8 | parts[..., 2]


def connected_parts(inside: np.ndarray) -> np.ndarray:
    """The parts of a mask that are connected by their sides, int32 (y, x), numbered from 1.

    Parameters
    ----------
    inside
        Bool (y, x).
    """
    return np.asarray(cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)[1], np.int32)
