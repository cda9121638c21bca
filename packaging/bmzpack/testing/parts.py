"""Images that a program cuts into parts, each of which goes through the whole of a bundle by itself."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from bmzpack.bundle.contents import Contents
from bmzpack.engines import TensorNames
from bmzpack.errors import UserError
from bmzpack.operations.processing import arrays, postprocess, preprocess
from bmzpack.testing.foreign import attempt_formats


@dataclasses.dataclass(frozen=True)
class Span:
    """A part of an image along one axis, in pixels of the image."""

    start: int
    """Where it begins; below 0 where something is added before the image."""
    stop: int
    """One after its end."""
    first: int
    """The first pixel that gets the result of this part."""
    last: int
    """One after the last of these."""
    before: int = 0
    """Pixels that are added before the part when it has been preprocessed, mirrored."""
    after: int = 0
    """The same behind it."""

    @property
    def result(self) -> slice:
        """Where the result that counts lies in what the network gives."""
        return slice(self.before + self.first - self.start, self.before + self.last - self.start)


def outputs_of_parts(
    contents: Contents,
    weights: tuple[str, str],
    images: Sequence[np.ndarray],
    cut: Callable[[str, int], list[Span]],
    beyond: Literal["reflect", "edge"],
) -> list[dict[str, np.ndarray]]:
    """The outputs of a bundle for images in parts.

    Parameters
    ----------
    contents
        A bundle with one input and one output.
    weights
        Key of `bmzpack.engines.ENGINES`, and weights format.
    images
        In the order of the input's axes, a batch of one included; any dtype.
    cut
        From the id of an axis and the length of an image along it to its parts.
    beyond
        What stands beyond the image's edges, as for `numpy.pad`.

    Returns
    -------
    list of dict
        float32 arrays by output, as large as the image.

    Raises
    ------
    UserError
        The bundle has several inputs or outputs, the engine failed, or a result is not as large as its part.
    """
    (entry,), (described,) = _only(contents.rdf["inputs"], "inputs"), _only(contents.rdf["outputs"], "outputs")
    source, output, axes = str(entry["id"]), str(described["id"]), axes_of(entry)
    places = [_places(entry, image.shape, cut) for image in images]
    pairs = [(image, place) for image, group in zip(images, places, strict=True) for place in group]
    samples = [preprocess([entry], {source: _taken(image, axes, place, beyond)}) for image, place in pairs]
    tensors = [
        _extended(arrays(sample, [source])[source], axes, place)
        for sample, (_, place) in zip(samples, pairs, strict=True)
    ]
    names = TensorNames([source], [output])
    (attempt,) = attempt_formats(contents, [weights], [{source: tensor} for tensor in tensors], names)
    result = attempt.result()
    if isinstance(result, UserError):
        raise result
    answers = (
        _checked(postprocess([described], found, sample)[output], axes_of(described), tensor.shape, axes)
        for found, sample, tensor in zip(result.outputs, samples, tensors, strict=True)
    )
    return [
        {output: _joined(itertools.islice(answers, len(group)), group, axes_of(described), image.shape, axes)}
        for image, group in zip(images, places, strict=True)
    ]


def _only(entries: Sequence[dict[str, Any]], what: str) -> Sequence[dict[str, Any]]:
    if len(entries) != 1:
        raise UserError(f"This bundle has {len(entries)} {what}: only bundles with one can be applied here.")
    return entries


def _places(
    entry: Mapping[str, Any], shape: Sequence[int], cut: Callable[[str, int], list[Span]]
) -> list[dict[str, Span]]:
    """The spans of every part, by axis."""
    lengths = {
        str(axis["id"]): length for axis, length in zip(entry["axes"], shape, strict=True) if axis["type"] == "space"
    }
    parts = itertools.product(*(cut(axis, length) for axis, length in lengths.items()))
    return [dict(zip(lengths, spans, strict=True)) for spans in parts]


def _taken(image: np.ndarray, axes: Sequence[str], place: Mapping[str, Span], beyond: Any) -> np.ndarray:
    """A part of an image, and what stands beyond its edges."""
    for number, axis in enumerate(axes):
        if axis in place:
            span, length = place[axis], image.shape[number]
            image = image.take(range(max(span.start, 0), min(span.stop, length)), axis=number)
            image = _padded(image, number, max(-span.start, 0), max(span.stop - length, 0), beyond)
    return image


def _extended(tensor: np.ndarray, axes: Sequence[str], place: Mapping[str, Span]) -> np.ndarray:
    """A part after its preprocessing, with what is added to it."""
    for number, axis in enumerate(axes):
        if axis in place:
            tensor = _padded(tensor, number, place[axis].before, place[axis].after, "symmetric")
    return tensor


def _padded(array: np.ndarray, axis: int, before: int, after: int, mode: Any) -> np.ndarray:
    return np.pad(array, [(before, after) if number == axis else (0, 0) for number in range(array.ndim)], mode=mode)


def _checked(part: np.ndarray, part_axes: Sequence[str], given: Sequence[int], given_axes: Sequence[str]) -> np.ndarray:
    """A result, if it is as large as what the network was given."""
    for axis in ("z", "y", "x"):
        if axis in given_axes and part.shape[part_axes.index(axis)] != given[given_axes.index(axis)]:
            raise UserError("The output is not as large as the input, so its parts cannot be put together.")
    return part


def _joined(
    parts: Iterable[np.ndarray],
    places: Sequence[Mapping[str, Span]],
    part_axes: Sequence[str],
    shape: Sequence[int],
    axes: Sequence[str],
) -> np.ndarray:
    whole = np.zeros(0, np.float32)
    for part, place in zip(parts, places, strict=True):
        if not whole.size:
            sides = zip(part_axes, part.shape, strict=True)
            whole = np.zeros([shape[axes.index(axis)] if axis in place else side for axis, side in sides], np.float32)
        to = tuple(slice(place[axis].first, place[axis].last) if axis in place else slice(None) for axis in part_axes)
        whole[to] = part[tuple(place[axis].result if axis in place else slice(None) for axis in part_axes)]
    return whole


def pieces(length: int, size: int, halo: int) -> list[tuple[int, int]]:
    """First pixel and one after the last of what parts of a size give, their halo cut off; the last may be smaller."""
    return [(first, min(first + size - 2 * halo, length)) for first in range(0, length, size - 2 * halo)]


def halos_of(entry: Mapping[str, Any]) -> dict[str, int]:
    """Pixels of a result that are cut off on each side, by axis."""
    return {str(axis["id"]): axis.get("halo", 0) for axis in entry["axes"] if axis["type"] == "space"}


def axes_of(entry: Mapping[str, object]) -> list[str]:
    """Ids of the axes of an input or output of rdf.yaml, format 0.5: y, x, batch, channel."""
    axes = entry["axes"]
    assert isinstance(axes, Sequence)
    return [str(axis.get("id", axis["type"])) for axis in axes]
