"""What programs make of images with a bundle, in their own arithmetic: formats, tiles, processing, engine."""

from __future__ import annotations

from bmzpack.testing.core import outputs_in_core
from bmzpack.testing.fiji import outputs_in_fiji
from bmzpack.testing.ilastik import outputs_in_ilastik
from bmzpack.testing.parts import axes_of
from bmzpack.testing.qupath import outputs_in_qupath

__all__ = ["PROGRAMS", "axes_of"]

PROGRAMS = {
    "fiji": outputs_in_fiji,
    "ilastik": outputs_in_ilastik,
    "qupath": outputs_in_qupath,
    "core": outputs_in_core,
}
"""By the key of a consumer: from a bundle's contents and images in the order of its input's axes to outputs by id."""
