"""T9: scales that Fiji reads as the specification does."""

from __future__ import annotations

import math
from typing import Any

from bmzpack.bundle.described import DescribedAxis, every_axis
from bmzpack.bundle.values import text
from bmzpack.consumers.conditions.tensor_data import unfit_test_tensors
from bmzpack.consumers.conditions.tensor_sizes import sizes_misread_by_jdll
from bmzpack.consumers.conditions.validation import invalid_description
from bmzpack.errors import UserError
from bmzpack.measure.scales import LARGEST_PART, both_scales
from bmzpack.repairs.work import Work

SAME = 1e-9
"""Relative difference of ratios that are the same."""


def scales(work: Work) -> None:
    """T9: take pixel sizes out of the axes, and write the ratio of outputs of another size for both readings.

    Pixel sizes are kept in ``config.bmzpack.pixel_size``. Outputs that are smaller by an offset are left to the author:
    the network has to be changed.
    """
    if work.contents.is_old:
        return
    misread = {occurrence.where for occurrence in sizes_misread_by_jdll(work.contents)}
    groups: dict[str, tuple[DescribedAxis, list[DescribedAxis]]] = {}
    for _, axis in every_axis(work.contents.tensors):
        if found := work.contents.referred(axis):
            groups.setdefault(found[1].place, (found[1], []))[1].append(axis)
    for source, followers in groups.values():
        places = [axis.place for axis in followers if axis.place in misread]
        if not places or any(axis.offset for axis in followers):
            continue
        faults = _faults(work)
        with work.attempt([("T9", place) for place in places], "The scales cannot be changed"):
            what = _rewrite(work, source, followers)
            work.reread()
            if not _faults(work) <= faults - {*places}:
                raise UserError("the description would not fit the test tensors, or not the specification")
            for place in places:
                work.changed("T9", place, what)


def _rewrite(work: Work, source: DescribedAxis, followers: list[DescribedAxis]) -> str:
    """Write the scales of an input's axis and of all that follow it; what was done, in words."""
    outputs = {axis.place for axis in followers if axis.place.startswith("outputs")}
    ratios = [work.contents.ratio(axis) for axis in followers if axis.place in outputs]
    others = [work.contents.ratio(axis) for axis in followers if axis.place not in outputs]
    ratio = ratios[0]
    if not all(math.isclose(other, ratio, rel_tol=SAME) for other in ratios) or any(other != 1 for other in others):
        raise UserError("tensors of several sizes follow one axis")
    if not 1 / LARGEST_PART <= ratio <= LARGEST_PART:
        raise UserError(f"the output has {ratio:g} pixels for one of the input")
    of_input, of_output = both_scales(ratio)
    if not math.isclose(of_input / of_output, ratio, rel_tol=SAME):
        raise UserError(f"{ratio:g} is no ratio of whole numbers")
    kept = _keep(work, source)
    for place in (source.place, *(axis.place for axis in followers)):
        scale, entry = of_output if place in outputs else of_input, work.at(place)
        entry.pop("unit", None)
        entry.pop("scale", None)
        if scale != 1:
            entry["scale"] = scale
    now = "taken out" if ratio == 1 else f"{of_input:g} of the input and {of_output:g} of the output now"
    return f"The scales of {source.id} are {now}, as Fiji takes them for the ratio of output to input{kept}."


def _keep(work: Work, source: DescribedAxis) -> str:
    """Note the size of a pixel in the description's config; what was noted, in words."""
    unit = text(work.at(source.place).get("unit"))
    if unit is None and source.pixel == 1:
        return ""
    noted: Any = work.rdf
    for key in ("config", "bmzpack", "pixel_size"):
        noted = noted.setdefault(key, {})
        if not isinstance(noted, dict):
            raise UserError(f"there is an entry {key} that is no mapping of keys to values")
    if (noted.get(source.id, source.pixel), noted.pop("unit", unit)) != (source.pixel, unit):
        raise UserError("there are several pixel sizes or units")
    noted |= {source.id: source.pixel} | ({"unit": unit} if unit else {})
    return f"; the pixel size of {source.pixel:.4g}{f' {unit}' if unit else ''} is kept in config.bmzpack.pixel_size"


def _faults(work: Work) -> set[str]:
    """Places where sizes are misread or do not fit the test tensors, and what bioimageio.spec does not accept."""
    conditions = (sizes_misread_by_jdll, unfit_test_tensors)
    places = {occurrence.where for condition in conditions for occurrence in condition(work.contents)}
    return places | {f"{occurrence.where}: {occurrence.found}" for occurrence in invalid_description(work.contents)}
