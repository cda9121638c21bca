"""Test tensors and pictures of a bundle, opened without trusting them."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 2**28
"""A picture with more is not opened."""


@contextlib.contextmanager
def opened_picture(path: Path) -> Iterator[Image.Image | None]:
    """A picture of the kinds that bundles have, of which nothing but the header is read; None where it is none."""
    from PIL import Image

    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        # the size is compared with a limit of its own before any pixel is read
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            picture = stack.enter_context(Image.open(path, formats=("BMP", "GIF", "JPEG", "PNG", "TIFF")))
        except (OSError, ValueError, SyntaxError, TypeError, OverflowError, Image.DecompressionBombError):
            picture = None
        # Pillow's own limit may be switched off in this process
        yield picture if picture is None or picture.width * picture.height <= MOST_PIXELS else None


def load_array(path: Path) -> np.ndarray | str:
    """A ``.npy`` file, without pickles; or why it cannot be read. Large ones stay on disk."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy takes a stranger's header for Python
        return " ".join(str(error).split())[:200] or "it is no .npy file"
    if not isinstance(array, np.ndarray):
        return "it is no .npy file"
    return array
