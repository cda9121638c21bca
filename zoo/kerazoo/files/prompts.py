"""Points and boxes in tables: as people write them, and as ImageJ and QuPath export measurements."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bmzpack.errors import UserError

LIMIT = 9_999
"""Most rows of a table."""
_PLACES = ("x", "y"), ("centroid x", "centroid y"), ("xm", "ym")
_BOXES = ("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax")
_FRAMES = ("bx", "by", "width", "height"), ("x", "y", "width", "height")
_LABELS = {"1": 1, "foreground": 1, "positive": 1, "": 1, "0": 0, "background": 0, "negative": 0}
_MICROMETRES = ("µm", "μm", "um", "micron", "microns")


@dataclasses.dataclass(frozen=True)
class Prompts:
    """Prompts for the objects of an image, in pixels of the image."""

    points: np.ndarray | None = None
    """float32 (object, point, 2): x and y."""
    labels: np.ndarray | None = None
    """int32 (object, point): 1 within the object, 0 outside it, -1 for no point."""
    boxes: np.ndarray | None = None
    """float32 (object, 4): x and y of the first and of the last corner."""

    @property
    def count(self) -> int:
        """Number of objects."""
        given = self.points if self.points is not None else self.boxes
        return 0 if given is None else len(given)


def read_prompts(
    points: str | os.PathLike[str] | None,
    boxes: str | os.PathLike[str] | None,
    shape: tuple[int, int],
    pixel_size: float | None = None,
) -> Prompts:
    """Read the prompts for an image.

    Parameters
    ----------
    points
        A table (comma, semicolon or tab) with columns `x` and `y`, or ImageJ's `X` and `Y`, `XM` and `YM`, or QuPath's
        `Centroid X` and `Centroid Y`. A column `object` joins the points of one object; without it every point is one.
        A column `label` tells points within the object (1, `foreground`) from those outside it (0, `background`).
    boxes
        A table with `x0`, `y0`, `x1`, `y1`, or `xmin`, `ymin`, `xmax`, `ymax`, or `x`, `y`, `width`, `height`, or
        ImageJ's `BX`, `BY`, `Width`, `Height`. With points of objects that have a number, in the order of the numbers.
    shape
        Height and width of the image.
    pixel_size
        Micrometres per pixel, for columns in micrometres (`Centroid X µm`).

    Returns
    -------
    Prompts
        Prompts for at least one object.

    Raises
    ------
    UserError
        A table cannot be read, has no such columns, is too long, or a prompt lies outside of the image or has no area.
    """
    found = Prompts()
    if points is not None:
        found = dataclasses.replace(found, **_points(Path(points), shape, pixel_size))
    if boxes is not None:
        found = dataclasses.replace(found, boxes=_boxes(Path(boxes), shape, pixel_size))
    if found.points is not None and found.boxes is not None and len(found.points) != len(found.boxes):
        raise UserError(
            f"{points} has points of {len(found.points)} objects, but {boxes} has {len(found.boxes)} boxes: each "
            "object needs both, or give one of the two."
        )
    return found


def _points(path: Path, shape: tuple[int, int], pixel_size: float | None) -> dict[str, np.ndarray]:
    header, rows = _table(path)
    places = _numbers(path, header, rows, _PLACES, pixel_size, "points need x and y")
    _check_inside(path, places, shape)
    labels = [1] * len(rows)
    if "label" in header and _are_labels(rows, header.index("label")):
        labels = [_LABELS[row[header.index("label")].strip().lower()] for row in rows]
    objects: Sequence[str | int] = range(len(rows))
    if "object" in header:
        objects = [row[header.index("object")].strip() for row in rows]
    known = sorted(set(objects), key=lambda name: (len(str(name)), str(name)))
    members = {name: [place for place, other in enumerate(objects) if other == name] for name in known}
    longest = max(map(len, members.values()))
    kept = np.zeros((len(known), longest, 2), np.float32)
    kinds = np.full((len(known), longest), -1, np.int32)
    for number, name in enumerate(known):
        for position, row in enumerate(members[name]):
            kept[number, position], kinds[number, position] = places[row], labels[row]
        if not (kinds[number] == 1).any():
            raise UserError(f"{path}: object {name} has no point within it: give one with label 1.")
    return {"points": kept, "labels": kinds}


def _are_labels(rows: list[list[str]], column: int) -> bool:
    """ImageJ has the name of the image in a column of this name."""
    return all(row[column].strip().lower() in _LABELS for row in rows)


def _boxes(path: Path, shape: tuple[int, int], pixel_size: float | None) -> np.ndarray:
    header, rows = _table(path)
    framed = any(all(name in _plain(header) for name in names) for names in _FRAMES)
    message = "boxes need x0, y0, x1 and y1, or x, y, width and height"
    boxes = _numbers(path, header, rows, _FRAMES if framed else _BOXES, pixel_size, message)
    if framed:
        boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    for number, box in enumerate(boxes, start=1):
        if not (box[2:] > box[:2]).all():
            raise UserError(
                f"{path}, row {number}: the box has no area; its last corner is right of and below its first."
            )
    height, width = shape
    boxes[:, 2] = np.where(boxes[:, 2] == width, width - 1, boxes[:, 2])
    boxes[:, 3] = np.where(boxes[:, 3] == height, height - 1, boxes[:, 3])
    _check_inside(path, boxes.reshape(-1, 2, 2), shape)
    return boxes.astype(np.float32)


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Names of the columns in small letters, and the rows."""
    if not path.is_file():
        raise UserError(f"There is no table {path}: check the name.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8: save the table as CSV.") from error
    first = text.partition("\n")[0]
    delimiter = max("\t;,", key=first.count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise UserError(f"{path} has no rows below its names of columns: it needs at least one prompt.")
    if len(rows) - 1 > LIMIT:
        raise UserError(f"{path} has {len(rows) - 1:,} rows, more than {LIMIT:,} prompts: divide it.")
    header = [name.strip().lower() for name in rows[0]]
    short = next((number for number, row in enumerate(rows[1:], start=1) if len(row) < len(header)), None)
    if short is not None:
        raise UserError(f"{path}, row {short}: it has fewer cells than there are columns.")
    return header, rows[1:]


def _plain(header: list[str]) -> list[str]:
    """Names of columns without their units."""
    return [_unit(name)[0] for name in header]


def _unit(name: str) -> tuple[str, str]:
    words = name.replace("(", " ").replace(")", " ").replace("[", " ").replace("]", " ").split()
    if len(words) > 1 and words[-1] in ("px", "pixel", "pixels", *_MICROMETRES):
        return " ".join(words[:-1]), words[-1]
    return " ".join(words), ""


def _numbers(
    path: Path,
    header: list[str],
    rows: list[list[str]],
    choices: Sequence[tuple[str, ...]],
    pixel_size: float | None,
    message: str,
) -> np.ndarray:
    """float64 (row, column) of the first names that the table has, in pixels."""
    plain = _plain(header)
    names = next((names for names in choices if all(name in plain for name in names)), None)
    if names is None:
        raise UserError(f"{path} has the columns {', '.join(header)}: {message}.")
    values = np.empty((len(rows), len(names)))
    for column, name in enumerate(names):
        place = plain.index(name)
        factor = 1.0
        if _unit(header[place])[1] in _MICROMETRES:
            if pixel_size is None:
                raise UserError(
                    f"{path}: {header[place]} is in micrometres, but the image does not say how large its pixels are: "
                    "export the table in pixels."
                )
            factor = 1 / pixel_size
        for row, cells in enumerate(rows):
            try:
                values[row, column] = float(cells[place].strip().replace(",", ".")) * factor
            except ValueError as error:
                raise UserError(f"{path}, row {row + 1}: {name} is {cells[place]!r}, which is no number.") from error
    if not np.isfinite(values).all():
        raise UserError(f"{path}, row {int(np.argwhere(~np.isfinite(values))[0, 0]) + 1}: a coordinate is not finite.")
    return values


def _check_inside(path: Path, places: np.ndarray, shape: tuple[int, int]) -> None:
    height, width = shape
    outside = ((places < 0) | (places > np.array([width, height]) - 1)).reshape(len(places), -1).any(axis=1)
    if outside.any():
        row = int(np.argmax(outside))
        x, y = places[row].reshape(-1, 2)[-1]
        raise UserError(
            f"{path}, row {row + 1}: ({x:g}, {y:g}) lies outside of the image, which is {width} x {height} pixels; the "
            "first pixel is (0, 0)."
        )
