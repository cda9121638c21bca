"""The section `split`: images that belong together stay on one side, and every class is on both."""

from __future__ import annotations

import itertools

from bmzpack.errors import UserError
from kerazoo.config import SplitConfig
from kerazoo.data.split import Split, group_column, split_pairs
from kerazoo.files.pairs import Pair
from kerazoo.models.proposal import Settings, as_yaml, held_out


def propose_split(pairs: list[Pair], validation: float) -> Settings:
    """The section for images of which a part is held out."""
    held, group = held_out(len(pairs), validation), group_column(pairs)
    return {
        "validation": (validation, f"{len(pairs) - held} images to train, {held} to validate"),
        **({"group": (as_yaml(group), "its images stay on one side")} if group else {}),
        "seed": 1,
    }


def propose_class_split(pairs: list[Pair], validation: float) -> Settings:
    """The section for images that have classes: with the first seed, or else a larger part, that gives both sides all.

    Raises
    ------
    UserError
        There is no such division.
    """
    first: UserError | None = None
    for part, seed in itertools.product((validation, 0.3, 0.5), range(1, 100)):
        config = SplitConfig(validation=part, group=group_column(pairs), seed=seed)
        try:
            split = split_pairs(pairs, config)
        except UserError as error:
            first = first or error
            continue
        return {
            "validation": (part, f"{len(split.train)} images to train, {len(split.validation)} to validate"),
            "group": (as_yaml(config.group), _group_reason(config.group, split)),
            "seed": (seed, "" if seed == 1 else "with it every class is on both sides"),
        }
    assert first is not None
    raise first


def _group_reason(group: str | None, split: Split) -> str:
    members = [{pair.group for pair in side} for side in (split.train, split.validation)]
    if group is None and members == [{None}, {None}]:
        return "a column of a CSV table, such as slide or patient: what belongs together stays on one side"
    return (
        f"images of one {group or 'group (the column of this name)'} stay on one side: {len(members[0])} of them to "
        f"train, {len(members[1])} to validate"
    )
