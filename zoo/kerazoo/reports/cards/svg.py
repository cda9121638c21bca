"""A drawing as SVG text: the same on every machine, to the byte."""

from __future__ import annotations

from html import escape

INK, GREY, PAPER = "#222222", "#767676", "#ffffff"


class Drawing:
    """Shapes on white paper, one element a line.

    Parameters
    ----------
    width, height
        In pixels of the user space.
    title
        What the drawing shows, for those who cannot see it.
    """

    def __init__(self, width: float, height: float, title: str) -> None:
        self._head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_number(width)} {_number(height)}" '
            f'width="{_number(width)}" height="{_number(height)}" font-family="Helvetica, Arial, sans-serif">'
        )
        self._lines = [f"<title>{escape(title)}</title>"]
        self.rectangle(0, 0, width, height, PAPER)

    def rectangle(
        self, x: float, y: float, width: float, height: float, fill: str, stroke: str = "none", round: float = 0
    ) -> None:
        """A filled rectangle; x and y are its upper left corner."""
        self._add("rect", x=x, y=y, width=width, height=height, rx=round, fill=fill, stroke=stroke)

    def circle(self, x: float, y: float, radius: float, fill: str, stroke: str = "none", opacity: float = 1) -> None:
        """A filled circle around x and y."""
        self._add("circle", cx=x, cy=y, r=radius, fill=fill, stroke=stroke, fill_opacity=opacity)

    def line(
        self, points: list[tuple[float, float]], stroke: str = GREY, width: float = 1, arrow: bool = False
    ) -> None:
        """A line through points, its corners rounded; with an arrow head that points along its last piece."""
        self._add("path", d=_path(points), fill="none", stroke=stroke, stroke_width=width)
        if arrow:
            (x0, y0), (x, y) = points[-2:]
            length = ((x - x0) ** 2 + (y - y0) ** 2) ** 0.5
            u, v = (x - x0) / length, (y - y0) / length
            corners = ((x, y), (x - 6 * u + 3 * v, y - 6 * v - 3 * u), (x - 6 * u - 3 * v, y - 6 * v + 3 * u))
            self._add("polygon", points=" ".join(f"{_number(a)},{_number(b)}" for a, b in corners), fill=stroke)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 11,
        anchor: str = "middle",
        fill: str = INK,
        bold: bool = False,
    ) -> None:
        """A line of text; y is that of its baseline."""
        weight = "bold" if bold else "normal"
        self._add("text", escape(text), x=x, y=y, font_size=size, text_anchor=anchor, font_weight=weight, fill=fill)

    def __str__(self) -> str:
        return "\n".join([self._head, *self._lines, "</svg>"]) + "\n"

    def _add(self, tag: str, content: str = "", **attributes: float | str) -> None:
        written = " ".join(
            f'{name.replace("_", "-")}="{value if isinstance(value, str) else _number(value)}"'
            for name, value in attributes.items()
            if value not in ("none", "normal") or name == "fill"
        )
        self._lines.append(f"<{tag} {written}>{content}</{tag}>" if content else f"<{tag} {written}/>")


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _path(points: list[tuple[float, float]], radius: float = 6) -> str:
    """A path whose corners between the first and the last point are quarters of circles, or as near as they fit."""
    parts = [f"M{_number(points[0][0])} {_number(points[0][1])}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        start, end = (_towards(corner, other, radius) for other in (before, after))
        parts.append(f"L{_number(start[0])} {_number(start[1])}")
        parts.append(f"Q{_number(corner[0])} {_number(corner[1])} {_number(end[0])} {_number(end[1])}")
    return " ".join([*parts, f"L{_number(points[-1][0])} {_number(points[-1][1])}"])


def _towards(start: tuple[float, float], end: tuple[float, float], distance: float) -> tuple[float, float]:
    length = ((end[0] - start[0]) ** 2 + (end[1] - start[1]) ** 2) ** 0.5
    part = min(0.5, distance / length) if length else 0
    return start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1])
