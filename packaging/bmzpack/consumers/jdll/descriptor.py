"""The description as JDLL's parser takes it in: what it casts, what it needs, and what it makes of axes.

ModelDescriptorV04 and V05, TensorSpec, Axes, Axis and AxisSize of 0.6.1.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from bmzpack.consumers.jdll.java import LARGEST_INT, truncated

UNSUPPORTED = "JDLL has no images of the type {}"
DTYPES = {
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "float32": 4,
    "float64": 8,
}
"""Data types that JDLL can make a result of, with their bytes."""


class Refused(Exception):
    """JDLL ends with an exception: where in rdf.yaml, why, and the rule that says so."""

    def __init__(self, place: str, why: str, rule: str = "D3") -> None:
        super().__init__(why)
        self.place, self.why, self.rule = place, why, rule


@dataclasses.dataclass
class Axis:
    """An axis as JDLL has it; sizes in pixels."""

    letter: str
    """Its abbreviation: the id where it is neither of batch nor of channels, which may have several letters."""
    place: str
    minimum: int = 1
    step: int = 0
    scale: float = 1.0
    offset: float = 0.0
    halo: int = 0
    tensor: str | None = None
    """Tensor that the size follows,"""
    axis: str | None = None
    """and the axis there: its id in format 0.5, its letter in format 0.4."""


@dataclasses.dataclass
class Tensor:
    """An input or output as JDLL has it."""

    name: str
    place: str
    axes: list[Axis]
    dtype: str = "float32"

    @property
    def letters(self) -> str:
        """What it calls the axes order: all abbreviations in one word."""
        return "".join(axis.letter for axis in self.axes)

    @property
    def is_image(self) -> bool:
        """Whether JDLL takes it for an image."""
        return {"x", "y"} <= set(self.letters)


@dataclasses.dataclass
class Descriptor:
    """A model as JDLL has it."""

    inputs: list[Tensor]
    outputs: list[Tensor]
    tiling: bool = True
    pyramidal: bool = False


def read(rdf: Mapping[str, Any], is_old: bool) -> Descriptor:
    """Read a description.

    Parameters
    ----------
    rdf
        The content of rdf.yaml.
    is_old
        Whether it is of format 0.4.

    Raises
    ------
    Refused
        JDLL would end with an exception.
    """
    read_tensor = _old_tensor if is_old else _tensor
    inputs, outputs = (
        [
            read_tensor(entry, f"{key}.{n}", key == "inputs")
            for n, entry in enumerate(_list(rdf.get(key), key))
            if isinstance(entry, Mapping)
        ]
        for key in ("inputs", "outputs")
    )
    names: set[str] = set()
    for tensor in (*inputs, *outputs):
        if tensor.name in names:
            raise Refused(tensor.place, f"Another tensor has the id {tensor.name} too", "T7")
        names.add(tensor.name)
    found = Descriptor(inputs, outputs)
    deepimagej = _mapping(_mapping(rdf.get("config"), "config").get("deepimagej"), "config.deepimagej")
    if deepimagej:
        found.tiling = deepimagej.get("allow_tiling") is True
        found.pyramidal = deepimagej.get("pyramidal_model") is True
        for key in ("allow_tiling", "pyramidal_model"):
            if key in deepimagej and not isinstance(deepimagej[key], bool):
                raise Refused(f"config.deepimagej.{key}", f"{key} is {deepimagej[key]!r}, neither true nor false")
    _hand_halo_to_inputs(found)
    return found


def _tensor(entry: Mapping[str, Any], place: str, _: bool) -> Tensor:
    name = _text(entry.get("id") or entry.get("name"), f"{place}.id")
    listed = _list(entry.get("axes"), f"{place}.axes")
    axes = [_axis(_mapping(axis, f"{place}.axes.{n}"), f"{place}.axes.{n}") for n, axis in enumerate(listed)]
    data = entry.get("data")
    dtype = data.get("type") if isinstance(data, Mapping) else None
    return Tensor(name or "", place, axes, dtype if isinstance(dtype, str) else "float32")


def _axis(entry: Mapping[str, Any], place: str) -> Axis:
    name, kind = _text(entry.get("id"), f"{place}.id"), _text(entry.get("type"), f"{place}.type")
    if kind is None or (name is None and kind not in ("batch", "channel")):
        raise Refused(place, f"An axis has no {'type' if kind is None else 'id'}", "R5")
    letter = "b" if kind == "batch" else "c" if "channel" in (name, kind) else str(name)
    found = Axis(letter, place, scale=_number(entry.get("scale"), 1.0), halo=int(_number(entry.get("halo"), 0)))
    size = entry.get("size")
    if isinstance(size, float) or (isinstance(size, int) and abs(size) > LARGEST_INT):
        raise Refused(f"{place}.size", f"The size {size} is no whole number of 32 bits")
    if isinstance(size, int) and not isinstance(size, bool):
        found.minimum = size
    elif isinstance(size, Mapping):
        found.minimum, found.step = int(_number(size.get("min"), 1)), int(_number(size.get("step"), 0))
        found.offset = _number(size.get("offset"), 0.0)
        found.tensor, found.axis = (size[key] if isinstance(size.get(key), str) else None for key in _REFERENCE)
    if letter == "c":
        if not isinstance(entry.get("channel_names"), list):
            raise Refused(f"{place}.channel_names", "A channel axis has no channel_names", "R5")
        found.minimum = len(entry["channel_names"])
    return found


_REFERENCE = ("tensor_id", "axis_id")


def _old_tensor(entry: Mapping[str, Any], place: str, is_input: bool) -> Tensor:
    """A tensor of format 0.4."""
    letters, shape = _text(entry.get("axes"), f"{place}.axes") or "", entry.get("shape")
    count, reference = len(letters), None
    minimum, step, halo = [0] * count, [0] * count, [0] * count
    scale, offset = [-1.0] * count, [0.0] * count
    if isinstance(shape, list):
        minimum = _integers(shape, f"{place}.shape")
    elif isinstance(shape, Mapping) and is_input:
        minimum, step = (_integers(shape.get(key), f"{place}.shape.{key}") for key in ("min", "step"))
    elif isinstance(shape, Mapping):
        reference = _text(shape.get("reference_tensor"), f"{place}.shape.reference_tensor")
        if reference is None:
            raise Refused(f"{place}.shape", "The shape has no reference_tensor")
        scale, offset = (_doubles(shape.get(key), f"{place}.shape.{key}") for key in ("scale", "offset"))
    else:
        raise Refused(f"{place}.shape", "The shape is neither a list nor a mapping")
    if not is_input and isinstance(entry.get("halo"), list):
        halo = _integers(entry["halo"], f"{place}.halo")
    if any(len(values) < count for values in (minimum, step, halo, scale, offset)):
        raise Refused(f"{place}.shape", f"The axes {letters} and the shape are not of one length")
    axes = [
        Axis(
            letter,
            f"{place}.axes.{n}",
            minimum=minimum[n],
            step=step[n],
            scale=scale[n],
            offset=offset[n],
            halo=halo[n],
            tensor=reference,
            axis=letter,
        )
        for n, letter in enumerate(letters)
    ]
    dtype = entry.get("data_type")
    name = _text(entry.get("name"), f"{place}.name") or ""
    return Tensor(name, place, axes, dtype if isinstance(dtype, str) else "float32")


def _hand_halo_to_inputs(model: Descriptor) -> None:
    """Give inputs the halo of outputs, as `calculateTotalInputHalo` does: it ends at the first that adds nothing."""
    for axis in (axis for tensor in model.outputs for axis in tensor.axes):
        if not axis.halo:
            continue
        if axis.tensor is None:
            for tensor in model.inputs:
                other = next((other for other in tensor.axes if other.letter == axis.letter), None)
                if other is not None and other.halo <= axis.halo:
                    other.halo = axis.halo
            return
        tensor = next((tensor for tensor in model.inputs if tensor.name == axis.tensor), None)
        if tensor is None:
            raise Refused(axis.place, f"A size follows {axis.tensor}, which is no input", "R7")
        total = (axis.halo + axis.offset) / axis.scale if axis.scale else math.inf
        other = next((other for other in tensor.axes if other.letter == axis.axis), None)
        if other is None or other.halo > total:
            return
        other.halo = int(truncated(total))


def _list(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise Refused(place, f"{place} is no list")
    return value


def _mapping(value: Any, place: str) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise Refused(place, f"{place} is no mapping")
    return value or {}


def _text(value: Any, place: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise Refused(place, f"{place} is {value!r}, which is no text")
    return value


def _number(value: Any, default: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    return value if abs(value) < 2**31 else default  # NaN is not smaller either


def _integers(value: Any, place: str) -> list[int]:
    if not isinstance(value, list) or any(type(n) is not int or abs(n) > LARGEST_INT for n in value):
        raise Refused(place, f"{place} is no list of whole numbers")
    return value


def _doubles(value: Any, place: str) -> list[float]:
    if not isinstance(value, list) or any(isinstance(n, bool) or not isinstance(n, int | float) for n in value):
        raise Refused(place, f"{place} is no list of numbers")
    return [float(n) for n in value]
