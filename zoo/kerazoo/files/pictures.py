"""PNG, JPEG and BMP files, read with Pillow or imagecodecs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import PIL.ImageMode

from bmzpack.errors import UserError
from kerazoo.files.appearance import ORIENTATION, is_on_its_side, turned


def picture_header(path: Path) -> tuple[tuple[int, int, int], np.dtype[Any]]:
    """Shape (y, x, sample) and type of what `read_picture` gives, without decoding it."""
    with decoding(path), open_picture(path) as image:
        mode = PIL.ImageMode.getmode(_resolved_mode(image))
        dtype = np.dtype(np.uint16 if is_16_bit_png(path) else mode.typestr)
        height, width = image.height, image.width
        if is_on_its_side(_orientation(image)):
            height, width = width, height
        return (height, width, len(mode.bands)), dtype


@contextlib.contextmanager
def open_picture(path: Path) -> Iterator[PIL.Image.Image]:
    """Open a picture of any size: slides are larger than what Pillow takes for an attack."""
    limit = PIL.Image.MAX_IMAGE_PIXELS
    PIL.Image.MAX_IMAGE_PIXELS = None
    try:
        with PIL.Image.open(path) as image:
            yield image
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = limit


def _resolved_mode(image: PIL.Image.Image) -> str:
    """The mode of a picture once its palette, if it has one, is resolved to colours."""
    if image.mode not in ("P", "PA", "CMYK", "YCbCr"):
        return image.mode
    return "RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB"


def read_picture(path: Path) -> np.ndarray:
    """A picture as (y, x, sample), as viewers show it: palettes resolved to colours, turned by its Exif orientation."""
    with decoding(path), open_picture(path) as image:
        if is_16_bit_png(path):
            picture = imagecodecs.png_decode(path.read_bytes())
        else:
            picture = np.asarray(image.convert(_resolved_mode(image)))
        if picture.dtype == bool:
            picture = picture.astype(np.uint8)
        return turned(picture if picture.ndim == 3 else picture[..., None], _orientation(image))


def _orientation(image: PIL.Image.Image) -> int:
    return int(image.getexif().get(ORIENTATION, 1))


def is_16_bit_png(path: Path) -> bool:
    """Whether a PNG has 16 bits per sample, which Pillow reduces to 8 in colour pictures."""
    if path.suffix.lower() != ".png":
        return False
    with path.open("rb") as file:
        header = file.read(26)
    return header[12:16] == b"IHDR" and header[24] == 16


@contextlib.contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises into a sentence; tifffile's own log lines are kept back."""
    logger = logging.getLogger("tifffile")
    disabled, logger.disabled = logger.disabled, True
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{path} is damaged, truncated or not what its name says ({type(error).__name__}: {error}): "
            "copy or export it again."
        ) from error
    finally:
        logger.disabled = disabled
