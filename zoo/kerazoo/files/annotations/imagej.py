"""ROIs of ImageJ: `.roi` files, and `.zip` files of the ROI Manager."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import roifile

from bmzpack.errors import UserError
from kerazoo.files.annotations.outlines import Outlines
from kerazoo.files.annotations.regions import Region, ellipse
from kerazoo.files.pictures import decoding

_MOST_BYTES = 64 * 2**20
"""Largest unpacked ROI: no outline has more."""
_AREAS = {
    *(roifile.ROI_TYPE.POLYGON, roifile.ROI_TYPE.FREEHAND, roifile.ROI_TYPE.TRACED),
    *(roifile.ROI_TYPE.RECT, roifile.ROI_TYPE.OVAL),
}


def read_rois(path: Path) -> list[Region]:
    """The areas of a ROI file; their class is that of their group, none of it is read.

    Parameters
    ----------
    path
        A `.roi` or `.zip` file.

    Raises
    ------
    UserError
        The file is damaged, holds no ROI, or one that is no area, such as a point or a line.
    """
    with decoding(path):
        if path.suffix.lower() == ".roi":
            contents = {path.name: path.read_bytes()}
        else:
            with zipfile.ZipFile(path) as archive:
                entries = [entry for entry in archive.infolist() if _is_roi(entry.filename)]
                if any(entry.file_size > _MOST_BYTES for entry in entries):
                    raise UserError(f"{path} holds a ROI of more than {_MOST_BYTES >> 20} MB: save it again.")
                contents = {entry.filename: archive.read(entry) for entry in entries}
        if not contents:
            raise UserError(
                f"{path} holds no ROIs (files ending in .roi): save it with More > Save in the ROI Manager."
            )
        return [_region(roifile.ImagejRoi.frombytes(content), path, name) for name, content in contents.items()]


def rois_of(objects: Outlines, position: int = 0) -> list[roifile.ImagejRoi]:
    """The ROIs of the objects of a label image, named after the labels.

    Parameters
    ----------
    objects
        Their outlines.
    position
        The plane of a stack, counted from 1; 0: all.
    """
    rois = []
    for label, parts in objects.items():
        name = f"{label:04d}" if not position else f"{position:04d}-{label:04d}"
        rings = [ring for part in parts for ring in part]
        roi = _traced(rings[0]) if len(rings) == 1 and np.abs(rings[0]).max() < 32767 else _composite(rings)
        roi.name, roi.position = name, position
        rois.append(roi)
    return rois


def write_rois(path: Path, rois: Sequence[roifile.ImagejRoi]) -> None:
    """Write a file for the ROI Manager; ``path`` is new."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for roi in rois:
            archive.writestr(f"{roi.name}.roi", roi.tobytes())


def _is_roi(name: str) -> bool:
    return name.lower().endswith(".roi") and not name.startswith("__MACOSX")


def _region(roi: roifile.ImagejRoi, path: Path, name: str) -> Region:
    if roi.multi_coordinates is not None:
        rings = roi.coordinates(multi=True)
        return Region([[np.asarray(ring, float) for ring in rings]])
    if roi.roitype not in _AREAS:
        raise UserError(
            f"{path}: {name} is a {roi.roitype.name.lower()}, not an area: outline the object, or remove it from the "
            "ROI Manager."
        )
    if roi.roitype == roifile.ROI_TYPE.OVAL:
        x, y, width, height = _bounds(roi)
        radii = np.array([width, height]) / 2
        return Region([[ellipse(np.array([x, y]) + radii, radii)]])
    if roi.roitype == roifile.ROI_TYPE.RECT:
        x, y, width, height = _bounds(roi)
        return Region([[np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], float)]])
    return Region([[np.asarray(roi.coordinates(), float)]])


def _bounds(roi: roifile.ImagejRoi) -> tuple[float, float, float, float]:
    if roi.subpixelrect:
        return roi.xd, roi.yd, roi.widthd, roi.heightd
    return roi.left, roi.top, roi.right - roi.left, roi.bottom - roi.top


def _frame(corners: np.ndarray) -> dict[str, Any]:
    """The fields of a ROI that hold the rectangle around corners (corner, 2)."""
    (left, top), (right, bottom) = corners.min(axis=0).astype(int).tolist(), corners.max(axis=0).astype(int).tolist()
    return {"left": left, "top": top, "right": right, "bottom": bottom}


def _traced(ring: np.ndarray) -> roifile.ImagejRoi:
    return roifile.ImagejRoi(
        roitype=roifile.ROI_TYPE.TRACED,
        **_frame(ring),
        n_coordinates=len(ring),
        integer_coordinates=(ring - ring.min(axis=0)).astype(np.int32),
    )


def _composite(rings: Sequence[np.ndarray]) -> roifile.ImagejRoi:
    path: list[float] = []
    for ring in rings:
        path += [0, *ring[0]]
        for corner in ring[1:]:
            path += [1, *corner]
        path += [4]
    return roifile.ImagejRoi(
        roitype=roifile.ROI_TYPE.RECT,
        **_frame(np.concatenate(rings)),
        shape_roi_size=len(path),
        multi_coordinates=np.array(path, np.float32),
    )
