"""LabelMe: one JSON file of shapes beside every image."""

from __future__ import annotations

import base64
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from bmzpack.errors import UserError
from kerazoo.files.annotations.regions import Region, ellipse


def is_labelme(content: Any) -> bool:
    """Whether a JSON file is of this kind."""
    return isinstance(content, dict) and "shapes" in content


def read_labelme(content: dict[str, Any], path: Path) -> list[Region]:
    """The objects; shapes of one label with the same `group_id` are one object.

    Parameters
    ----------
    content
        The file.
    path
        The file, for messages.

    Raises
    ------
    UserError
        A shape is no area, such as a point or a line.
    """
    groups: dict[Any, list[Region]] = {}
    for number, shape in enumerate(content["shapes"]):
        group = shape.get("group_id")
        key = number if group is None else (shape["label"], group)
        groups.setdefault(key, []).append(_region(shape, path))
    return [_joined(regions) for regions in groups.values()]


def _region(shape: dict[str, Any], path: Path) -> Region:
    kind, points, category = shape.get("shape_type") or "polygon", np.array(shape["points"], float), shape.get("label")
    if kind == "mask":
        with PIL.Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as picture:
            pixels = np.asarray(picture) > 0
        x, y = np.rint(points[0]).astype(int).tolist()
        return Region(pictures=[(pixels, (y, x))], category=category)
    if kind == "rectangle":
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    elif kind == "circle":
        points = ellipse(points[0], np.hypot(*(points[1] - points[0])))
    elif kind not in ("polygon", "oriented_rectangle"):
        raise UserError(f"{path} has a shape that is a {kind}, not an area: draw it as a polygon, or remove it.")
    return Region([[points]], category=category)


def _joined(regions: list[Region]) -> Region:
    """One object of several shapes."""
    return dataclasses.replace(
        regions[0],
        parts=[part for region in regions for part in region.parts],
        pictures=[picture for region in regions for picture in region.pictures],
    )
