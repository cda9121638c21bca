"""HTML of a page that needs no other file and no network: paragraphs, tables, figures, and the page around them."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

LARGEST_PNG = 700_000
"""Figures of more bytes are embedded as JPEG."""


class Markup(str):
    """Text that is HTML already; all other text is escaped."""


def page(title: str, head: Sequence[Markup], sections: Mapping[str, Sequence[Markup]]) -> str:
    """A whole page.

    Parameters
    ----------
    title
        Its title and largest heading.
    head
        What stands above the links to the sections.
    sections
        The parts of every section by its heading.
    """
    body = [
        Markup(f"<header><h1>{html.escape(title)}</h1>"),
        *head,
        Markup("<nav>" + " ".join(f'<a href="#{_anchor(name)}">{name}</a>' for name in sections) + "</nav></header>"),
    ]
    for name, parts in sections.items():
        body += [Markup(f'<section id="{_anchor(name)}"><h2>{name}</h2>'), *parts, Markup("</section>")]
    return _PAGE.replace("{title}", html.escape(title)).replace("{body}", "\n".join(body))


def tiles(entries: Iterable[tuple[float | None, str, str]]) -> Markup:
    """Numbers that are seen at first sight.

    Parameters
    ----------
    entries
        Value, name and note of every tile; without a value there is no tile.
    """
    shown = []
    for value, name, note in entries:
        if value is not None:
            note = f"<small>{html.escape(note)}</small>" if note else ""
            shown.append(f"<div><b>{value:.3f}</b><span>{html.escape(name)}</span>{note}</div>")
    return Markup(f'<div class="tiles">{"".join(shown)}</div>')


def figure(path: Path, caption: str) -> Markup:
    """A picture with its caption, or a sentence where the file is missing."""
    if not path.is_file():
        return paragraph("This figure was not drawn yet.")
    kind, content = "png", path.read_bytes()
    if len(content) > LARGEST_PNG:
        buffer = io.BytesIO()
        Image.open(path).convert("RGB").save(buffer, "JPEG", quality=88, subsampling=0, optimize=True)
        kind, content = "jpeg", buffer.getvalue()
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    caption = html.escape(caption)
    return Markup(f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>')


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], kind: str = "") -> Markup:
    """A table; numbers with three decimals, a dash for None.

    Parameters
    ----------
    header
        Headings of the columns; all empty for none.
    rows
        Cells.
    kind
        `facts`, `sortable` (by a click on a heading), or neither.
    """
    head = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in header)
    head = f"<thead><tr>{head}</tr></thead>" if any(header) else ""
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return Markup(f'<div class="scroll"><table class="{kind}">{head}<tbody>{body}</tbody></table></div>')


def paragraph(text: str) -> Markup:
    """A paragraph of text, see `inline`."""
    return Markup(f"<p>{inline(text)}</p>")


def points(texts: Iterable[str]) -> Markup:
    """A list of short texts, see `inline`."""
    return Markup("<ul>" + "".join(f"<li>{inline(text)}</li>" for text in texts) + "</ul>")


def inline(text: str) -> Markup:
    """Escaped text with the Markdown of `code` and *menus*."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
    return Markup(re.sub(r"\*([^*]+)\*", r"<em>\1</em>", text))


def _cell(value: Any) -> str:
    if value is None:
        return '<td class="number">–</td>'
    if isinstance(value, float):
        return f'<td class="number">{value:.3f}</td>'
    return f"<td>{value if isinstance(value, Markup) else html.escape(str(value))}</td>"


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root { --ink: #222; --soft: #666; --line: #ddd; --accent: #0072b2; }
body { margin: 0 auto; padding: 1.5rem; max-width: 62rem; color: var(--ink); background: #fff;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { margin: 0 0 .3rem; font-size: 1.8rem; line-height: 1.2; }
h2 { margin: 2.5rem 0 .6rem; padding-bottom: .2rem; border-bottom: 2px solid var(--accent); font-size: 1.35rem; }
h3 { margin: 1.6rem 0 .4rem; font-size: 1.05rem; }
p, dd, li { max-width: 46rem; }
li { margin: .3rem 0; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin-top: 1rem; }
a { color: var(--accent); }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0; }
.tiles div { flex: 1 1 10rem; padding: .7rem 1rem; border: 1px solid var(--line); border-radius: .4rem;
  border-left: .3rem solid var(--accent); }
.tiles b { display: block; font-size: 1.7rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tiles span, .tiles small { display: block; }
.tiles small, figcaption { color: var(--soft); font-size: .85rem; }
figure { margin: .8rem 0; }
img { max-width: 100%; height: auto; }
.scroll { max-height: 36rem; overflow: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .88rem; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { position: sticky; top: 0; background: #f4f7fa; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
td:first-child { white-space: nowrap; }
.sortable th { cursor: pointer; }
.facts td:first-child { color: var(--soft); white-space: nowrap; }
.facts td { overflow-wrap: anywhere; }
dt { margin-top: .6rem; font-weight: 600; }
dd { margin: 0; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .88em; }
code { padding: 0 .2em; background: #f4f7fa; overflow-wrap: anywhere; }
pre { padding: .8rem; overflow: auto; background: #f4f7fa; }
summary { cursor: pointer; color: var(--accent); }
@media print { .scroll { max-height: none; overflow: visible; } nav { display: none; } }
</style>
</head>
<body>
{body}
<script>
for (const head of document.querySelectorAll(".sortable th")) {
  head.addEventListener("click", () => {
    const body = head.closest("table").tBodies[0], column = head.cellIndex;
    const order = head.dataset.order = head.dataset.order === "1" ? "-1" : "1";
    const key = row => { const text = row.cells[column].textContent, number = parseFloat(text);
      return column === 0 || isNaN(number) ? text : number; };
    const compare = (a, b) => typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "string" ? 1 : -1;
    body.append(...[...body.rows].sort((a, b) => order * compare(key(a), key(b))));
  });
}
</script>
</body>
</html>
"""
