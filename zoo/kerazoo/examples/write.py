"""Made pictures, written as the files of a data set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import tifffile

from bmzpack.errors import UserError

PIXEL_SIZE = 0.65
"""Micrometres per pixel, written into TIFF files: a 10x objective on a usual camera."""


def picture_seed(seed: int, number: int) -> int:
    """The seed of one picture of a set."""
    return int(np.random.default_rng((seed, number)).integers(1 << 31))


def write_pairs(folder: str | Path, name: str, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
    """Write images and their masks into the folders `images` and `masks`, as `write_pictures` does.

    Parameters
    ----------
    folder
        Holds the two folders.
    name
        What a pair's files are called, with a place for its number, as `str.format` takes it.
    pairs
        Image and mask.
    """
    for number, pair in enumerate(pairs):
        file = name.format(number)
        write_pictures(folder, zip((f"images/{file}", f"masks/{file}"), pair, strict=True))


def write_pictures(folder: str | Path, pictures: Iterable[tuple[str, np.ndarray]]) -> None:
    """Write pictures into a folder.

    Parameters
    ----------
    folder
        Is made where it is missing, and so are the folders in it that the names contain.
    pictures
        Names below the folder, ending in .tif or .png, and arrays uint8 or uint16 (y, x), or red, green and blue
        uint8 (y, x, 3) for PNG; files of these names are replaced.

    Raises
    ------
    UserError
        The folder cannot be written.
    """
    try:
        for name, picture in pictures:
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".tif":
                resolution = (1 / PIXEL_SIZE, 1 / PIXEL_SIZE)
                metadata = {"axes": "YX", "unit": "um"}
                tifffile.imwrite(path, picture, imagej=True, resolution=resolution, metadata=metadata)
            else:
                # OpenCV has the order blue, green, red.
                content = cv2.imencode(".png", picture[..., ::-1] if picture.ndim == 3 else picture)[1]
                path.write_bytes(content.tobytes())
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): choose another folder.") from error
