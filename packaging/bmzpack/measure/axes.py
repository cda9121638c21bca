"""Axes and sizes of a bundle's tensors, measured from the network and written as rdf.yaml has them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import keras

from bmzpack.errors import UserError
from bmzpack.measure.geometry import Geometry
from bmzpack.measure.keras_graph import input_structure
from bmzpack.measure.scales import both_scales

if TYPE_CHECKING:
    from bmzpack.describe.description import Input, Output

SPACE = "zyx"
IDS = {"b": "batch", "i": "index", "o": "object", "z": "z", "y": "y", "x": "x", "c": "channel"}
DEFAULT_AXES = {2: "bc", 4: "byxc", 5: "bzyxc"}

Described = TypeVar("Described", "Input", "Output")


@dataclasses.dataclass(frozen=True)
class Tensor(Generic[Described]):
    """An input or output: what the network and what the description says of it."""

    id: str
    described: Described
    shape: tuple[int | None, ...]
    """In the network; None where any size is taken."""
    axes: str
    """One letter per axis."""

    @classmethod
    def of(cls, name: str, described: Described, tensor: keras.KerasTensor) -> Tensor[Described]:
        """Bring a network's tensor and its description together.

        Raises
        ------
        UserError
            The axes are not described and not clear, or do not fit the tensor, or the channels are not those named.
        """
        shape = tuple(tensor.shape)
        axes = described.axes or DEFAULT_AXES.get(len(shape))
        if axes is None:
            raise UserError(
                f"The tensor {name!r} has {len(shape)} axes: describe them, one letter each, as its `axes`."
            )
        if len(axes) != len(shape) or len(set(axes)) != len(axes) or axes[0] != "b":
            raise UserError(
                f"The axes {axes!r} do not fit the tensor {name!r} of shape {shape}: write one letter per axis, "
                "beginning with b (batch), then z, y, x, c (channel), i (index), o (object) in the order of the tensor."
            )
        if shape[0] not in (None, 1):
            raise UserError(f"The tensor {name!r} has a batch of {shape[0]}: build the network with any batch size.")
        found = cls(name, described, shape, axes)
        if "c" in axes and shape[axes.index("c")] is None:
            raise UserError(
                f"The tensor {name!r} has an unknown number of channels: build the network with a fixed one."
            )
        if described.channel_names and len(described.channel_names) != (found.channels if "c" in axes else 0):
            raise UserError(
                f"The tensor {name!r} has {found.channels} channels, but {len(described.channel_names)} channel_names: "
                f"{described.channel_names}."
            )
        return found

    @property
    def ids(self) -> list[str]:
        """The axis ids of the zoo."""
        return [IDS[letter] for letter in self.axes]

    @property
    def channels(self) -> int:
        """Length of the channel axis; 1 where there is none."""
        return int(self.shape[self.axes.index("c")] or 1) if "c" in self.axes else 1

    @property
    def is_image(self) -> bool:
        """Whether it has the axes y and x."""
        return {"y", "x"} <= set(self.axes)


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


def sizes_of(inputs: Sequence[Tensor[Input]], geometry: Geometry) -> Sizes:
    """The sizes that every program can use.

    They are multiples of the step, as Fiji's tiling wants it, and large enough to leave something when the halo is cut
    off. Where no multiple of the step is valid, as in the U-Net of 2015, one size is chosen.
    """
    for tensor in inputs:
        fixed = [size for letter, size in zip(tensor.axes, tensor.shape, strict=True) if letter in SPACE and size]
        if fixed:
            return Sizes(fixed[-1], 0)
    step = geometry.step
    if geometry.minimum % step:
        least = 2 * max(geometry.margin, geometry.halo or 0) + 256
        return Sizes(geometry.minimum + math.ceil((least - geometry.minimum) / step) * step, 0)
    smallest = max(geometry.minimum, step + 2 * max(geometry.margin, geometry.halo or 0))
    return Sizes(math.ceil(smallest / step) * step, step)


def rim_of(
    model: keras.Model, inputs: Sequence[Tensor[Input]], outputs: Sequence[Tensor[Output]], geometry: Geometry
) -> int:
    """Pixels of zeros that make every output as large as the input.

    Parameters
    ----------
    model
        The network.
    inputs, outputs
        Its tensors.
    geometry
        Geometry of the network.

    Returns
    -------
    int
        The margin of the network. 0 where it has none, where it is not that of all outputs, or where no halo would cut
        the zeros off.
    """
    source = next((tensor for tensor in inputs if tensor.is_image), None)
    if source is None or geometry.halo is None:
        return 0
    lengths = dict(zip(source.axes, source.shape, strict=True))
    smaller = {
        letter: (lengths[letter] or geometry.minimum) - 2 * geometry.margin for letter in SPACE if letter in lengths
    }
    shapes = _output_shapes(model, inputs, geometry.minimum)
    fit = all(
        tensor.axes in DEFAULT_AXES.values()
        and {letter: size for letter, size in zip(tensor.axes, shape, strict=True) if letter in SPACE} == smaller
        for tensor, shape in zip(outputs, shapes, strict=True)
    )
    return geometry.margin if fit else 0


def input_axes(tensor: Tensor[Input], sizes: Sizes, reference: str | None) -> list[dict[str, Any]]:
    """The axes of an input as rdf.yaml has them.

    Parameters
    ----------
    tensor
        The input.
    sizes
        From `sizes_of`.
    reference
        The tensor id of another input, whose sizes this one must have.
    """
    entries = []
    for letter, size in zip(tensor.axes, tensor.shape, strict=True):
        if letter in SPACE:
            if size is None and reference:
                extent = {"size": {"tensor_id": reference, "axis_id": letter}}
            elif size is None and sizes.step:
                extent = {"size": {"min": sizes.minimum, "step": sizes.step}}
            else:
                extent = {"size": int(size or sizes.minimum)}
            entries.append({"type": "space", "id": letter, **extent})
        elif letter in "io":
            entries.append({"type": "index", "id": IDS[letter], "size": size or {"min": 1, "step": 1}})
        else:
            entries.append(_plain_axis(tensor, letter))
    return entries


def output_axes(
    model: keras.Model,
    inputs: Sequence[Tensor[Input]],
    outputs: Sequence[Tensor[Output]],
    sizes: Sizes,
    geometry: Geometry,
) -> list[list[dict[str, Any]]]:
    """The axes of all outputs: sizes refer to the input's, with the halo of the receptive field.

    Parameters
    ----------
    model
        The network.
    inputs, outputs
        Its tensors.
    sizes
        From `sizes_of`.
    geometry
        Geometry of the network.

    Raises
    ------
    UserError
        The size of an output does not follow from the input's.
    """
    small = _output_shapes(model, inputs, sizes.minimum)
    large = _output_shapes(model, inputs, sizes.minimum + sizes.step) if sizes.step else small
    return [
        [
            _output_axis(output, n, inputs, (small[index][n], large[index][n]), sizes, geometry)
            for n in range(len(small[index]))
        ]
        for index, output in enumerate(outputs)
    ]


def scale_for_fiji(inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
    """Write the scales of outputs of another size than the input so that Fiji reads them right as well, where possible.

    It is where all outputs that follow an axis have one ratio, see `bmzpack.measure.scales.both_scales`.

    Parameters
    ----------
    inputs, outputs
        The tensors' entries of rdf.yaml; their axes are changed.
    """
    for tensor in inputs:
        for axis in tensor["axes"]:
            place = {"tensor_id": tensor["id"], "axis_id": axis["id"]}
            others, results = (
                [other for entry in entries for other in entry["axes"] if _refers(other, place)]
                for entries in (inputs, outputs)
            )
            ratios = {1 / other.get("scale", 1.0) for other in results}
            if axis["type"] == "space" and len(ratios) == 1 and ratios != {1}:
                of_input, of_output = both_scales(ratios.pop())
                for other in (axis, *others):
                    other["scale"] = of_input
                for other in results:
                    other["scale"] = of_output


def pixel_sizes(inputs: Sequence[Tensor[Input]]) -> dict[str, dict[str, Any]]:
    """Sizes of pixels, by tensor id of the inputs of which they are known: one by axis, and their ``unit``.

    They are kept out of the axes: Fiji takes the ``scale`` of an axis for the ratio of output to input.
    """
    found = {}
    for tensor in inputs:
        size: Any = tensor.described.pixel_size
        sizes = size if isinstance(size, dict) else dict.fromkeys(SPACE, size)
        known = {letter: sizes[letter] for letter in tensor.axes if letter in SPACE and sizes.get(letter)}
        if known:
            found[tensor.id] = known | {"unit": tensor.described.unit}
    return found


def _refers(axis: Mapping[str, Any], place: Mapping[str, str]) -> bool:
    """Whether the size of an axis follows that of another."""
    size = axis.get("size")
    return isinstance(size, Mapping) and all(size.get(key) == value for key, value in place.items())


def _output_axis(
    output: Tensor[Output],
    position: int,
    inputs: Sequence[Tensor[Input]],
    lengths: tuple[int | None, int | None],
    sizes: Sizes,
    geometry: Geometry,
) -> dict[str, Any]:
    letter = output.axes[position]
    if letter in "bc":
        return _plain_axis(output, letter)
    small, large = lengths
    kind = {"type": "index" if letter in "io" else "space", "id": IDS[letter]}
    same = next((tensor for tensor in inputs if letter in "io" and letter in tensor.axes), None)
    if same is not None and same.shape[same.axes.index(letter)] is None:
        return kind | {"size": {"tensor_id": same.id, "axis_id": IDS[letter]}}
    if small is None or large is None:
        raise UserError(f"The size of axis {letter} of the output {output.id!r} does not follow from the input's.")
    source = next((tensor for tensor in inputs if letter in SPACE and letter in tensor.axes), None)
    if source is None:
        return kind | {"size": small}
    of_input = source.shape[source.axes.index(letter)] or sizes.minimum
    ratio = (large - small) / sizes.step if sizes.step else _likely_ratio(small, of_input)
    if ratio == 0:
        return kind | {"size": small}
    offset = round(small - of_input * ratio)
    size = {"tensor_id": source.id, "axis_id": letter} | ({"offset": offset} if offset else {})
    halo = _output_halo(geometry, ratio)
    cut = {"halo": halo} if halo and small - 2 * halo >= 1 else {}
    scale = {} if ratio == 1 else {"scale": 1 / ratio}
    return kind | scale | {"size": size} | cut


def _likely_ratio(output: int, of_input: int) -> float:
    """Output pixels per input pixel, where only one size is known."""
    if output == 1:
        return 0.0
    whole = of_input % output == 0 or output % of_input == 0
    return output / of_input if whole else 1.0


def _output_halo(geometry: Geometry, ratio: float) -> int:
    """The halo in output pixels.

    What it leaves of a tile is a multiple of the step, so that all tiles lie alike on the grid of the strides.
    bioimageio.core extends also a whole image by it on both sides, and an image of a valid size remains one.
    """
    if geometry.halo is None:
        return 0
    step, reach = geometry.step, max(0, geometry.halo - geometry.margin)
    fitting = [
        halo
        for halo in range(reach, reach + step)
        if (geometry.minimum - 2 * halo) % step == 0 and math.isclose(halo * ratio, round(halo * ratio))
    ]
    return round((fitting[0] if fitting else math.ceil(reach / step) * step) * ratio)


def _output_shapes(model: keras.Model, inputs: Sequence[Tensor[Input]], size: int) -> list[tuple[int | None, ...]]:
    specs = [
        keras.KerasTensor(
            [
                known if known is not None else (size if letter in SPACE else 1)
                for letter, known in zip(tensor.axes, tensor.shape, strict=True)
            ],
            "float32",
        )
        for tensor in inputs
    ]
    outputs = model.compute_output_spec(keras.tree.pack_sequence_as(input_structure(model), specs))
    return [tuple(output.shape) for output in keras.tree.flatten(outputs)]


def _plain_axis(tensor: Tensor[Any], letter: str) -> dict[str, Any]:
    if letter == "b":
        return {"type": "batch", "id": "batch"} | ({"size": 1} if tensor.shape[0] == 1 else {})
    names = tensor.described.channel_names or [f"channel{number}" for number in range(tensor.channels)]
    return {"type": "channel", "id": "channel", "channel_names": names}
