"""Inputs and outputs: their number, ids and axes."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence

from bmzpack.bundle.contents import Contents
from bmzpack.bundle.described import DescribedTensor, every_axis
from bmzpack.consumers.findings import Condition, Occurrence
from bmzpack.operations.labels import CHANNEL_NAMES


def several_inputs(contents: Contents) -> Iterator[Occurrence]:
    """Several inputs."""
    if len(contents.inputs) > 1:
        names = ", ".join(tensor.id for tensor in contents.inputs)
        yield Occurrence("inputs", f"There are {len(contents.inputs)} inputs: {names}.")


def several_inputs_or_outputs(contents: Contents) -> Iterator[Occurrence]:
    """Several inputs or several outputs."""
    yield from several_inputs(contents)
    if len(contents.outputs) > 1:
        names = ", ".join(tensor.id for tensor in contents.outputs)
        yield Occurrence("outputs", f"There are {len(contents.outputs)} outputs: {names}.")


def several_inputs_of_keras(contents: Contents) -> Iterator[Occurrence]:
    """Several inputs of a Keras file."""
    if {"keras_v3", "keras_hdf5"} & set(contents.weights):
        yield from several_inputs(contents)


def duplicate_tensor_ids(contents: Contents) -> Iterator[Occurrence]:
    """Tensors of one id."""
    yield from _duplicates(contents.tensors)


def duplicate_ids_among_equals(contents: Contents) -> Iterator[Occurrence]:
    """Two inputs, or two outputs, of one id."""
    yield from _duplicates(contents.inputs)
    yield from _duplicates(contents.outputs)


def _duplicates(tensors: Iterable[DescribedTensor]) -> Iterator[Occurrence]:
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.id in seen:
            yield Occurrence(tensor.place, f"Another tensor has the id {tensor.id} too.")
        seen.add(tensor.id)


def axes_other_than(known: Container[str]) -> Condition:
    """Axes of other ids."""

    def condition(contents: Contents) -> Iterator[Occurrence]:
        for tensor, axis in every_axis(contents.tensors):
            if axis.id not in known and not axis.by_data:
                yield Occurrence(axis.place, f"{tensor.id} has an axis {axis.id!r}.")

    return condition


def axes_without_id(contents: Contents) -> Iterator[Occurrence]:
    """Axes of an image whose id is left to the specification."""
    for tensor, axis in every_axis(contents.tensors):
        if axis.kind == "space" and not axis.named:
            yield Occurrence(axis.place, f"An axis of {tensor.id} has no id.", remedy=f"Write its id, {axis.id}, down.")


def channels_without_names(contents: Contents) -> Iterator[Occurrence]:
    """Channel axes without names of the channels."""
    for tensor in contents.tensors:
        axis = tensor.channel
        if axis is not None and axis.channel_names is None:
            yield Occurrence(axis.place, f"The channels of {tensor.id} have no channel_names.")


def images_without_channel_axis(
    contents: Contents, tensors: Sequence[DescribedTensor] | None = None
) -> Iterator[Occurrence]:
    """Images without a channel axis."""
    for tensor in contents.tensors if tensors is None else tensors:
        if tensor.axes and _is_image(tensor) and tensor.channel is None:
            yield Occurrence(f"{tensor.place}.axes", f"{tensor.id} has no channel axis: {', '.join(tensor.ids)}.")


def outputs_without_channel_axis(contents: Contents) -> Iterator[Occurrence]:
    """Output images without a channel axis."""
    yield from images_without_channel_axis(contents, contents.outputs)


def tensors_without_y_and_x(contents: Contents) -> Iterator[Occurrence]:
    """Tensors without the axes y and x."""
    for tensor in contents.tensors:
        if tensor.axes and not _is_image(tensor) and not any(axis.by_data for axis in tensor.axes):
            yield Occurrence(f"{tensor.place}.axes", f"{tensor.id} is no image, its axes are {', '.join(tensor.ids)}.")


def inputs_without_y_and_x(contents: Contents) -> Iterator[Occurrence]:
    """Inputs without the axes y and x, where no input is an image."""
    places = () if any(map(_is_image, contents.inputs)) else tuple(f"{tensor.place}." for tensor in contents.inputs)
    yield from (found for found in tensors_without_y_and_x(contents) if found.where.startswith(places))


def label_images_from_graph(contents: Contents) -> Iterator[Occurrence]:
    """Outputs that are labels of objects without any operation: the graph makes them."""
    for tensor in contents.outputs:
        names = next((axis.channel_names for axis in tensor.axes if axis.id == "channel"), None)
        if names == CHANNEL_NAMES and not tensor.operations:
            yield Occurrence(tensor.place, f"{tensor.id} is a label image of the whole input.")


def label_images_in_tiles(contents: Contents) -> Iterator[Occurrence]:
    """Label images from a graph that takes images of some sizes only, so that others are cut into tiles."""
    steps = {axis.step for tensor in contents.inputs for axis in tensor.axes if axis.id in ("z", "y", "x")}
    if steps != {1}:
        yield from label_images_from_graph(contents)


def tensors_with_z(contents: Contents) -> Iterator[Occurrence]:
    """Tensors with an axis z."""
    for tensor in contents.tensors:
        if "z" in tensor.ids:
            yield Occurrence(f"{tensor.place}.axes", f"{tensor.id} has an axis z.")


def _is_image(tensor: DescribedTensor) -> bool:
    return {"y", "x"} <= set(tensor.ids)
