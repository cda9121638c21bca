"""Division of the pairs into training and validation, by image or by group, from a seed."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from bmzpack.errors import UserError
from kerazoo.config import SplitConfig
from kerazoo.data.pairs import Pair


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
    ``config.column`` has divided them already.

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
        There are fewer than two groups, the group column is missing or has empty cells, a class is missing on one
        side, or the column that divides has other entries.
    """
    pairs = list(pairs)
    if config.column is not None:
        return _given(pairs, config.column)
    categories = sorted({pair.category for pair in pairs if pair.category is not None})
    if not categories:
        return _divide(pairs, config)
    if config.group is None and not any(pair.group for pair in pairs):
        parts = []
        for category in categories:
            members = [pair for pair in pairs if pair.category == category]
            if len(members) < 2:
                raise UserError(
                    f"The class {category!r} has only one image: at least two are needed, one to train and one to "
                    "validate."
                )
            parts.append(_divide(members, config))
        return Split(
            sorted((pair for part in parts for pair in part.train), key=lambda pair: pair.id),
            sorted((pair for part in parts for pair in part.validation), key=lambda pair: pair.id),
        )
    split = _divide(pairs, config)
    for name, side in (("train", split.train), ("validate", split.validation)):
        if missing := set(categories) - {pair.category for pair in side}:
            raise UserError(
                f"Divided by group with split.seed {config.seed}, there is no image of {sorted(missing)[0]!r} to "
                f"{name}: choose another split.seed, or annotate more groups."
            )
    return split


def _given(pairs: list[Pair], column: str) -> Split:
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
    return Split(sides["train"], sides["validation"])


def _divide(pairs: Iterable[Pair], config: SplitConfig) -> Split:
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in sorted(pairs, key=lambda pair: pair.id):
        if config.group is not None:
            if not pair.columns.get(config.group):
                raise UserError(
                    f"{pair.id} has no entry in the column {config.group!r}: fill it in, or unset split.group."
                )
            pair = dataclasses.replace(pair, group=pair.columns[config.group])
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
