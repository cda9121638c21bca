"""Pixel sizes and intervals that TIFF files state, of ImageJ and OME."""

from __future__ import annotations

from typing import Any

import tifffile

_MICROMETRES = {
    **dict.fromkeys(("um", "µm", "μm", "\\u00B5m", "micron", "microns", "micrometer"), 1.0),
    **{"nm": 1e-3, "mm": 1e3, "cm": 1e4, "inch": 25.4e3, "m": 1e6},
}


def calibration(file: tifffile.TiffFile) -> tuple[tuple[float, float] | None, dict[str, Any]]:
    """Pixel size (y, x) in micrometres and further metadata, of ImageJ and OME files; others state print sizes."""
    if file.is_imagej:
        return _imagej_calibration(file)
    if file.is_ome and file.ome_metadata:
        return _ome_calibration(file.ome_metadata)
    return None, {}


def _imagej_calibration(file: tifffile.TiffFile) -> tuple[tuple[float, float] | None, dict[str, Any]]:
    stated = file.imagej_metadata or {}
    factor = _MICROMETRES.get(str(stated.get("unit", "")))
    metadata: dict[str, Any] = {}
    if "finterval" in stated:
        metadata["finterval"] = float(stated["finterval"])
    if factor is None:
        return None, metadata
    if "spacing" in stated:
        metadata["spacing"] = float(stated["spacing"]) * factor
    tags = file.pages.first.tags
    sizes = []
    for name in ("YResolution", "XResolution"):
        numerator, denominator = tags[name].value if name in tags else (0, 1)
        if not numerator:
            return None, metadata
        sizes.append(denominator / numerator * factor)
    return (sizes[0], sizes[1]), metadata


def _ome_calibration(xml: str) -> tuple[tuple[float, float] | None, dict[str, Any]]:
    image = tifffile.xml2dict(xml).get("OME", {}).get("Image", {})
    pixels = (image[0] if isinstance(image, list) else image).get("Pixels", {})
    metadata: dict[str, Any] = {}
    if "TimeIncrement" in pixels and pixels.get("TimeIncrementUnit", "s") == "s":
        metadata["finterval"] = float(pixels["TimeIncrement"])
    sizes = {}
    for axis in "ZYX":
        factor = _MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        if f"PhysicalSize{axis}" in pixels and factor:
            sizes[axis] = float(pixels[f"PhysicalSize{axis}"]) * factor
    if "Z" in sizes:
        metadata["spacing"] = sizes["Z"]
    return ((sizes["Y"], sizes["X"]) if {"Y", "X"} <= set(sizes) else None), metadata
