"""All cards and figures at once: written, or compared with those that are there."""

from __future__ import annotations

import os
from pathlib import Path

from bmzpack.errors import UserError
from bmzpack.files import new_file
from kerazoo.models.entry import Model
from kerazoo.models.registry import list_models
from kerazoo.reports.cards.architecture import draw_architecture
from kerazoo.reports.cards.built import BuiltNetwork, build_network
from kerazoo.reports.cards.card import figure_title, render_card, render_index
from kerazoo.reports.cards.graph import read_blocks, summarise
from kerazoo.reports.cards.neurons import draw_neurons
from kerazoo.reports.cards.records import read_records
from kerazoo.reports.cards.steps import draw_steps

MOST_BLOCKS = 100
"""Blocks of a figure."""


def render_all(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Render every card of the registry, its figure, and the index.

    Parameters
    ----------
    folder
        The folder of the cards; their records are in its folder `records`.

    Returns
    -------
    dict
        Text by name of the file within ``folder``.

    Raises
    ------
    UserError
        A record cannot be read, is one of another model, or of one that the zoo does not have.
    """
    entries, texts = list_models(), {}
    known = {entry.name for entry in entries}
    for path in sorted(Path(folder, "records").glob("*")):
        if path.is_dir() and path.name not in known:
            raise UserError(f"{path} holds records of a model that is not in the registry: rename or remove it.")
    records = {entry.name: read_records(Path(folder, "records"), entry.name) for entry in entries}
    for entry in entries:
        network = build_network(entry) if entry.builder else None
        figure = _draw(entry, network)
        texts[f"{entry.name}.md"] = render_card(entry, network, records[entry.name], figure=figure is not None)
        if figure is not None:
            texts[f"figures/{entry.name}.svg"] = figure
    texts["README.md"] = render_index(entries, records)
    return texts


def write_cards(folder: str | os.PathLike[str]) -> list[Path]:
    """Write what `render_all` gives; cards and figures of models that are gone are removed.

    Parameters
    ----------
    folder
        Gets the cards; what is there of the same names is replaced.

    Returns
    -------
    list of Path
        The files that have changed.

    Raises
    ------
    UserError
        As in `render_all`, or the folder cannot be written.
    """
    texts = render_all(folder)
    changed = [Path(folder, name) for name in stale_cards(folder, texts)]
    for path in changed:
        name = path.relative_to(folder).as_posix()
        if name in texts:
            with new_file(path, overwrite=True) as new:
                new.write_text(texts[name], encoding="utf-8", newline="\n")
        else:
            path.unlink()
    return changed


def stale_cards(folder: str | os.PathLike[str], texts: dict[str, str] | None = None) -> list[str]:
    """What is not as it would be rendered now.

    Parameters
    ----------
    folder
        The folder of the cards.
    texts
        From `render_all`, if that was called already.

    Returns
    -------
    list of str
        Names of files within ``folder`` that differ, are missing, or belong to no model any more.

    Raises
    ------
    UserError
        As in `render_all`.
    """
    texts = render_all(folder) if texts is None else texts
    folder = Path(folder)
    there = {path.relative_to(folder).as_posix() for path in [*folder.glob("*.md"), *folder.glob("figures/*.svg")]}
    stale = [name for name, text in texts.items() if name not in there or _read(folder / name) != text]
    return [*stale, *sorted(there - set(texts))]


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def _draw(entry: Model, network: BuiltNetwork | None) -> str | None:
    """The figure; None where it would have more blocks than can be told apart."""
    title = figure_title(entry)
    if network is None:
        return draw_steps(title)
    blocks = summarise(read_blocks(network.model))
    if len(blocks) > MOST_BLOCKS:
        return None
    draw = draw_architecture if network.takes_images else draw_neurons
    return draw(blocks, title, ", ".join(network.outputs))
