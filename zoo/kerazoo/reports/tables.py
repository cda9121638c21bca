"""Tables that the reports of all tasks have: classes, and images from the worst on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kerazoo.reports.page import Markup, paragraph, table

ROWS = 1000
"""So many images are listed at most, the worst ones."""


def classes_table(per_class: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> Markup:
    """The scores of every class.

    Parameters
    ----------
    per_class
        By name of the class, its scores, the same ones for all classes.
    names
        What scores are called, where it is not their own name.
    """
    columns = list(next(iter(per_class.values())))
    rows = [[name, *(values[column] for column in columns)] for name, values in per_class.items()]
    return Markup("<h3>Classes</h3>" + table(["class", *(names.get(name, name) for name in columns)], rows))


def images_table(
    per_image: Sequence[Mapping[str, Any]], order: Sequence[str], columns: Mapping[str, str], remark: str = ""
) -> Markup:
    """The scores of every image, sorted by a click on a heading.

    Parameters
    ----------
    per_image
        Entries with ``id`` and scores.
    order
        Ids, worst first.
    columns
        Headings by the names of the scores.
    remark
        A sentence on how to read the table.
    """
    by_id = {entry["id"]: entry for entry in per_image}
    rows = [[name, *(by_id[name][column] for column in columns)] for name in order[:ROWS]]
    left = f"The {ROWS} worst of {len(order)} are listed." if len(order) > ROWS else ""
    text = " ".join(filter(None, ["Worst first; click on a heading to sort.", remark, left]))
    return Markup(f"<h3>Images</h3>{paragraph(text)}" + table(["image", *columns.values()], rows, "sortable"))
