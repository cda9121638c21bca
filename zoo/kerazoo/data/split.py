"""Division of the pairs into training and validation, by image or by group, from a seed."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from bmzpack.errors import UserError
from kerazoo.config import SplitConfig
from kerazoo.files.pairs import Pair

GROUP_WORDS = ("patient", "case", "subject", "donor", "animal", "mouse", "individual", "specimen", "slide", "sample")
"""What columns of tables are called whose images belong together, the largest unit first."""


@dataclasses.dataclass(frozen=True)
class Split:
    """The two sides, each sorted by id."""

    train: list[Pair]
    validation: list[Pair]


def split_pairs(pairs: Iterable[Pair], config: SplitConfig) -> Split:
    """Divide pairs into training and validation.

    Pairs of one group stay together: the group of their table's column ``config.group``, else of its column `group`;
    pairs without a group are groups of their own. Where images have classes, every class is divided by itself if none
    has a group. The result depends on the ids, the classes, the groups and the seed only. A table with a column
    ``config.column`` has divided them already; that it keeps groups together is checked.

    Parameters
    ----------
    pairs
        In any order.
    config
        Fraction, group column and seed.

    Returns
    -------
    Split
        At least one group on each side (of every class), the images' fraction as near to the wanted one as the groups
        allow.

    Raises
    ------
    UserError
        There are fewer than two groups, a column is missing or has empty cells, a class is missing on one side, or the
        column that divides has other entries or divides a group.
    """
    pairs = _grouped(pairs, config.group)
    if config.column is not None:
        return _given(pairs, config.column, config.group)
    categories = sorted({pair.category for pair in pairs if pair.category is not None})
    if not categories:
        return _divide(pairs, config)
    by_class = {category: [pair for pair in pairs if pair.category == category] for category in categories}
    for category, members in by_class.items():
        if len(members) < 2:
            raise UserError(
                f"The class {category!r} has only one image: at least two are needed, one to train and one to validate."
            )
    if not any(pair.group for pair in pairs):
        parts = [_divide(members, config) for members in by_class.values()]
        return Split(
            sorted((pair for part in parts for pair in part.train), key=lambda pair: pair.id),
            sorted((pair for part in parts for pair in part.validation), key=lambda pair: pair.id),
        )
    by = config.group or "group"
    for category, members in by_class.items():
        groups = {pair.group or pair.id for pair in members}
        if len(groups) < 2:
            raise UserError(
                f"All images of the class {category!r} have the {by} {groups.pop()!r}: whatever split.seed is, one "
                f"side lacks the class. Add images of {category!r} with another {by}."
            )
    split = _divide(pairs, config)
    for name, side in (("train", split.train), ("validate", split.validation)):
        if missing := set(categories) - {pair.category for pair in side}:
            raise UserError(
                f"Divided by {by} with split.seed {config.seed}, there is no image of {sorted(missing)[0]!r} to "
                f"{name}: choose another split.seed or a larger split.validation, or add images of another {by}."
            )
    return split


def group_column(pairs: Iterable[Pair]) -> str | None:
    """The column of a table that by its name tells which images belong together, such as `patient` or `Slide ID`.

    Parameters
    ----------
    pairs
        As `kerazoo.files.pairs.pairs_of` gives them.

    Returns
    -------
    str or None
        Of several columns the one that comes first in `GROUP_WORDS`. None where there is none, or where its cells are
        not all filled in, all the same, or all different.
    """
    pairs = list(pairs)
    for word in GROUP_WORDS:
        for column in pairs[0].columns if pairs else ():
            entries = [pair.columns[column] for pair in pairs]
            named = word in re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column).lower())
            if named and all(entries) and 1 < len(set(entries)) < len(entries):
                return column
    return None


def _grouped(pairs: Iterable[Pair], column: str | None) -> list[Pair]:
    """Pairs whose group is the entry of a column of their table."""
    pairs = list(pairs)
    if column is None:
        return pairs
    _check_column(pairs, "split.group", column)
    for pair in pairs:
        if not pair.columns[column]:
            raise UserError(f"{pair.id} has no entry in the column {column!r}: fill it in, or unset split.group.")
    return [dataclasses.replace(pair, group=pair.columns[column]) for pair in pairs]


def _check_column(pairs: list[Pair], setting: str, column: str) -> None:
    columns = pairs[0].columns if pairs else {}
    if column not in columns:
        have = f"the table has {', '.join(columns)}" if columns else "list the images in a CSV file, data.table"
        raise UserError(f"{setting} is {column!r}, but there is no such column: {have}.")


def _given(pairs: list[Pair], column: str, group: str | None) -> Split:
    _check_column(pairs, "split.column", column)
    sides: dict[str, list[Pair]] = {"train": [], "validation": []}
    for pair in sorted(pairs, key=lambda pair: pair.id):
        side = pair.columns.get(column, "")
        if side not in sides:
            raise UserError(
                f"{pair.id} has {side or 'no entry'!r} in the column {column!r}: write train or validation for every "
                "image of the table, or unset split.column."
            )
        sides[side].append(pair)
    for side, members in sides.items():
        if not members:
            raise UserError(f"No image has {side} in the column {column!r}: at least one is needed.")
    of_groups = [{pair.group for pair in members if pair.group} for members in sides.values()]
    if divided := sorted(of_groups[0] & of_groups[1]):
        more = f" (and {len(divided) - 1} more)" if divided[1:] else ""
        raise UserError(
            f"The column {column!r} puts images of one {group or 'group'}, {divided[0]!r}{more}, on both sides, which "
            "makes scores too good: correct it, or unset split.column to have them divided by group."
        )
    return Split(sides["train"], sides["validation"])


def _divide(pairs: Iterable[Pair], config: SplitConfig) -> Split:
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in sorted(pairs, key=lambda pair: pair.id):
        groups[("group", pair.group) if pair.group else ("id", pair.id)].append(pair)
    if len(groups) < 2:
        what = "group" if next(iter(groups), ("", ""))[0] == "group" else "image"
        raise UserError(
            f"There is only {len(groups)} {what}: at least two are needed, one to train and one to validate."
        )

    members = list(groups.values())
    order = np.random.default_rng(config.seed).permutation(len(members))
    wanted = config.validation * sum(map(len, members))
    held_out: list[Pair] = []
    for index in order[:-1]:
        if held_out and abs(len(held_out) + len(members[index]) - wanted) >= abs(len(held_out) - wanted):
            continue
        held_out += members[index]
    names = {pair.id for pair in held_out}
    rest = [pair for group in members for pair in group if pair.id not in names]
    return Split(sorted(rest, key=lambda pair: pair.id), sorted(held_out, key=lambda pair: pair.id))
