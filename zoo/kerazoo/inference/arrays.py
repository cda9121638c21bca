"""Applying trained networks to arrays."""

from __future__ import annotations

import os

import numpy as np

from bmzpack.errors import UserError
from kerazoo.inference.load import load_predictor
from kerazoo.runs.run import Run


def load(
    source: Run | str | os.PathLike[str], *, diameter: float | None = None, tile: int | None = None
) -> LoadedModel:
    """Load what is to be applied to arrays.

    Parameters
    ----------
    source
        A run, its folder, a bundle, or `classical2d`.
    diameter
        Median diameter in pixels of the objects, for networks to which images are rescaled; by default as on the
        training images.
    tile
        Largest side of the tiles in pixels; by default as large as the memory allows.

    Returns
    -------
    LoadedModel
        ``load(source).predict(array)`` gives labels or classes.

    Raises
    ------
    UserError
        There is no such run or bundle, or the diameter is not one that it takes.

    Examples
    --------
    >>> labels = kerazoo.load("runs/nuclei").predict(image)  # doctest: +SKIP
    """
    return LoadedModel(source, diameter, tile)


class LoadedModel:
    """A trained network, or what needs no training, for arrays; see `load`."""

    def __init__(self, source: Run | str | os.PathLike[str], diameter: float | None, tile: int | None) -> None:
        self._predictor = load_predictor(source, diameter=diameter, tile=tile)
        self.classes: list[str] = list(self._predictor.recipe.classes)
        """Names of the classes, or of what the network gives for objects."""

    @property
    def channels(self) -> int | None:
        """Channels of the images; None where any number will do."""
        return self._predictor.channels

    def predict(self, image: np.ndarray, axes: str | None = None) -> np.ndarray:
        """Predict an image.

        Parameters
        ----------
        image
            Any integer or float dtype, values as in the file: they are normalised here.
        axes
            One letter for every axis: Y, X, C for channels, and Z, T for planes, which are predicted one by one. By
            default YX, or YXC where there are three axes and the last has as many entries as the network takes
            channels.

        Returns
        -------
        numpy.ndarray
            Int32, Y and X last, after the axes of the planes: labels from 1 on, each plane with its own; class indices;
            of a classifier, those of patches side by side.

        Raises
        ------
        UserError
            The axes do not fit the array, or it has another number of channels, or NaN.
        """
        image = np.asarray(image)
        axes = self._axes(image, axes)
        order = [place for place, axis in enumerate(axes) if axis in "TZ"]
        leading = [image.shape[place] for place in order]
        stack = image.transpose(*order, *(axes.index(axis) for axis in "YXC" if axis in axes))
        if "C" not in axes:
            stack = stack[..., None]
        if self.channels not in (None, stack.shape[-1]):
            raise UserError(
                f"The array has {stack.shape[-1]} channels, the network takes {self.channels}: pick them, or name the "
                f"axes of {' x '.join(map(str, image.shape))}, such as axes='ZYX'."
            )
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            raise UserError("The array has NaN or infinite values: replace them, such as with numpy.nan_to_num.")
        if image.dtype.kind not in "biuf":
            raise UserError(f"The array has values of type {image.dtype}: give integers or floats.")
        self._predictor.check(stack.shape[-3:])
        planes = stack.reshape(-1, *stack.shape[-3:])
        results = [self._predictor.result(plane.astype(np.uint8) if plane.dtype == bool else plane) for plane in planes]
        return np.stack(results).reshape(*leading, *results[0].shape).astype(np.int32)

    def _axes(self, image: np.ndarray, axes: str | None) -> str:
        if axes is None:
            if image.ndim == 2:
                return "YX"
            if image.ndim == 3 and (image.shape[2] == self.channels or (self.channels is None and image.shape[2] <= 4)):
                return "YXC"
            raise UserError(
                f"An array of {' x '.join(map(str, image.shape))} may have its axes in several orders: say which, "
                "such as axes='ZYX' or axes='CYX'."
            )
        axes = axes.upper()
        if set(axes) - set("TZCYX") or not {"Y", "X"} <= set(axes) or len(set(axes)) < len(axes):
            raise UserError(f"The axes {axes!r} are not understood: use Y, X and each of T, Z, C at most once.")
        if len(axes) != image.ndim:
            raise UserError(f"The array has {image.ndim} axes, but {axes!r} names {len(axes)}: correct one of them.")
        return axes
