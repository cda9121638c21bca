"""What the values of a class map mean: a colour and a name each, within the TIFF file and in a table beside it."""

from __future__ import annotations

import colorsys
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmzpack.files import cell, new_file

LEGEND = "classes.csv"
CLASS_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442")
"""Those of Okabe and Ito (2008), which colour-blind people tell apart."""
_ENTRIES = 256
"""Entries of a lookup table of ImageJ."""


def class_colours(count: int) -> list[str]:
    """A colour for each of so many classes, as ``#RRGGBB``."""
    if count <= len(CLASS_COLOURS):
        return list(CLASS_COLOURS[:count])
    colours = (colorsys.hsv_to_rgb(number / count, 0.85, 0.95) for number in range(count))
    return ["#" + "".join(f"{round(255 * part):02X}" for part in colour) for colour in colours]


def lookup_table(count: int) -> np.ndarray:
    """The colours as ImageJ shows a map with them, if the display range is from the first to the last class.

    Parameters
    ----------
    count
        Classes, 0 to count - 1.

    Returns
    -------
    numpy.ndarray
        Red, green and blue, uint16 (3, 256), as the colour map of a TIFF file has them.
    """
    colours = np.array([list(bytes.fromhex(colour[1:])) for colour in class_colours(count)], np.uint16)
    nearest = np.rint(np.arange(_ENTRIES) * count / _ENTRIES).astype(int).clip(max=count - 1)
    return colours[nearest].T * np.uint16(257)


def image_info(classes: Sequence[str]) -> dict[str, Any]:
    """What an ImageJ TIFF says of a class map: the display range, and the names under *Image > Show Info*."""
    lines = [f"{value}: {name}" for value, name in enumerate(classes)]
    return {"min": 0.0, "max": len(classes) - 1.0, "Info": "\n".join(["Values of the classes:", *lines])}


def write_legend(path: Path, classes: Sequence[str], overwrite: bool = False) -> None:
    """Write the table: value, class and colour.

    Parameters
    ----------
    path
        The CSV file.
    classes
        Names, in the order of their values from 0 on.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    UserError
        The file exists, or cannot be written.
    """
    with new_file(path, overwrite) as new, new.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["value", "class", "colour"])
        rows.writerows(zip(range(len(classes)), map(cell, classes), class_colours(len(classes)), strict=True))
