"""Options of `kerazoo init` that are more than one value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bmzpack.errors import UserError


def class_settings(options: Iterable[str]) -> dict[str, Any]:
    """The settings of some ``--class NAME=VALUE`` or ``NAME=#RRGGBB``.

    Raises
    ------
    UserError
        One is not of this form.
    """
    names: list[str] = []
    values: list[int | str] = []
    for option in options:
        name, separator, value = option.rpartition("=")
        is_number = value.lstrip("-").isdecimal()
        if not (name and separator and (is_number or value.startswith("#"))):
            raise UserError(
                f"--class {option}: write it as NAME=VALUE or NAME=#RRGGBB, such as nucleus=1, nucleus=#FF0000."
            )
        names.append(name)
        values.append(int(value) if is_number else value.upper())
    if not names:
        return {}
    return {"classes": names, "class_values": values, "annotation": "classes"}
