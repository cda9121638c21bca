"""The split depends on ids, groups and seed only, and never separates a group."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmzpack.errors import UserError
from kerazoo.config import SplitConfig
from kerazoo.data.split import group_column, split_pairs
from kerazoo.files.pairs import Pair


def pairs(count, group=lambda number: None):
    return [
        Pair(f"image{n:03d}", Path(f"{n}.tif"), Path(f"{n}.png"), group(n), {"plate": str(n % 4)}) for n in range(count)
    ]


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.sampled_from("abcdef")), min_size=2, max_size=40),
    st.floats(0.05, 0.95),
    st.integers(0, 99),
)
def test_every_pair_once_and_groups_whole(groups, fraction, seed):
    given_pairs = pairs(len(groups), lambda number: groups[number])
    config = SplitConfig(validation=fraction, seed=seed)
    if len({pair.group or pair.id for pair in given_pairs}) < 2:
        with pytest.raises(UserError, match="only 1 group"):
            split_pairs(given_pairs, config)
        return
    split = split_pairs(given_pairs, config)
    assert sorted(split.train + split.validation, key=lambda pair: pair.id) == given_pairs
    assert split.train
    assert split.validation
    assert not {p.group for p in split.train if p.group} & {p.group for p in split.validation if p.group}
    assert split_pairs(reversed(given_pairs), config) == split


def test_fraction_and_seed():
    split = split_pairs(pairs(200), SplitConfig())
    assert len(split.validation) == 40
    assert split_pairs(pairs(200), SplitConfig(seed=2)) != split


def test_named_column():
    split = split_pairs(pairs(20), SplitConfig(group="plate", validation=0.25))
    assert len({pair.group for pair in split.validation}) == 1
    assert len(split.validation) == 5
    with pytest.raises(UserError, match="'mouse'"):
        split_pairs(pairs(20), SplitConfig(group="mouse"))


def test_one_image_is_not_enough():
    with pytest.raises(UserError, match="only 1 image"):
        split_pairs(pairs(1), SplitConfig())


def classes(count, group=None):
    """So many images of each of two classes."""
    return [
        Pair(f"{name}/{n:02d}", Path("x.png"), category=name, group=group and group(name, n), columns={"side": side(n)})
        for name in "ab"
        for n in range(count)
    ]


def side(number):
    return "validation" if number % 3 == 0 else "train"


def test_every_class_is_divided():
    split = split_pairs(classes(10), SplitConfig(validation=0.3))
    for members, expected in ((split.train, 7), (split.validation, 3)):
        assert [sum(pair.category == name for pair in members) for name in "ab"] == [expected, expected]
    with pytest.raises(UserError, match="'a' has only one image"):
        split_pairs(classes(1), SplitConfig())


def test_groups_go_before_classes():
    split = split_pairs(classes(10, lambda name, n: f"patient{n // 2}"), SplitConfig(validation=0.4))
    assert not {pair.group for pair in split.train} & {pair.group for pair in split.validation}
    with pytest.raises(UserError, match=r"no image of '[ab]' to \w+: choose another split.seed"):
        split_pairs(classes(4, lambda name, n: f"{name}{n > 0}"), SplitConfig(validation=0.01))


def test_one_patient_per_class_cannot_be_divided_by_any_seed():
    with pytest.raises(UserError, match=r"'a' have the group 'p-a': whatever split\.seed") as raised:
        split_pairs(classes(10, lambda name, n: f"p-{name}"), SplitConfig())
    assert "choose another split.seed" not in str(raised.value)


def table(rows):
    """Pairs of a table: one class and one dict of columns each."""
    return [Pair(f"{n:02d}", Path("x.png"), category=name, columns=columns) for n, (name, columns) in enumerate(rows)]


def test_a_column_that_is_not_there_is_named_with_those_that_are():
    for setting in ("group", "column"):
        with pytest.raises(
            UserError, match=f"split.{setting} is 'patients', .* no such column: the table has side\\.$"
        ):
            split_pairs(classes(6), SplitConfig(**{setting: "patients"}))
        with pytest.raises(UserError, match=r"no such column: list the images in a CSV file, data\.table"):
            split_pairs([Pair(str(n), Path("x.png")) for n in range(4)], SplitConfig(**{setting: "patient"}))
    with pytest.raises(UserError, match="01 has no entry in the column 'patient'"):
        split_pairs(table([("a", {"patient": "p"}), ("b", {"patient": ""})]), SplitConfig(group="patient"))


def test_a_given_division_may_not_divide_a_patient():
    rows = [("ab"[n % 2], {"side": side(n // 2), "patient": f"p{n // 4}"}) for n in range(12)]
    assert len(split_pairs(table(rows), SplitConfig(column="side")).validation) == 4
    with pytest.raises(UserError, match=r"'side' puts images of one patient, 'p0' \(and 1 more\), on both sides"):
        split_pairs(table(rows), SplitConfig(column="side", group="patient"))
    whole = [(name, columns | {"patient": columns["side"] + name}) for name, columns in rows]
    assert len(split_pairs(table(whole), SplitConfig(column="side", group="patient")).validation) == 4
    own = [Pair(str(n), Path("x.png"), group="g", columns={"side": side(n)}) for n in range(4)]
    with pytest.raises(UserError, match="one group, 'g', on both sides"):
        split_pairs(own, SplitConfig(column="side"))


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"slide": "0011", "patient": "0011"}, "patient"),
        ({"stain": "0011", "Slide ID": "0011"}, "Slide ID"),
        ({"stain": "0011", "slideId": "0101"}, "slideId"),
        ({"patient": "0123", "slide": "0011"}, "slide"),
        ({"patient": "0000", "casein": "0011", "impatient": "0011"}, None),
        ({"patient": ["a", "a", "b", ""]}, None),
    ],
)
def test_columns_that_tell_what_belongs_together(columns, found):
    rows = [("a", dict(zip(columns, entries, strict=True))) for entries in zip(*columns.values(), strict=True)]
    assert group_column(table(rows)) == found


def test_a_column_of_the_table_divides():
    split = split_pairs(classes(6), SplitConfig(column="side"))
    assert [pair.id for pair in split.validation] == ["a/00", "a/03", "b/00", "b/03"]
    with pytest.raises(UserError, match="'no entry' in the column 'side'"):
        split_pairs(table([("a", {"side": "train"}), ("b", {"side": ""})]), SplitConfig(column="side"))
    with pytest.raises(UserError, match="No image has train"):
        split_pairs(classes(1), SplitConfig(column="side"))
