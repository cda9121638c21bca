"""Label images as the targets of single objects are made of: numbered from 1, with a label of ignored pixels."""

from __future__ import annotations

import numpy as np

from bmzpack.errors import UserError

IGNORED_LABEL = 65535
"""Label of pixels that are neither trained nor scored."""


def label_image(mask: np.ndarray, ignored: int | None = None) -> np.ndarray:
    """Objects numbered from 1 in an array that OpenCV resamples.

    Parameters
    ----------
    mask
        Label image (y, x), any integer dtype.
    ignored
        The label that is neither trained nor scored.

    Returns
    -------
    np.ndarray
        uint16 (y, x); 0 is background, 65535 is ignored.

    Raises
    ------
    UserError
        There are more than 65,534 objects.
    """
    values, numbers = np.unique(mask, return_inverse=True)
    objects = (values != 0) & (values != ignored) if ignored is not None else values != 0
    if objects.sum() >= IGNORED_LABEL:
        raise UserError(f"A mask has {objects.sum():,} objects, more than 65,534: cut the image into parts.")
    table = np.zeros(len(values), np.uint16)
    table[objects] = np.arange(1, objects.sum() + 1)
    if ignored is not None:
        table[values == ignored] = IGNORED_LABEL
    return table[numbers].reshape(mask.shape)


def without_ignored(labels: np.ndarray) -> np.ndarray:
    """A label image of `label_image` as int32, ignored pixels as background."""
    return np.where(labels == IGNORED_LABEL, 0, labels).astype(np.int32)
