"""What targets of single objects have in common, see `kerazoo.data.target.Target`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kerazoo.models.shared.label_image import label_image


class ObjectTarget:
    """Keeps the label image of an annotation; one channel of the target is -1 where pixels are ignored.

    Parameters
    ----------
    channels
        Channels of the target.
    ignored_channel
        The channel that is -1 where pixels are neither trained nor scored.
    ignored
        The label of such pixels.
    grid
        As in `kerazoo.data.target.Target`.
    """

    dtype = np.float32

    def __init__(self, channels: int, ignored_channel: int, ignored: int | None, grid: int = 1) -> None:
        self.channels, self.grid = channels, grid
        self._ignored_channel, self._ignored = ignored_channel, ignored

    def of_image(self, mask: np.ndarray) -> np.ndarray:
        return label_image(mask, self._ignored)

    def ignore(self, target: np.ndarray, rows: int, columns: int) -> None:
        target[: rows // self.grid, :, self._ignored_channel] = -1
        target[:, : columns // self.grid, self._ignored_channel] = -1

    def counts(self, kept: Sequence[np.ndarray]) -> np.ndarray:
        return np.zeros(0, np.int64)
