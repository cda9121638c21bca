"""GeoJSON as QuPath exports and imports it: one feature per object, with its class."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bmzpack.errors import UserError
from kerazoo.files.annotations.outlines import Outlines
from kerazoo.files.annotations.regions import Region

_AREAS = ("Polygon", "MultiPolygon", "GeometryCollection")


def read_geojson(content: Any, path: Path) -> list[Region]:
    """The objects of a GeoJSON file.

    Where there are cells or detections, annotations that are no object are the regions in which these were sought, and
    are left out.

    Parameters
    ----------
    content
        A `FeatureCollection`, a list of features, or one feature.
    path
        The file, for messages.

    Raises
    ------
    UserError
        A feature is no area, such as a point or a line, or is not complete.
    """
    features = content.get("features", [content]) if isinstance(content, dict) else content
    kinds = [(feature.get("properties") or {}).get("objectType", "annotation") for feature in features]
    if set(kinds) & {"cell", "detection"}:
        features = [feature for feature, kind in zip(features, kinds, strict=True) if kind in ("cell", "detection")]
    return [_region(feature, path) for feature in features]


def features_of(objects: Outlines) -> list[dict[str, Any]]:
    """The features of the objects of a label image, for QuPath's *File > Import objects from file*.

    Parameters
    ----------
    objects
        Their outlines.
    """
    features = []
    for label, parts in objects.items():
        polygons = [[[*ring.tolist(), ring[0].tolist()] for ring in part] for part in parts]
        kind, coordinates = ("Polygon", polygons[0]) if len(polygons) == 1 else ("MultiPolygon", polygons)
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": kind, "coordinates": coordinates},
                "properties": {"objectType": "detection", "name": str(label)},
            }
        )
    return features


def write_geojson(path: Path, features: Iterable[dict[str, Any]]) -> None:
    """Write a `FeatureCollection`; ``path`` is new."""
    collection = {"type": "FeatureCollection", "features": list(features)}
    path.write_text(json.dumps(collection, separators=(",", ":")), encoding="utf-8")


def _region(feature: dict[str, Any], path: Path) -> Region:
    properties = feature.get("properties") or {}
    category = properties.get("classification")
    name = category.get("name") if isinstance(category, dict) else category
    return Region(_parts(feature.get("geometry", feature), path), category=name)


def _parts(geometry: dict[str, Any], path: Path) -> list[list[np.ndarray]]:
    kind = geometry.get("type")
    if kind not in _AREAS:
        raise UserError(
            f"{path} has an object that is a {kind}, not an area: outline it with the brush or polygon tool, or remove "
            "it."
        )
    if kind == "GeometryCollection":
        return [part for inner in geometry["geometries"] for part in _parts(inner, path)]
    polygons = [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]
    return [[np.array(ring, float)[:-1, :2] for ring in polygon] for polygon in polygons]
