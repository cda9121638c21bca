"""The figure of explicit programming: what each step makes of three round objects, two of which touch."""

from __future__ import annotations

from kerazoo.reports.cards.svg import GREY, Drawing

WIDTH, _PANEL = 900, 148.0
STEPS = ("image", "Gaussian blur", "threshold (Otsu)", "watershed", "objects")
_OBJECTS = ((48.0, 56.0, 25.0, "#d6604d"), (84.0, 80.0, 23.0, "#5aa469"), (110.0, 32.0, 17.0, "#4c86c6"))
"""x, y, radius and colour of the label."""


def draw_steps(title: str) -> str:
    """Draw the steps from an image to single objects.

    Parameters
    ----------
    title
        What the figure shows.

    Returns
    -------
    str
        SVG, 900 pixels wide.
    """
    drawing = Drawing(WIDTH, _PANEL + 70, title)
    gap = (WIDTH - len(STEPS) * _PANEL) / (len(STEPS) + 1)
    for number, step in enumerate(STEPS):
        left, top = gap + number * (_PANEL + gap), 16.0
        drawing.rectangle(left, top, _PANEL, _PANEL, "#1d1f24")
        if number:
            drawing.line([(left - gap + 4, top + _PANEL / 2), (left - 3, top + _PANEL / 2)], GREY, 1.5, arrow=True)
        for x, y, radius, colour in _OBJECTS:
            x, y = left + x, top + y
            match step:
                case "image":
                    drawing.circle(x, y, radius, "#9aa0a8")
                    for dx, dy in ((-0.4, -0.3), (0.3, 0.35), (0.1, -0.55), (-0.25, 0.5)):  # texture
                        drawing.circle(x + dx * radius, y + dy * radius, radius / 5, "#d4d8dd")
                case "Gaussian blur":
                    for ring in range(6):
                        drawing.circle(x, y, radius * (1.15 - 0.13 * ring), "#cfd4da", opacity=0.24)
                case "objects":
                    drawing.circle(x, y, radius, colour)
                case _:
                    drawing.circle(x, y, radius, "#ffffff")
        if step in ("watershed", "objects"):
            drawing.line([(left + 50, top + 94), (left + 85, top + 42)], "#1d1f24", 3)
        drawing.text(left + _PANEL / 2, top + _PANEL + 18, step, 12)
    note = "No weight is learned: the watershed cuts where two bodies meet in a neck."
    drawing.text(WIDTH / 2, _PANEL + 58, note, 10, fill=GREY)
    return str(drawing)
