"""Inputs, outputs and weights as a description has them, read leniently.

Descriptions of format 0.4 and 0.5 become the same tensors and axes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bmzpack.bundle.values import integer, mapping, number, sequence, source_of, text

LETTERS = {"b": "batch", "i": "index", "t": "time", "c": "channel", "z": "z", "y": "y", "x": "x"}
MOST_TENSORS, MOST_AXES, MOST_OPERATIONS = 100, 32, 100
"""Largest numbers of a description, and of each tensor in it."""


@dataclasses.dataclass(frozen=True)
class DescribedAxis:
    """An axis of an input or output; sizes in pixels."""

    id: str
    place: str
    kind: str = ""
    """Such as ``space``; the id need not say it."""
    named: bool = True
    """Whether the id is written, not left to the specification."""
    size: int | None = None
    minimum: int | None = None
    step: int | None = None
    reference: tuple[str, str] | None = None
    """DescribedTensor and axis that the size follows."""
    ratio: float = 1.0
    """Factor from the size that is referred to, in format 0.4."""
    pixel: float = 1.0
    """Size of a pixel: sizes that are referred to are converted by it, in format 0.5."""
    offset: float = 0.0
    by_data: bool = False
    """Whether the size is known only after the run."""
    halo: int = 0
    channel_names: list[str] | None = None

    @property
    def smallest(self) -> int | None:
        """The smallest size, if it is known by itself."""
        return self.size if self.size is not None else self.minimum


@dataclasses.dataclass(frozen=True)
class DescribedOperation:
    """A step of pre- or postprocessing."""

    id: str
    kwargs: dict[str, Any]
    place: str


@dataclasses.dataclass(frozen=True)
class DescribedTensor:
    """An input or output."""

    id: str
    place: str
    axes: list[DescribedAxis]
    operations: list[DescribedOperation]
    dtype: str
    test: str | None
    """File name."""
    sample: str | None

    @property
    def ids(self) -> list[str]:
        """The ids of its axes."""
        return [axis.id for axis in self.axes]

    def axis(self, name: str) -> DescribedAxis | None:
        """The axis of an id."""
        return next((axis for axis in self.axes if axis.id == name), None)

    @property
    def channel(self) -> DescribedAxis | None:
        """The channel axis, whatever its id is."""
        return next((axis for axis in self.axes if axis.kind == "channel"), None)

    @property
    def channels(self) -> int:
        """Length of the channel axis; 1 where there is none or it is not described."""
        axis = self.channel
        return 1 if axis is None else len(axis.channel_names or ()) or axis.size or 1


def every_axis(tensors: Iterable[DescribedTensor]) -> Iterator[tuple[DescribedTensor, DescribedAxis]]:
    """All axes of tensors, each with its tensor."""
    return ((tensor, axis) for tensor in tensors for axis in tensor.axes)


@dataclasses.dataclass(frozen=True)
class DescribedWeights:
    """An entry of weights."""

    format: str
    place: str
    source: str | None
    content: dict[str, Any]


class DescriptionReader:
    """Inputs, outputs and weights of a description of format 0.4 or 0.5; what cannot be understood is left out."""

    def __init__(self, rdf: Mapping[str, Any], is_old: bool) -> None:
        """Read a description.

        Parameters
        ----------
        rdf
            The content of rdf.yaml.
        is_old
            Whether it is of format 0.3 or 0.4.
        """
        self.rdf = rdf
        self.problems: list[tuple[str, str]] = []
        """Place and what could not be understood there."""
        read = self._old_tensor if is_old else self._tensor
        self.inputs = [read(entry, f"inputs.{n}", n) for n, entry in self._entries("inputs")]
        self.outputs = [read(entry, f"outputs.{n}", n) for n, entry in self._entries("outputs")]
        self.weights = {
            str(name): DescribedWeights(str(name), f"weights.{name}", source_of(entry), dict(entry))
            for name, entry in self._mapping(rdf.get("weights"), "weights").items()
            if entry is not None
            for entry in [self._mapping(entry, f"weights.{name}")]
        }

    def _problem(self, place: str, what: str) -> None:
        self.problems.append((place, what))

    def _mapping(self, value: Any, place: str) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            if value is not None:
                self._problem(place, f"it is no mapping of keys to values, but {_kind(value)}")
            return {}
        return value

    def _few(self, value: Any, most: int, place: str) -> Sequence[Any]:
        entries = sequence(value)
        if len(entries) > most:
            self._problem(place, f"there are {len(entries)} of them, more than {most}")
            return []
        return entries

    def _entries(self, key: str) -> list[tuple[int, Mapping[str, Any]]]:
        value = self.rdf.get(key)
        if not isinstance(value, list):
            self._problem(key, f"a list is needed, but it is {_kind(value)}")
            return []
        if len(value) > MOST_TENSORS:
            self._problem(key, f"there are {len(value)} of them, more than {MOST_TENSORS}")
            return []
        return [(n, self._mapping(entry, f"{key}.{n}")) for n, entry in enumerate(value)]

    def _tensor(self, entry: Mapping[str, Any], place: str, _: int) -> DescribedTensor:
        axes = [
            self._axis(self._mapping(axis, f"{place}.axes.{n}"), f"{place}.axes.{n}")
            for n, axis in enumerate(self._few(entry.get("axes"), MOST_AXES, f"{place}.axes"))
        ]
        key = "preprocessing" if place.startswith("inputs") else "postprocessing"
        return DescribedTensor(
            id=text(entry.get("id")) or ("input" if place.startswith("inputs") else "output"),
            place=place,
            axes=axes,
            operations=self._operations(entry.get(key), f"{place}.{key}", "id"),
            dtype=_dtype(entry),
            test=source_of(entry.get("test_tensor")),
            sample=source_of(entry.get("sample_tensor")),
        )

    def _axis(self, entry: Mapping[str, Any], place: str) -> DescribedAxis:
        kind = text(entry.get("type")) or ""
        # the specification's names of axes that have none
        name = text(entry.get("id")) or {"space": "x"}.get(kind, kind)
        size = entry.get("size")
        halo = integer(entry.get("halo")) or 0
        names = entry.get("channel_names")
        found = DescribedAxis(
            id=name,
            place=place,
            kind=kind,
            named=bool(text(entry.get("id"))),
            halo=halo,
            pixel=_scale(entry.get("scale")),
            channel_names=[str(name) for name in names] if isinstance(names, list) else None,
        )
        if kind == "batch" and size is None:
            return found
        if kind == "channel" and isinstance(names, list):
            return dataclasses.replace(found, size=len(names))
        if isinstance(size, Mapping) and "tensor_id" in size:
            reference = (text(size.get("tensor_id")) or "", text(size.get("axis_id")) or "")
            return dataclasses.replace(found, reference=reference, offset=number(size.get("offset")) or 0.0)
        if isinstance(size, Mapping) and place.startswith("outputs") and "step" not in size:
            return dataclasses.replace(found, by_data=True)
        if isinstance(size, Mapping):
            return dataclasses.replace(found, minimum=integer(size.get("min")), step=integer(size.get("step")))
        return dataclasses.replace(found, size=integer(size))

    def _old_tensor(self, entry: Mapping[str, Any], place: str, index: int) -> DescribedTensor:
        """A tensor of format 0.4."""
        is_input = place.startswith("inputs")
        letters: Sequence[str] = self._few(list(text(entry.get("axes")) or ""), MOST_AXES, f"{place}.axes")
        shape = entry.get("shape")
        halo = sequence(entry.get("halo"))
        axes = []
        for n, letter in enumerate(letters):
            axis = DescribedAxis(
                LETTERS.get(letter, letter),
                f"{place}.axes.{n}",
                {"b": "batch", "c": "channel"}.get(letter, "space"),
                halo=(integer(halo[n]) or 0) if n < len(halo) else 0,
                channel_names=[] if letter == "c" else None,
            )
            if isinstance(shape, list):
                axis = dataclasses.replace(axis, size=integer(shape[n]) if n < len(shape) else None)
            elif isinstance(shape, Mapping) and "reference_tensor" in shape:
                scale, offset = sequence(shape.get("scale")), sequence(shape.get("offset"))
                axis = dataclasses.replace(
                    axis,
                    reference=(text(shape.get("reference_tensor")) or "", axis.id),
                    ratio=(number(scale[n]) if n < len(scale) else None) or 1.0,
                    offset=2 * ((number(offset[n]) if n < len(offset) else None) or 0.0),
                )
            elif isinstance(shape, Mapping):
                low, step = sequence(shape.get("min")), sequence(shape.get("step"))
                least = integer(low[n]) if n < len(low) else None
                grows = integer(step[n]) if n < len(step) else None
                if grows:
                    axis = dataclasses.replace(axis, minimum=least, step=grows)
                elif letter != "b":
                    axis = dataclasses.replace(axis, size=least)
            axes.append(axis)
        key = "preprocessing" if is_input else "postprocessing"
        which = "inputs" if is_input else "outputs"
        return DescribedTensor(
            id=text(entry.get("name")) or "",
            place=place,
            axes=axes,
            operations=self._operations(entry.get(key), f"{place}.{key}", "name"),
            dtype=text(entry.get("data_type")) or "float32",
            test=_at(self.rdf.get(f"test_{which}"), index),
            sample=_at(self.rdf.get(f"sample_{which}"), index),
        )

    def _operations(self, value: Any, place: str, key: str) -> list[DescribedOperation]:
        found = []
        for n, entry in enumerate(self._few(value, MOST_OPERATIONS, place)):
            operation = self._mapping(entry, f"{place}.{n}")
            kwargs = dict(mapping(operation.get("kwargs")))
            if key == "name" and isinstance(kwargs.get("axes"), str):
                kwargs["axes"] = [LETTERS.get(letter, letter) for letter in kwargs["axes"]]
            found.append(DescribedOperation(text(operation.get(key)) or "", kwargs, f"{place}.{n}"))
        return found


def _scale(value: Any) -> float:
    """A scale by which sizes can be multiplied and divided; 1 for others."""
    found = number(value)
    return found if found is not None and abs(found) > 1e-15 else 1.0


def _kind(value: Any) -> str:
    return "missing" if value is None else f"a {type(value).__name__}"


def _at(value: Any, index: int) -> str | None:
    entries = sequence(value)
    return source_of(entries[index]) if index < len(entries) else None


def _dtype(entry: Mapping[str, Any]) -> str:
    data = entry.get("data")
    first = data[0] if isinstance(data, list) and data else data
    return text(mapping(first).get("type")) or "float32"
