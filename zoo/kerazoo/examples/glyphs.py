"""Digits written by a seed as by a hand: wavering strokes, slanted, turned, thick and thin. For notebooks and tests.

As in LeCun et al. (1989), a character fills 16 x 16 pixels, centred in an image of 28 x 28.
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from kerazoo.examples.write import write_pictures

SIZE = 28
"""Side of the images in pixels."""

_CHARACTER = 16
"""Longer side of the character in pixels."""
_STROKES = (
    ("5090 2180 1250 2320 5010 7720 8850 7980 5090",),
    ("3070 5090 5050 5010", "5091 5010"),
    ("1570 2790 5895 8280 7855 4530 1210 4512 8810",),
    ("1880 4595 8085 8062 4252 8040 8215 4505 1220",),
    ("5892 3060 1235 5035 9035", "6875 6605"),
    ("8090 5091 2590 2260 5063 8250 8322 5506 1515",),
    ("7292 4580 2250 1725 4505 7812 8035 5550 2540",),
    ("1288 5088 8890 6550 4505",),
    ("5092 2180 2962 5450 8030 7310 5005 2510 2030 4650 7562 7882 5092",),
    ("8070 6050 2858 2082 5093 7785 8070 7540 6005",),
)
"""The strokes of every digit: bends, each two percentages, of the width from the left and of the height from below."""


def digits(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw digits, the ten classes equally often.

    Parameters
    ----------
    seed
        The same seed gives the same images.
    count
        How many.

    Returns
    -------
    tuple of np.ndarray
        Images uint8 (count, 28, 28), bright on black, and labels uint8 (count,), 0 to 9, in random order.
    """
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count, dtype=np.uint8) % 10)
    return np.array([_draw(random, label) for label in labels], np.uint8).reshape(-1, SIZE, SIZE), labels


def write_digits(folder: str | Path, count: int = 500, seed: int = 1) -> None:
    """Write a data set of `digits`.

    Parameters
    ----------
    folder
        Gets one folder of PNG files per digit, `0` to `9`; files of the same names are replaced.
    count
        How many in all.
    seed
        Seed of the set; other seeds give other images.

    Raises
    ------
    UserError
        The folder cannot be written.
    """
    written = enumerate(zip(*digits(seed, count), strict=True))
    write_pictures(folder, ((f"{label}/digit_{number:04d}.png", image) for number, (image, label) in written))


def _draw(random: np.random.Generator, digit: int) -> np.ndarray:
    """Drawn sixteen times as large, so that strokes stay smooth when the character is made small."""
    canvas = np.zeros((512, 512), np.uint8)
    turn, slant = math.radians(random.normal(0, 6)), random.uniform(-0.15, 0.45)
    turned = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    shape = turned @ np.array([[random.uniform(0.55, 0.9), slant], [0, 1]])
    thickness = int(random.integers(22, 48))
    for stroke in _STROKES[digit]:
        bends = np.array([(int(bend[:2]), int(bend[2:])) for bend in stroke.split()]) / 100 - 0.5
        path = _rounded(bends + random.normal(0, 0.028, bends.shape)) @ shape.T
        cv2.polylines(canvas, [np.rint(256 + 256 * path * (1, -1)).astype(np.int32)], False, 255, thickness)

    left, top, width, height = cv2.boundingRect(canvas)
    scale = _CHARACTER / max(width, height)
    columns, rows = (max(1, round(extent * scale)) for extent in (width, height))
    character = canvas[top : top + height, left : left + width]
    image = np.zeros((SIZE, SIZE), np.uint8)
    top, left = (SIZE - rows) // 2, (SIZE - columns) // 2
    image[top : top + rows, left : left + columns] = cv2.resize(
        character, (columns, rows), interpolation=cv2.INTER_AREA
    )
    return image


def _rounded(bends: np.ndarray) -> np.ndarray:
    """A smooth path from the first bend to the last: corners are cut again and again (Chaikin 1974)."""
    for _ in range(4):
        cut = np.stack([0.75 * bends[:-1] + 0.25 * bends[1:], 0.25 * bends[:-1] + 0.75 * bends[1:]], axis=1)
        bends = np.concatenate([bends[:1], cut.reshape(-1, 2)[1:-1], bends[-1:]])
    return bends
