"""Tables that name images, with their annotations or their classes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Literal

from bmzpack.errors import UserError
from kerazoo.files.pair import Pair, stem_of


def read_table(table: Path, columns: tuple[str, str] = ("image", "mask")) -> list[Pair]:
    """Pairs of a CSV file.

    Cells may be separated by commas, semicolons (as Excel writes them in many countries) or tabs, and be quoted; spaces
    around them do not count.

    Parameters
    ----------
    table
        The file; relative paths in it are taken from its folder.
    columns
        `image` and `mask`, or `file` and `class`; a column `group` may be there too.

    Returns
    -------
    list of Pair
        In the table's order.

    Raises
    ------
    UserError
        The table or a file of it is missing, a column is missing or there twice, a line has more cells than the first
        one, or an image is named twice.
    """
    first, second = columns
    if not table.is_file():
        raise UserError(f"There is no table {table}: write a CSV file with the columns {first}, {second}.")
    (_, present), *rows = _cells(table) or [(1, [])]
    for column in columns:
        if column not in present:
            wanted = "file, class (one class per image)" if "class" in columns else "image, mask"
            other = " or, of images with one class each, file, class" if "mask" in columns else ""
            raise UserError(
                f"{table} has no column {column!r} (it has {', '.join(present) or 'none'}): name the columns "
                f"{wanted}{other} in its first line."
            )
        if present.count(column) > 1:
            raise UserError(f"{table} has {present.count(column)} columns {column!r}: rename all but one.")
    if not rows:
        raise UserError(f"{table} has no rows: add one line per image.")
    return list(_pairs_of_rows(table, columns, present, rows).values())


def _pairs_of_rows(
    table: Path, columns: tuple[str, str], present: list[str], rows: list[tuple[int, list[str]]]
) -> dict[str, Pair]:
    first = columns[0]
    for line, cells in rows:
        if len(cells) > len(present):
            raise UserError(
                f"{table}, line {line}: there are {len(cells)} cells, but the first line names {len(present)} columns; "
                "put names with a separator in them in quotes."
            )
    named = [(line, dict.fromkeys(present, "") | dict(zip(present, cells, strict=False))) for line, cells in rows]
    stems = [stem_of(Path(row[first])) for _, row in named]
    unique = len(set(stems)) == len(stems)
    pairs: dict[str, Pair] = {}
    for stem, (line, row) in zip(stems, named, strict=True):
        files = {}
        for column in columns:
            if not row[column]:
                raise UserError(f"{table}, line {line}: the column {column!r} is empty; fill it or remove the line.")
            if column != "class":
                files[column] = table.parent / row[column]
                if not files[column].exists():  # as Windows writes it
                    files[column] = table.parent / PureWindowsPath(row[column]).as_posix()
                if not files[column].exists():
                    raise UserError(
                        f"{table}, line {line}: there is no file {files[column]}; correct or remove the line."
                    )
        name = stem if unique else row[first]
        if name in pairs:
            raise UserError(f"{table}, line {line}: {row[first]} is named twice; remove one of the lines.")
        category = row["class"] if "class" in columns else None
        pairs[name] = Pair(name, files[first], files.get("mask"), row.get("group") or None, row, category)
    return pairs


def _cells(table: Path) -> list[tuple[int, list[str]]]:
    """The lines of a CSV file that are not empty: their numbers and their cells, without spaces around them."""
    try:
        text = table.read_text(encoding="utf-8-sig")
        heading = text.lstrip().partition("\n")[0]
        # That which makes most of the first line; csv.Sniffer guesses at names with spaces and underscores too.
        separator = max(",;\t", key=lambda mark: len(next(csv.reader([heading], delimiter=mark), [])))
        reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table} is not a CSV file in UTF-8 ({error}): save it as one.") from error
    return [(line, cells) for line, cells in rows if any(cells)]


def annotation_of(places: Mapping[str, Path]) -> Literal["image", "classes"]:
    """Whether images have one class each (`image`), or masks (`classes`): by what is named, or by a table's columns.

    Parameters
    ----------
    places
        Those of `images`, `masks`, `folder`, `table` that are given.
    """
    if "folder" in places:
        return "image"
    if "table" in places and places["table"].is_file():
        columns = next(iter(_cells(places["table"])), (1, []))[1]
        return "image" if "class" in columns or ("file" in columns and "mask" not in columns) else "classes"
    return "classes"
