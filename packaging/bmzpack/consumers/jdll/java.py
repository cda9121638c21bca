"""Arithmetic and hash maps of Java, on which the choices of JDLL depend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

LARGEST_INT = 2**31 - 1


def string_hash(text: str) -> int:
    """`String.hashCode` as an unsigned number of 32 bits."""
    found = 0
    units = text.encode("utf-16-be", "surrogatepass")
    for n in range(0, len(units), 2):
        found = (31 * found + int.from_bytes(units[n : n + 2])) & 0xFFFFFFFF
    return found


def hash_map_order(keys: Sequence[str]) -> list[str]:
    """The order in which a `java.util.HashMap` gives keys back that were put into it in this order.

    Parameters
    ----------
    keys
        Without repetitions, few enough that no bucket becomes a tree (which takes 8 in one).

    Returns
    -------
    list of str
        By bucket; within a bucket as they were put in.
    """
    size = 16
    while len(keys) > size * 3 // 4:
        size *= 2

    def bucket(key: str) -> int:
        spread = string_hash(key)
        return (spread ^ spread >> 16) & (size - 1)

    return sorted(keys, key=bucket)


def truncated(values: np.ndarray | float, largest: int = LARGEST_INT) -> np.ndarray:
    """Doubles cast to a whole type: towards zero, at most the largest number of that type, NaN to 0."""
    found = np.trunc(np.nan_to_num(np.asarray(values, np.float64), nan=0.0, posinf=float(largest), neginf=-largest - 1))
    return np.clip(found, -float(largest) - 1, float(largest)).astype(np.int64)


def wrapped(values: np.ndarray | int) -> np.ndarray:
    """Whole numbers as an int holds them: those that are too large begin again at the smallest."""
    return (np.asarray(values, np.int64) + LARGEST_INT + 1) % (2 * LARGEST_INT + 2) - LARGEST_INT - 1


def remainder(values: np.ndarray, divisor: int) -> np.ndarray:
    """Java's `%`, which has the sign of what is divided."""
    return np.fmod(values, divisor)


def text_of(value: Any) -> str:
    """A number as Java writes it where it is joined to a text."""
    return repr(value)
