"""The network of Omnipose (Cutler et al. 2022): that of Cellpose with reflected edges and other outputs."""

from __future__ import annotations

import os

import keras

from kerazoo.models.cellpose.network import residual_style_network


def omnipose(
    input_shape: tuple[int | None, int | None, int] = (None, None, 2),
    outputs: int = 4,
    style: bool = True,
    weights: str | os.PathLike[str] | None = None,
) -> keras.Model:
    """The network of Omnipose.

    Parameters
    ----------
    input_shape
        (y, x, channel); y and x are multiples of 8, and at least 16, as the edge is reflected at every resolution.
    outputs
        Output channels: 4, or 3 without the boundary.
    style
        Whether the style vector is added on the way up, see `kerazoo.models.cellpose.network.cellpose`.
    weights
        A weights file (see `kerazoo.models.weights`), or None: random.

    Returns
    -------
    keras.Model
        From `raw` (batch, y, x, channel) to `flows` (batch, y, x, output), float32: the vertical and the horizontal
        flow, the distance field, and the logit of the boundary. 6,600,876 trainable parameters at two channels and
        four outputs, and 9,544 statistics of batch normalisation.

    Raises
    ------
    UserError
        An argument is out of range, or the weights do not fit.

    Notes
    -----
    Cutler et al. (2022), Omnipose: a high-precision morphology-independent solution for bacterial cell segmentation.
    """
    return residual_style_network(input_shape, outputs, "reflect", style, weights, name="omnipose")
