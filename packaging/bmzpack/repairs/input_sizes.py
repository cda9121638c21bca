"""R6: sizes that can be tiled in Fiji, where the network takes them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bmzpack.bundle.described import DescribedAxis
from bmzpack.consumers.conditions.jdll_model import refused_images
from bmzpack.consumers.conditions.tensor_data import unfit_test_tensors
from bmzpack.consumers.conditions.tensor_sizes import halo_covers_whole_output
from bmzpack.errors import UserError
from bmzpack.repairs.acceptance import acceptance_test, runnable
from bmzpack.repairs.work import Work

NOT_TILED = refused_images("R6")
"""Sizes that JDLL does not tile."""
TRIED = 3
"""Sizes, beginning with the smallest, on which the network is run where they were not declared before."""
MOST_CHOICES = 100
MOST_RUNS = 4
"""Choices of sizes that are tried before it is given up."""


def sizes(work: Work) -> None:
    """R6: smallest sizes and steps that JDLL tiles and the test tensors have."""
    if work.contents.is_old:
        return
    refused = {occurrence.where for occurrence in NOT_TILED(work.contents)}
    cut = {occurrence.where for occurrence in halo_covers_whole_output(work.contents)}
    followed = {axis.place: work.contents.referred(axis) for tensor in work.contents.outputs for axis in tensor.axes}
    refused |= {found[1].place for place, found in followed.items() if found and place in cut | refused}
    # the first axis that is refused hides others of the same sizes
    alike = {
        (tensor.id, axis.minimum, axis.step)
        for tensor in work.contents.inputs
        for axis in tensor.axes
        if axis.place in refused
    }
    groups: dict[tuple[int, int], list[DescribedAxis]] = {}
    lengths: dict[str, int] = {}
    for tensor in work.contents.inputs:
        array = work.contents.array(tensor)
        for number, axis in enumerate(tensor.axes):
            if (tensor.id, axis.minimum, axis.step) in alike and axis.minimum and axis.step:
                groups.setdefault((axis.minimum, axis.step), []).append(axis)
                shape = array.shape if isinstance(array, np.ndarray) else ()
                lengths[axis.place] = shape[number] if len(shape) == len(tensor.axes) else 0
    if groups:
        _mend(work, groups, lengths)


def _mend(work: Work, groups: dict[tuple[int, int], list[DescribedAxis]], lengths: dict[str, int]) -> None:
    """Change the axes of all groups together: the network is run with all of them."""
    axes = [axis for group in groups.values() for axis in group]
    before = {axis.place: work.at(axis.place)["size"] for axis in axes}
    choices = [[*itertools.islice(_choices(work, *key, group, lengths), MOST_RUNS)] for key, group in groups.items()]
    reason = "no other sizes are tiled and fit the test tensors"
    for chosen in itertools.islice(itertools.product(*choices), MOST_RUNS):
        _set(work, groups, chosen)
        declared = all(
            (low - minimum) % step == 0 and new % step == 0
            for (minimum, step), (low, new) in zip(groups, chosen, strict=True)
        )
        problem = None if declared else _untaken(work)
        if problem is None:
            for group, (minimum, step) in zip(groups.items(), chosen, strict=True):
                run = "" if declared else "; the network was run with them"
                for axis in group[1]:
                    what = f"Sizes are {minimum} + n x {step}, they were {axis.minimum} + n x {axis.step}{run}."
                    work.changed("R6", axis.place, what)
            return
        reason = problem
    for place, size in before.items():
        work.at(place)["size"] = size
    work.reread()
    for place in before:
        work.left("R6", place, f"The sizes cannot be changed: {reason}.")


def _choices(
    work: Work, minimum: int, step: int, group: list[DescribedAxis], lengths: dict[str, int]
) -> Iterator[tuple[int, int]]:
    """Smallest sizes and steps that JDLL tiles: the declared step first, then one that divides both."""
    before = [work.at(axis.place)["size"] for axis in group]
    own = {axis.place for axis in group}
    followers = [axis for tensor in work.contents.outputs for axis in tensor.axes]
    own |= {axis.place for axis in followers if (found := work.contents.referred(axis)) and found[1].place in own}
    wrong = _wrong(work) - own
    largest = min(lengths[axis.place] for axis in group)
    finer = math.gcd(minimum, step)
    found = [(low, step) for low in range(-(-minimum // step) * step, largest + 1, step)]
    found += [(low, finer) for low in range(minimum, largest + 1, finer) if finer < step]
    for low, new in found[:MOST_CHOICES]:
        if any((lengths[axis.place] - low) % new for axis in group):
            continue
        _set(work, {(minimum, step): group}, [(low, new)])
        good = _wrong(work) <= wrong
        for axis, size in zip(group, before, strict=True):
            work.at(axis.place)["size"] = size
        work.reread()
        if good:
            yield low, new


def _wrong(work: Work) -> set[str]:
    """Places where sizes are not tiled, do not fit a halo or test tensor, or are not valid."""
    conditions = (NOT_TILED, halo_covers_whole_output, unfit_test_tensors)
    return {occurrence.where for condition in conditions for occurrence in condition(work.contents)}


def _set(work: Work, groups: dict[tuple[int, int], list[DescribedAxis]], chosen: Sequence[tuple[int, int]]) -> None:
    for group, (low, step) in zip(groups.values(), chosen, strict=True):
        for axis in group:
            entry: dict[str, Any] = work.at(axis.place)
            entry["size"] = {**entry["size"], "min": low, "step": step}
    work.reread()


def _untaken(work: Work) -> str | None:
    """Why the network does not take sizes that were not declared before; None where it does."""
    found = runnable(work)
    if not found:
        return "there are no weights that can be run to see whether the network takes other ones"
    try:
        test = acceptance_test(work, TRIED)
    except UserError as problem:
        return str(problem)
    name, path, own = found[0]
    outputs = test.run(name, path, own)
    for tensors, result in zip(test.inputs, outputs, strict=True):
        if isinstance(result, UserError):
            shape = " x ".join(str(size) for size in next(iter(tensors.values())).shape)
            return f"the network does not take an input of {shape}"
    return None
