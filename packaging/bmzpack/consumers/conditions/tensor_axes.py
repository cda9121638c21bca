"""Inputs and outputs: their number, axes, sizes and test tensors."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from pathlib import Path

import numpy as np

from bmzpack.bundle.contents import SPACE, Axis, Facts, Tensor, load_array, opened_picture
from bmzpack.bundle.protobuf import OnnxFile
from bmzpack.consumers import jdll
from bmzpack.consumers.findings import Look, Occurrence, Severity
from bmzpack.measure.receptive_field import receptive_radius
from bmzpack.operations.labels import CHANNEL_NAMES

SAME = 1e-5
"""Sample and test tensors that differ by less of the range are the same."""
DTYPES = {"bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "float32", "float64"}
"""Of the specification."""
LARGEST_SORTED = 2**22
"""Values that are compared at once."""
LARGEST_PICTURE = 2**25
"""Pixels of a sample picture that is looked at."""


def more_inputs_than_one(facts: Facts) -> Iterator[Occurrence]:
    """Several inputs."""
    if len(facts.inputs) > 1:
        names = ", ".join(tensor.id for tensor in facts.inputs)
        yield Occurrence("inputs", f"There are {len(facts.inputs)} inputs: {names}.")


def more_than_one(facts: Facts) -> Iterator[Occurrence]:
    """Several inputs or several outputs."""
    yield from more_inputs_than_one(facts)
    if len(facts.outputs) > 1:
        names = ", ".join(tensor.id for tensor in facts.outputs)
        yield Occurrence("outputs", f"There are {len(facts.outputs)} outputs: {names}.")


def more_inputs_than_keras_takes(facts: Facts) -> Iterator[Occurrence]:
    """Several inputs of a Keras file."""
    if {"keras_v3", "keras_hdf5"} & set(facts.weights):
        yield from more_inputs_than_one(facts)


def same_ids(facts: Facts) -> Iterator[Occurrence]:
    """Tensors of one id."""
    seen: set[str] = set()
    for tensor in facts.tensors:
        if tensor.id in seen:
            yield Occurrence(tensor.place, f"Another tensor has the id {tensor.id} too.")
        seen.add(tensor.id)


def axes_besides(known: Container[str]) -> Look:
    """Axes of other ids."""

    def look(facts: Facts) -> Iterator[Occurrence]:
        for tensor in facts.tensors:
            for axis in tensor.axes:
                if axis.id not in known and not axis.by_data:
                    yield Occurrence(axis.place, f"{tensor.id} has an axis {axis.id!r}.")

    return look


def unnamed_axes(facts: Facts) -> Iterator[Occurrence]:
    """Axes of an image whose id is left to the specification."""
    for tensor in facts.tensors:
        for axis in tensor.axes:
            if axis.kind == "space" and not axis.named:
                yield Occurrence(
                    axis.place, f"An axis of {tensor.id} has no id.", remedy=f"Write its id, {axis.id}, down."
                )


def unnamed_channels(facts: Facts) -> Iterator[Occurrence]:
    """Channel axes without names of the channels."""
    for tensor in facts.tensors:
        axis = tensor.channel
        if axis is not None and axis.channel_names is None:
            yield Occurrence(axis.place, f"The channels of {tensor.id} have no channel_names.")


def without_channels(facts: Facts, tensors: Sequence[Tensor] | None = None) -> Iterator[Occurrence]:
    """Images without a channel axis."""
    for tensor in facts.tensors if tensors is None else tensors:
        if tensor.axes and _is_image(tensor) and tensor.channel is None:
            yield Occurrence(f"{tensor.place}.axes", f"{tensor.id} has no channel axis: {', '.join(tensor.ids)}.")


def outputs_without_channels(facts: Facts) -> Iterator[Occurrence]:
    """Output images without a channel axis."""
    yield from without_channels(facts, facts.outputs)


def no_images(facts: Facts) -> Iterator[Occurrence]:
    """Tensors without the axes y and x."""
    for tensor in facts.tensors:
        if tensor.axes and not _is_image(tensor) and not any(axis.by_data for axis in tensor.axes):
            yield Occurrence(f"{tensor.place}.axes", f"{tensor.id} is no image, its axes are {', '.join(tensor.ids)}.")


def labels(facts: Facts) -> Iterator[Occurrence]:
    """Outputs that are labels of objects without any operation: the graph makes them."""
    for tensor in facts.outputs:
        names = next((axis.channel_names for axis in tensor.axes if axis.id == "channel"), None)
        if names == CHANNEL_NAMES and not tensor.operations:
            yield Occurrence(tensor.place, f"{tensor.id} is a label image of the whole input.")


def volumes(facts: Facts) -> Iterator[Occurrence]:
    """Tensors with an axis z."""
    for tensor in facts.tensors:
        if "z" in tensor.ids:
            yield Occurrence(f"{tensor.place}.axes", f"{tensor.id} has an axis z.")


def sizes_by_data(facts: Facts) -> Iterator[Occurrence]:
    """Outputs whose size is known only after the run."""
    for tensor in facts.outputs:
        for axis in tensor.axes:
            if axis.by_data:
                yield Occurrence(axis.place, f"The size of {axis.id} of {tensor.id} depends on the data.")


def steps(facts: Facts) -> Iterator[Occurrence]:
    """Sizes that JDLL's tiling refuses."""
    for tensor in facts.inputs:
        for axis in tensor.axes:
            if axis.minimum is None or not axis.step:
                continue
            if axis.minimum % axis.step:
                raised = -(-axis.minimum // axis.step) * axis.step
                yield Occurrence(
                    axis.place,
                    f"The smallest size {axis.minimum} is no multiple of the step {axis.step}: every image is refused.",
                    remedy=f"Set min to {raised}, if the network takes it.",
                )
                continue
            yield from _refused_sizes(facts, tensor, axis)


def _refused_sizes(facts: Facts, tensor: Tensor, axis: Axis) -> Iterator[Occurrence]:
    minimum, step = axis.minimum or 0, axis.step or 0
    margin, halo = _around(facts, tensor, axis)
    for size in range(max(1, minimum), jdll.LARGEST_IMAGE + 1):
        reason = jdll.refuses(size, minimum, step, halo, margin)
        if reason:
            yield Occurrence(axis.place, f"An image with {size} pixels along {axis.id} is refused: {reason}.")
            return


def _around(facts: Facts, tensor: Tensor, axis: Axis) -> tuple[float, int]:
    """What JDLL loses and cuts on each side, in input pixels: the margin, and margin and halo together."""
    margin = total = 0.0
    for output in facts.outputs:
        for other in output.axes:
            found = facts.referred(other)
            if found == (tensor, axis):
                ratio = facts.ratio(other) or 1.0
                own = max(0.0, -other.offset / 2 / ratio)
                margin, total = max(margin, own), max(total, own + other.halo / ratio)
    return margin, int(total)


def untied_sizes(facts: Facts) -> Iterator[Occurrence]:
    """Output images of a fixed size, from inputs of any size."""
    for tensor in facts.outputs:
        for axis in tensor.axes:
            given = [other for entry in facts.inputs for other in entry.axes if other.id == axis.id and other.step]
            if axis.id in ("z", "y", "x") and axis.reference is None and axis.size and axis.size > 1 and given:
                yield Occurrence(axis.place, f"{axis.id} of {tensor.id} is always {axis.size}, whatever the input is.")


def sizes_that_are_not_there(facts: Facts) -> Iterator[Occurrence]:
    """Sizes that follow an axis which is not there."""
    for tensor in facts.tensors:
        for axis in tensor.axes:
            if axis.reference is not None and facts.referred(axis) is None:
                yield Occurrence(
                    axis.place,
                    f"{axis.id} of {tensor.id} follows the axis {axis.reference[1]} of {axis.reference[0]}, which is "
                    "not there.",
                )


def outputs_of_another_scale(facts: Facts) -> Iterator[Occurrence]:
    """Outputs whose pixels are not those of the input."""
    for tensor in facts.outputs:
        for axis in tensor.axes:
            ratio = facts.ratio(axis)
            if axis.id in SPACE and facts.referred(axis) and abs(ratio - 1) > 1e-6:
                many = f"{ratio:g} pixels per pixel" if ratio > 1 else f"one pixel for {1 / ratio:g}"
                yield Occurrence(axis.place, f"{axis.id} of {tensor.id} has {many} of the input.")


def sizes_that_jdll_misreads(facts: Facts) -> Iterator[Occurrence]:
    """Outputs for which JDLL expects another size than the specification gives."""
    for tensor in facts.outputs if not facts.is_old else ():
        for axis in tensor.axes:
            found = facts.referred(axis)
            if axis.id not in SPACE or found is None or found[1].smallest is None:
                continue
            sizes = _possible(found[1].smallest, found[1].step or 0)
            with np.errstate(all="ignore"):  # of scales that nobody means
                right = np.trunc(sizes * found[1].pixel / axis.pixel + axis.offset)
                whole, tile = jdll.output_sizes(sizes, axis.pixel, axis.offset)
            for n in np.flatnonzero((whole != right) | (tile != right))[:1]:
                yield Occurrence(
                    axis.place,
                    f"{axis.id} of {tensor.id} has {right[n]:.0f} pixels for {sizes[n]} of the input; by its scale of "
                    f"{axis.pixel:g} and its offset of {axis.offset:g} Fiji expects {tile[n]:.0f}.",
                    remedy=_remedy(axis, facts.ratio(axis)),
                )


def _possible(smallest: int, step: int) -> np.ndarray:
    """Sizes of an input, in pixels."""
    return np.arange(smallest, max(smallest, jdll.LARGEST_IMAGE if step else 0) + 1, step or 1)


def _remedy(axis: Axis, ratio: float) -> str | None:
    """Of an output that JDLL misreads; None for what its rule says."""
    if axis.offset:
        return (
            "Pad the output to the size of the input inside the network, and set a halo that cuts the padding off "
            "(`bmzpack pack` does)."
        )
    if abs(ratio - 1) < SAME:
        return (
            "Leave scale and unit out of the axes and say the pixel size in the documentation (`bmzpack repair` does)."
        )
    return None


def halo_of_the_whole_output(facts: Facts) -> Iterator[Occurrence]:
    """A halo that leaves nothing of the smallest output."""
    for tensor in facts.outputs:
        for axis in tensor.axes:
            found = facts.referred(axis)
            size = found[1].smallest if found else None
            if size is not None and size * facts.ratio(axis) + axis.offset - 2 * axis.halo < 1:
                yield Occurrence(
                    axis.place,
                    f"Nothing is left of the smallest output along {axis.id} when its halo of {axis.halo} pixels is "
                    "cut off on both sides.",
                )


def missing_halo(facts: Facts) -> Iterator[Occurrence]:
    """A halo that is smaller than the surroundings that the network looks at."""
    for tensor in facts.outputs:
        for axis in tensor.axes:
            if axis.id not in SPACE or axis.reference is None or axis.offset < 0:
                continue
            radius = _radius(facts, tensor, axis)
            if radius is not None and axis.halo < radius:
                have = f"a halo of {axis.halo}" if axis.halo else "no halo"
                yield Occurrence(
                    axis.place,
                    f"{axis.id} of {tensor.id} has {have}, but the network looks {radius} pixels around: tiles may "
                    "show seams.",
                    # the influence of far pixels is small
                    Severity.ADVICE if axis.halo else None,
                )
            elif radius is None and not axis.halo and (window := _largest_window(facts)) > 1:
                yield Occurrence(
                    axis.place,
                    f"{axis.id} of {tensor.id} has no halo, but the network has windows of {window} pixels: tiles will "
                    "show seams.",
                )


def _radius(facts: Facts, tensor: Tensor, axis: Axis) -> int | None:
    """Pixels of the output that depend on what lies beyond a tile, where its ONNX file tells."""
    if not isinstance(facts.onnx, OnnxFile):
        return None
    alone = len(facts.onnx.outputs) == len(facts.outputs) == 1
    name = next(iter(facts.onnx.outputs)) if alone else tensor.id
    found = facts.referred(axis)
    positions = (found[0].axes.index(found[1]), tensor.axes.index(axis)) if found else None
    return receptive_radius(facts.onnx, name, SPACE.index(axis.id) - len(SPACE), positions)


def _largest_window(facts: Facts) -> int:
    """Of all convolutions and poolings of the Keras file, in pixels."""
    sizes = [1]
    layers = facts.keras_layers
    for layer in layers if isinstance(layers, list) else []:
        config = layer.get("config")
        if isinstance(config, dict):
            for key in ("kernel_size", "pool_size"):
                value = config.get(key)
                sizes += [size for size in (value if isinstance(value, list) else [value]) if isinstance(size, int)]
    return max(sizes)


def samples_that_differ(facts: Facts) -> Iterator[Occurrence]:
    """Sample tensors that hold other data than the test tensors."""
    for tensor in facts.tensors:
        sample, test = facts.local(tensor.sample), facts.local(tensor.test)
        if sample is None or test is None or sample == test:
            continue
        one, other = read_picture(sample), load_array(test)
        if one is None or not isinstance(other, np.ndarray) or other.dtype.kind not in "uifb":
            continue
        if not _same_values(one, other):
            yield Occurrence(f"{tensor.place}.sample_tensor", f"{sample.name} holds other values than {test.name}.")


def _same_values(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays hold the same, axes of length 1 aside; pictures may have their axes in another order."""
    one, other = np.squeeze(one), np.squeeze(other)
    if one.size != other.size:
        return False
    if one.shape != other.shape:
        if one.size > LARGEST_SORTED:
            return True
        one, other = np.sort(one, None), np.sort(other, None)
    one, other = one.reshape(-1), other.reshape(-1)
    pieces = [slice(start, start + LARGEST_SORTED) for start in range(0, one.size, LARGEST_SORTED)]
    allowed = SAME * max(
        max((float(np.ptp(np.asarray(other[piece], np.float64))) for piece in pieces), default=0), 1e-12
    )
    return all(
        bool((np.abs(np.subtract(one[piece], other[piece], dtype=np.float64)) <= allowed).all()) for piece in pieces
    )


def read_picture(path: Path) -> np.ndarray | None:
    """An ``.npy`` file or a picture, as numbers; None where it is neither, or too large a picture."""
    if path.suffix == ".npy":
        array = load_array(path)
        return array if isinstance(array, np.ndarray) and array.dtype.kind in "uifb" else None
    with opened_picture(path) as picture:
        if picture is None or picture.width * picture.height > LARGEST_PICTURE:
            return None
        try:
            return np.asarray(picture)
        except (OSError, ValueError, SyntaxError):
            return None


def test_tensors(facts: Facts) -> Iterator[Occurrence]:
    """Test tensors that are missing, cannot be read, are not finite or do not fit the axes."""
    for tensor in facts.tensors:
        place = f"{tensor.place}.test_tensor"
        if tensor.test is None:
            yield Occurrence(place, f"{tensor.id} has no test tensor.")
            continue
        array = facts.array(tensor)
        if isinstance(array, str):
            yield Occurrence(place, f"{tensor.test} cannot be read: {array}.")
        elif array is not None:
            yield from _misfits(facts, tensor, array, place)


def _sizes(facts: Facts, tensor: Tensor, shape: Sequence[int], place: str) -> Iterator[Occurrence]:
    """Sizes of a test output that do not follow those of the test input."""
    for axis, size in zip(tensor.axes, shape, strict=True):
        found = facts.referred(axis)
        other = facts.array(found[0]) if found else None
        if found is None or not isinstance(other, np.ndarray) or other.ndim != len(found[0].axes):
            continue
        expected = int(other.shape[found[0].axes.index(found[1])] * facts.ratio(axis) + axis.offset + 1e-6)
        if size != expected:
            yield Occurrence(place, f"{tensor.test} has {size} along {axis.id}, where {expected} are to be expected.")


def _misfits(facts: Facts, tensor: Tensor, array: np.ndarray, place: str) -> Iterator[Occurrence]:
    if array.ndim != len(tensor.axes):
        yield Occurrence(
            place, f"{tensor.test} has {array.ndim} axes, but {tensor.id} has {len(tensor.axes)}: {tensor.ids}."
        )
        return
    for axis, size in zip(tensor.axes, array.shape, strict=True):
        if axis.size is not None and size != axis.size:
            yield Occurrence(place, f"{tensor.test} has {size} along {axis.id}, where {axis.size} is declared.")
        elif axis.minimum is not None and (size < axis.minimum or (axis.step and (size - axis.minimum) % axis.step)):
            yield Occurrence(
                place, f"{tensor.test} has {size} along {axis.id}, which is not {axis.minimum} + n x {axis.step}."
            )
    yield from _sizes(facts, tensor, array.shape, place)
    if array.dtype.kind not in "uifb":
        yield Occurrence(place, f"{tensor.test} holds no numbers, but {array.dtype}.")
    elif array.size == 0:
        yield Occurrence(place, f"{tensor.test} holds no values.")
    elif array.dtype.kind == "f" and not all(np.isfinite(part).all() for part in array):
        yield Occurrence(place, f"{tensor.test} holds NaN or infinite values.")
    elif tensor.dtype in DTYPES and array.dtype != np.dtype(tensor.dtype):
        yield Occurrence(place, f"{tensor.test} is {array.dtype}, but {tensor.id} is declared as {tensor.dtype}.")


def _is_image(tensor: Tensor) -> bool:
    return {"y", "x"} <= set(tensor.ids)
