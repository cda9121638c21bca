"""What is written of the objects of label images beside these: a table for all images, and files for ImageJ and QuPath.

`objects.csv` has one row per object: `image`, `plane` (0 for a single one), `label`, then what scikit-image's
`regionprops_table` measures, under its names: areas and lengths in pixels, and with `_um` or `_um2` in micrometres
where the image file states the size of a pixel; `centroid_y`, `centroid_x`; whether the object touches the border of
the image; and the intensities of every channel.
"""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from skimage.measure import regionprops_table

from bmzpack.errors import UserError
from bmzpack.files import new_file
from kerazoo.files.annotations.geojson import features_of, write_geojson
from kerazoo.files.annotations.imagej import rois_of, write_rois
from kerazoo.files.annotations.outlines import outlines
from kerazoo.files.read import Stack
from kerazoo.inference.overlay import overlay

TABLE = "objects.csv"
_LENGTHS = ("axis_major_length", "axis_minor_length", "equivalent_diameter_area", "perimeter")
_SHAPES = ("label", "area", "centroid", *_LENGTHS, "eccentricity", "orientation")
_INTENSITIES = ("intensity_mean", "intensity_min", "intensity_max")


class ObjectTable:
    """The table of all objects, written row by row.

    Parameters
    ----------
    path
        A new file.
    channels
        Names of the images' channels.
    files
        Closes the file.
    """

    def __init__(self, path: Path, channels: Sequence[str], files: contextlib.ExitStack) -> None:
        self._channels = channels
        self._rows = csv.writer(files.enter_context(path.open("w", newline="", encoding="utf-8")))
        measured = ["label", "area", "area_um2", "centroid_y", "centroid_x", "centroid_y_um", "centroid_x_um"]
        measured += [name + unit for name in _LENGTHS for unit in ("", "_um")]
        measured += ["eccentricity", "orientation", "touches_border"]
        measured += [f"{name}_{channel}" for channel in channels for name in _INTENSITIES]
        self._rows.writerow(["image", "plane", *measured])

    def add(
        self, image: str, plane: int, pixels: np.ndarray, labels: np.ndarray, pixel_size: Any
    ) -> dict[str, np.ndarray]:
        """Write the objects of a plane.

        Parameters
        ----------
        image, plane
            Name and number.
        pixels
            (y, x, channel).
        labels
            Label image, int (y, x).
        pixel_size
            (y, x) in micrometres, or None.

        Returns
        -------
        dict
            The columns of `skimage.measure.regionprops_table`.
        """
        found = regionprops_table(labels, pixels, properties=(*_SHAPES, *_INTENSITIES))
        border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
        touches = np.isin(found["label"], border)
        microns = _in_micrometres(found, labels, pixel_size)
        columns: list[Any] = [found["label"], found["area"], microns["area"], found["centroid-0"], found["centroid-1"]]
        columns += [microns["centroid-0"], microns["centroid-1"]]
        columns += [values[name] for name in _LENGTHS for values in (found, microns)]
        columns += [found["eccentricity"], found["orientation"], touches.astype(int)]
        several = pixels.shape[2] > 1
        for channel in range(len(self._channels)):
            there = channel < pixels.shape[2]
            ending = f"-{channel}" if several or f"{_INTENSITIES[0]}-0" in found else ""
            columns += [found[name + ending] if there else [""] * len(touches) for name in _INTENSITIES]
        for row in zip(*columns, strict=True):
            self._rows.writerow([image, plane, *(_text(value) for value in row)])
        return found


class ObjectFiles:
    """ROIs, GeoJSON and overlay of one image.

    Parameters
    ----------
    rois, geojson, picture
        The files to write, where they are wanted.
    overwrite
        Whether existing files may be replaced.
    """

    def __init__(self, rois: Path | None, geojson: Path | None, picture: Path | None, overwrite: bool) -> None:
        self._paths, self._overwrite = (rois, geojson, picture), overwrite
        self._rois: list[Any] = []
        self._features: list[dict[str, Any]] = []
        self._picture: np.ndarray | None = None

    def add(self, stack: Stack, plane: int, pixels: np.ndarray, labels: np.ndarray) -> None:
        """Take the objects of a plane, ``labels`` (y, x), of an image ``pixels`` (y, x, channel)."""
        rois, geojson, picture = self._paths
        objects = outlines(labels) if rois is not None or geojson is not None else {}
        if rois is not None:
            self._rois += rois_of(objects, plane + 1 if stack.leading_shape else 0)
        if geojson is not None:
            features = features_of(objects)
            for feature in features if stack.leading_shape else ():
                feature["geometry"]["plane"] = {"c": -1, **_position(stack, plane)}
            self._features += features
        if picture is not None:
            self._picture = overlay(pixels, labels)

    def write(self) -> None:
        """Write all."""
        rois, geojson, picture = self._paths
        if rois is not None:
            with new_file(rois, self._overwrite) as path:
                write_rois(path, self._rois)
        if geojson is not None:
            with new_file(geojson, self._overwrite) as path:
                write_geojson(path, self._features)
        if picture is not None and self._picture is not None:
            with new_file(picture, self._overwrite) as path:
                PIL.Image.fromarray(self._picture).save(path, compress_level=1)


def check_overlay(stacks: Sequence[Stack]) -> None:
    """Refuse stacks, of which there is no single picture.

    Raises
    ------
    UserError
        One of the images has several planes.
    """
    for stack in stacks:
        if stack.leading_shape:
            raise UserError(f"{stack.path} has several planes, but --overlay is for single ones: leave it out.")


def _position(stack: Stack, plane: int) -> dict[str, int]:
    """Where a plane lies, as QuPath counts: slice and time from 0 on."""
    place = dict(zip(stack.axes[:-3], np.unravel_index(plane, stack.leading_shape), strict=True))
    return {"z": int(place.get("Z", 0)), "t": int(place.get("T", 0))}


def _in_micrometres(found: dict[str, np.ndarray], labels: np.ndarray, size: Any) -> dict[str, Any]:
    count = len(found["label"])
    if size is None:
        return dict.fromkeys(("area", "centroid-0", "centroid-1", *_LENGTHS), [""] * count)
    if np.isclose(size[0], size[1]):
        lengths = {name: found[name] * size[0] for name in ("centroid-0", "centroid-1", *_LENGTHS)}
        return lengths | {"area": found["area"] * size[0] * size[1]}
    names = ("area", "centroid", *(name for name in _LENGTHS if name != "perimeter"))
    return regionprops_table(labels, properties=names, spacing=size) | {"perimeter": [""] * count}


def _text(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else value
