"""Sizes of inputs and outputs: how they follow each other, tiles, and the halo."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bmzpack.bundle.contents import SPACE, Contents
from bmzpack.bundle.described import DescribedAxis, DescribedTensor, every_axis
from bmzpack.bundle.protobuf import OnnxFile
from bmzpack.consumers.findings import Occurrence, Severity
from bmzpack.consumers.jdll.sides import output_sizes
from bmzpack.measure.receptive_field import receptive_radius

LARGEST_IMAGE = 4096
"""Sides up to this one are tried, in pixels."""
SAME_RATIO = 1e-5
"""Ratios of sizes that differ by less are the same."""


def sizes_known_after_run(contents: Contents) -> Iterator[Occurrence]:
    """Outputs whose size is known only after the run."""
    for tensor, axis in every_axis(contents.outputs):
        if axis.by_data:
            yield Occurrence(axis.place, f"The size of {axis.id} of {tensor.id} depends on the data.")


def references_to_missing_axes(contents: Contents) -> Iterator[Occurrence]:
    """Sizes that follow an axis which is not there."""
    for tensor, axis in every_axis(contents.tensors):
        if axis.reference is not None and contents.referred(axis) is None:
            yield Occurrence(
                axis.place,
                f"{axis.id} of {tensor.id} follows the axis {axis.reference[1]} of {axis.reference[0]}, which is "
                "not there.",
            )


def outputs_of_another_scale(contents: Contents) -> Iterator[Occurrence]:
    """Outputs whose pixels are not those of the input."""
    for tensor, axis in every_axis(contents.outputs):
        ratio = contents.ratio(axis)
        if axis.id in SPACE and contents.referred(axis) and abs(ratio - 1) > 1e-6:
            many = f"{ratio:g} pixels per pixel" if ratio > 1 else f"one pixel for {1 / ratio:g}"
            yield Occurrence(axis.place, f"{axis.id} of {tensor.id} has {many} of the input.")


def sizes_misread_by_jdll(contents: Contents) -> Iterator[Occurrence]:
    """Outputs for which JDLL expects another size than the specification gives."""
    for tensor, axis in every_axis(contents.outputs if not contents.is_old else ()):
        found = contents.referred(axis)
        if axis.id not in SPACE or found is None or found[1].smallest is None:
            continue
        sizes = _possible(found[1].smallest, found[1].step or 0)
        with np.errstate(all="ignore"):  # of scales that nobody means
            right = np.trunc(sizes * found[1].pixel / axis.pixel + axis.offset)
            whole, tile = output_sizes(sizes, axis.pixel, axis.offset)
        for n in np.flatnonzero((whole != right) | (tile != right))[:1]:
            yield Occurrence(
                axis.place,
                f"{axis.id} of {tensor.id} has {right[n]:.0f} pixels for {sizes[n]} of the input; by its scale of "
                f"{axis.pixel:g} and its offset of {axis.offset:g} Fiji expects {tile[n]:.0f}.",
                remedy=_remedy(axis, contents.ratio(axis)),
            )


def _possible(smallest: int, step: int) -> np.ndarray:
    """Sizes of an input, in pixels."""
    return np.arange(smallest, max(smallest, LARGEST_IMAGE if step else 0) + 1, step or 1)


def _remedy(axis: DescribedAxis, ratio: float) -> str | None:
    """What to do about an output that JDLL misreads; None for what its rule says."""
    if axis.offset:
        return (
            "Pad the output to the size of the input inside the network, and set a halo that cuts the padding off "
            "(`bmzpack pack` does)."
        )
    if abs(ratio - 1) < SAME_RATIO:
        return (
            "Leave scale and unit out of the axes and say the pixel size in the documentation (`bmzpack repair` does)."
        )
    return None


def halo_covers_whole_output(contents: Contents) -> Iterator[Occurrence]:
    """A halo that leaves nothing of the smallest output."""
    for _, axis in every_axis(contents.outputs):
        found = contents.referred(axis)
        size = found[1].smallest if found else None
        if size is not None and size * contents.ratio(axis) + axis.offset - 2 * axis.halo < 1:
            yield Occurrence(
                axis.place,
                f"Nothing is left of the smallest output along {axis.id} when its halo of {axis.halo} pixels is "
                "cut off on both sides.",
            )


def halo_smaller_than_receptive_field(contents: Contents) -> Iterator[Occurrence]:
    """A halo that is smaller than the radius of the receptive field."""
    for tensor, axis in every_axis(contents.outputs):
        if axis.id not in SPACE or axis.reference is None or axis.offset < 0:
            continue
        radius = _radius(contents, tensor, axis)
        if radius is not None and axis.halo < radius:
            have = f"a halo of {axis.halo}" if axis.halo else "no halo"
            yield Occurrence(
                axis.place,
                f"{axis.id} of {tensor.id} has {have}, but the receptive field has a radius of {radius} pixels: tiles "
                "may show seams.",
                # the influence of far pixels is small
                Severity.ADVICE if axis.halo else None,
            )
        elif radius is None and not axis.halo and (window := _largest_window(contents)) > 1:
            yield Occurrence(
                axis.place,
                f"{axis.id} of {tensor.id} has no halo, but the network has windows of {window} pixels: tiles will "
                "show seams.",
            )


def _radius(contents: Contents, tensor: DescribedTensor, axis: DescribedAxis) -> int | None:
    """Pixels of the output that depend on what lies beyond a tile, where its ONNX file tells."""
    if not isinstance(contents.onnx, OnnxFile):
        return None
    alone = len(contents.onnx.outputs) == len(contents.outputs) == 1
    name = next(iter(contents.onnx.outputs)) if alone else tensor.id
    found = contents.referred(axis)
    positions = (found[0].axes.index(found[1]), tensor.axes.index(axis)) if found else None
    return receptive_radius(contents.onnx, name, SPACE.index(axis.id) - len(SPACE), positions)


def _largest_window(contents: Contents) -> int:
    """The largest window of all convolutions and poolings of the Keras file, in pixels."""
    sizes = [1]
    layers = contents.keras_layers
    for layer in layers if isinstance(layers, list) else []:
        config = layer.get("config")
        if isinstance(config, dict):
            for key in ("kernel_size", "pool_size"):
                value = config.get(key)
                sizes += [size for size in (value if isinstance(value, list) else [value]) if isinstance(size, int)]
    return max(sizes)
