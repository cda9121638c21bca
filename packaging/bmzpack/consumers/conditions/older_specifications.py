"""What bioimageio.spec before 0.5.12 refuses, of descriptions in format 0.5 that 0.5.12 takes.

Seen in bioimageio.spec 0.5.9.1, 0.5.5.4 and 0.5.4.1, which bioimageio.core 0.10.2, 0.9.1 and 0.8.0 pin. Each takes less
than the next.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterator

from bmzpack.bundle.contents import Contents
from bmzpack.bundle.described import every_axis
from bmzpack.bundle.values import mapping, number, sequence
from bmzpack.consumers.conditions.processing import operations
from bmzpack.consumers.findings import Condition, Occurrence

NEEDED = ("authors", "cite", "description", "documentation", "license")
"""Entries that 0.5.4 has no default for."""


def not_in_0_5_9(contents: Contents) -> Iterator[Occurrence]:
    """Entries that 0.5.9 does not know, apart from operations and the form of documentation and covers."""
    if contents.is_old:
        return
    for _, axis in every_axis(contents.tensors):
        for name in axis.channel_names or ():
            if not name.isidentifier() or keyword.iskeyword(name):
                yield Occurrence(f"{axis.place}.channel_names", f"The channel {name!r} is no identifier.")
                break
    for n, entry in enumerate(sequence(contents.rdf.get("inputs"))):
        for key in ("output_of", "pad"):
            if mapping(entry).get(key) is not None:
                yield Occurrence(f"inputs.{n}.{key}", f"There is an entry {key}.")
    yield from _tolerances_above(1000)(contents)


def not_in_0_5_5(contents: Contents) -> Iterator[Occurrence]:
    """Entries that 0.5.5 does not know or refuses."""
    yield from not_in_0_5_9(contents)
    if contents.is_old:
        return
    for entry in contents.weights.values():
        if entry.place == "weights.keras_v3":
            yield Occurrence(entry.place, "There are weights keras_v3.")
        elif entry.content.get("parent") == "keras_v3":
            yield Occurrence(f"{entry.place}.parent", "The parent is keras_v3.")
        if entry.content.get("external_data") is not None:
            yield Occurrence(f"{entry.place}.external_data", "There is an entry external_data.")
    for _, axis in every_axis(contents.outputs):
        halo = axis.halo / contents.ratio(axis) if axis.halo and axis.reference and contents.ratio(axis) else 0
        if halo % 2:
            yield Occurrence(f"{axis.place}.halo", f"The halo is {halo:g} pixels of the input, which is not even.")
    for _, operation in operations(contents):
        if operation.id == "clip" and None in (operation.kwargs.get("min"), operation.kwargs.get("max")):
            yield Occurrence(operation.place, "clip is not given both min and max.")


def not_in_0_5_4(contents: Contents) -> Iterator[Occurrence]:
    """Entries that 0.5.4 does not know, refuses or misses."""
    yield from not_in_0_5_5(contents)
    if contents.is_old:
        return
    for key in NEEDED:
        if not contents.rdf.get(key):
            yield Occurrence(key, f"There is no {key}.")
    for tensor in contents.tensors:
        if tensor.test is None:
            yield Occurrence(tensor.place, f"{tensor.id} has no test tensor.")
    yield from _tolerances_above(100)(contents)


def operations_not_in(*names: str) -> Condition:
    """Operations of these names; and StarDist's of planes, whose arguments changed with 0.5.10."""

    def condition(contents: Contents) -> Iterator[Occurrence]:
        for _, operation in operations(contents):
            planes = operation.id == "stardist_postprocessing" and "anisotropy" not in operation.kwargs
            if operation.id in names or planes:
                yield Occurrence(operation.place, f"The operation {operation.id} is asked for.")

    return condition


def _tolerances_above(most: int) -> Condition:
    def condition(contents: Contents) -> Iterator[Occurrence]:
        entries = sequence(mapping(contents.config.get("bioimageio")).get("reproducibility_tolerance"))
        for n, entry in enumerate(entries):
            if (number(mapping(entry).get("mismatched_elements_per_million")) or 0) > most:
                place = f"config.bioimageio.reproducibility_tolerance.{n}"
                yield Occurrence(place, f"More than {most} elements of a million may mismatch.")

    return condition
