"""Official weights of Omnipose, into the network of this zoo."""

from __future__ import annotations

import os

import keras

from kerazoo.models.cellpose.checkpoint import load_official
from kerazoo.models.cellpose.network import cellpose
from kerazoo.models.omnipose.network import omnipose


def load_omnipose(path: str | os.PathLike[str]) -> tuple[keras.Model, dict[str, float]]:
    """A network of Omnipose with the weights of an official file.

    A file does not say whether Cellpose or Omnipose has made it; with three outputs it could be either.

    Parameters
    ----------
    path
        File of a model of Omnipose (PyTorch).

    Returns
    -------
    keras.Model
        See `kerazoo.models.omnipose.network.omnipose`; channels and outputs are those of the file.
    dict
        As for `kerazoo.models.cellpose.checkpoint.load_cellpose`.

    Raises
    ------
    UserError
        The file cannot be read, or is of another network: the message says what does not fit.
    """
    return load_official(path, {3: omnipose, 4: omnipose})


def load_by_outputs(path: str | os.PathLike[str]) -> tuple[keras.Model, dict[str, float]]:
    """A network of Cellpose, or of Omnipose where there are four outputs; else as `load_omnipose`."""
    return load_official(path, {3: cellpose, 4: omnipose})
