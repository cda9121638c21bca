"""Axes and sizes of a bundle's tensors, measured from the network and written as rdf.yaml has them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from bmzpack.description import Input, Output
from bmzpack.errors import UserError
from bmzpack.geometry import Geometry

SPACE = "zyx"
IDS = {"b": "batch", "i": "index", "z": "z", "y": "y", "x": "x", "c": "channel"}
DEFAULT_AXES = {2: "bc", 4: "byxc", 5: "bzyxc"}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Which sizes the spatial axes of an input may have, in pixels."""

    minimum: int
    step: int
    """0 where the size is fixed."""

    def largest(self, limit: int) -> int:
        """The largest size that is not above ``limit``, or else the smallest one."""
        if self.step == 0 or limit < self.minimum:
            return self.minimum
        return self.minimum + (limit - self.minimum) // self.step * self.step


def axes_of(tensor: keras.KerasTensor, given: str | None, name: str) -> str:
    """The axis letters of a tensor.

    Raises
    ------
    UserError
        They are not told and not clear, do not fit the tensor, or have no batch axis.
    """
    rank = len(tensor.shape)
    axes = given or DEFAULT_AXES.get(rank)
    if axes is None:
        raise UserError(f"The tensor {name!r} has {rank} axes: describe them, one letter each, as its `axes`.")
    if len(axes) != rank or len(set(axes)) != rank or axes[0] != "b":
        raise UserError(
            f"The axes {axes!r} do not fit the tensor {name!r} of shape {tuple(tensor.shape)}: write one letter per axis, "
            "beginning with b (batch), then z, y, x, c (channel) and i (index) in the order of the tensor."
        )
    if tensor.shape[0] not in (None, 1):
        raise UserError(f"The tensor {name!r} has a batch of {tensor.shape[0]}: build the network with any batch size.")
    if "c" in axes and tensor.shape[axes.index("c")] is None:
        raise UserError(f"The tensor {name!r} has an unknown number of channels: build the network with a fixed one.")
    return axes


def channel_names(tensor: keras.KerasTensor, axes: str, given: Sequence[str], name: str) -> list[str]:
    """Names for all channels of a tensor.

    Raises
    ------
    UserError
        Another number of names is given.
    """
    count = int(tensor.shape[axes.index("c")] or 0) if "c" in axes else 0
    if given and len(given) != count:
        raise UserError(f"The tensor {name!r} has {count} channels, but {len(given)} channel_names: {list(given)}.")
    return list(given) or [f"channel{number}" for number in range(count)]


def sizes_of(model: keras.Model, axes: Mapping[str, str], geometry: Geometry) -> Sizes:
    """The sizes that every program can use.

    They are multiples of the step, as Fiji's tiling wants it, and large enough to leave something when the halo is cut
    off. Where no multiple of the step is valid, as in the U-Net of 2015, one size is chosen.
    """
    fixed = [
        int(size)
        for tensor in model.inputs
        for letter, size in zip(axes[tensor.name], tensor.shape, strict=True)
        if letter in SPACE and size is not None
    ]
    if fixed:
        return Sizes(fixed[-1], 0)
    step = geometry.step
    if geometry.minimum % step and geometry.margin:
        wanted = 2 * geometry.margin + 256
        return Sizes(geometry.minimum + math.ceil((wanted - geometry.minimum) / step) * step, 0)
    smallest = max(geometry.minimum, step + 2 * max(geometry.margin, geometry.halo or 0))
    return Sizes(math.ceil(smallest / step) * step, step)


def input_axes(
    tensor: keras.KerasTensor, axes: str, given: Input, sizes: Sizes, reference: str | None
) -> list[dict[str, Any]]:
    """The axes of an input as rdf.yaml has them.

    Parameters
    ----------
    tensor
        The network's input.
    axes
        Its axis letters.
    given
        Its description.
    sizes
        From `sizes_of`.
    reference
        The tensor id of another input, whose sizes this one must have.
    """
    entries = []
    for letter, size in zip(axes, tensor.shape, strict=True):
        if letter in SPACE:
            if size is None and reference:
                entry = {"size": {"tensor_id": reference, "axis_id": letter}}
            elif size is None and sizes.step:
                entry = {"size": {"min": sizes.minimum, "step": sizes.step}}
            else:
                entry = {"size": int(size or sizes.minimum)}
            entries.append({"type": "space", "id": letter, **_scale(given, letter), **entry})
        elif letter == "i":
            entries.append({"type": "index", "id": "index", "size": size or {"min": 1, "step": 1}})
        else:
            entries.append(_plain_axis(tensor, letter, axes, given))
    return entries


def output_axes(
    model: keras.Model,
    index: int,
    axes: str,
    given: Output,
    inputs: Mapping[str, tuple[str, Input]],
    sizes: Sizes,
    geometry: Geometry,
) -> list[dict[str, Any]]:
    """The axes of an output as rdf.yaml has them: sizes refer to the input's, with the halo of the receptive field.

    Parameters
    ----------
    model
        The network.
    index
        Which of its outputs.
    axes
        The output's axis letters.
    given
        Its description.
    inputs
        Axis letters and description of the inputs, by tensor id.
    sizes
        From `sizes_of`.
    geometry
        Of the network.

    Raises
    ------
    UserError
        The output's size does not follow from the input's.
    """
    letters = {name: of_input for name, (of_input, _) in inputs.items()}
    steps = (0, sizes.step or geometry.step)
    try:
        shapes = [_output_shape(model, index, letters, sizes.minimum + step) for step in steps]
    except ValueError:  # the network takes one size only
        shapes = [_output_shape(model, index, letters, sizes.minimum)] * 2
    tensor = model.outputs[index]
    entries = []
    for position, letter in enumerate(axes):
        if letter not in SPACE and letter != "i":
            entries.append(_plain_axis(tensor, letter, axes, given))
            continue
        small, large = (shape[position] for shape in shapes)
        kind = {"type": "index", "id": "index"} if letter == "i" else {"type": "space", "id": letter}
        source = next((name for name, of_input in letters.items() if letter in of_input and letter in SPACE), None)
        if small is None:
            raise UserError(f"The size of axis {letter} of the output {given.id!r} does not follow from the input's.")
        of_input = sizes.minimum
        if source is not None:
            fixed = next(t for t in model.inputs if t.name == source).shape[letters[source].index(letter)]
            of_input = int(fixed or sizes.minimum)
        ratio = (large - small) / steps[1] if large != small else _ratio(small, of_input)
        if source is None or ratio == 0:
            entries.append({**kind, "size": int(small)})
            continue
        entry = kind | _scale(inputs[source][1], letter, 1 / ratio)
        offset = round(small - of_input * ratio)
        entry["size"] = {"tensor_id": source, "axis_id": letter} | ({"offset": offset} if offset else {})
        halo = _output_halo(geometry, ratio)
        if halo and small - 2 * halo >= 1:
            entry["halo"] = halo
        entries.append(entry)
    return entries


def _ratio(output: int, of_input: int) -> float:
    """Output pixels per input pixel where only one size is known."""
    if output == 1:
        return 0.0
    whole = of_input % output == 0 or output % of_input == 0
    return output / of_input if whole else 1.0


def _output_halo(geometry: Geometry, ratio: float) -> int:
    if geometry.halo is None:
        return 0
    halo = max(0, geometry.halo - geometry.margin)
    whole = max(1, round(ratio))  # the halo is a whole number of input pixels too
    return math.ceil(math.ceil(halo * ratio) / whole) * whole


def _output_shape(model: keras.Model, index: int, axes: Mapping[str, str], size: int) -> tuple[int | None, ...]:
    given = []
    for tensor in model.inputs:
        shape = tuple(
            known if known is not None else (1 if letter in "bi" else size)
            for letter, known in zip(axes[tensor.name], tensor.shape, strict=True)
        )
        given.append(keras.KerasTensor(shape, tensor.dtype))
    result = model.compute_output_spec(keras.tree.pack_sequence_as(model._inputs_struct, given))
    return tuple(keras.tree.flatten(result)[index].shape)


def _plain_axis(tensor: keras.KerasTensor, letter: str, axes: str, given: Input | Output) -> dict[str, Any]:
    if letter == "b":
        return {"type": "batch", "id": "batch"} | ({"size": 1} if tensor.shape[0] == 1 else {})
    names = channel_names(tensor, axes, given.channel_names, str(given.id))
    return {"type": "channel", "id": "channel", "channel_names": names}


def _scale(given: Input, letter: str, ratio: float = 1.0) -> dict[str, Any]:
    size = given.pixel_size.get(letter) if isinstance(given.pixel_size, dict) else given.pixel_size  # pyright: ignore
    if size is None:
        return {} if ratio == 1 else {"scale": ratio}
    # sizes are computed as size * scale / scale and must come out whole: 24 bits leave room for any size
    return {"unit": given.unit, "scale": float(np.float32(size)) * ratio}
