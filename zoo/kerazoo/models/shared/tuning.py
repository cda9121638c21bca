"""Values of the decoding that several families try on validation images, the default first."""

from __future__ import annotations

THRESHOLDS = (0.5, 0.4, 0.6, 0.3, 0.7, 0.8, 0.9)
"""Thresholds of a probability."""
SIZES = (1 / 32, 0, 1 / 64, 1 / 16, 1 / 8, 1 / 4)
"""Smallest sizes of objects, as parts of the median object's area."""


def minimum_sizes(median_area: float | None) -> dict[str, list[int]]:
    """Smallest sizes of objects in pixels: parts of the median object's area; none where there is no object."""
    return {} if median_area is None else {"minimum_size": [round(part * median_area) for part in SIZES]}
