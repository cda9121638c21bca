"""rdf.yaml: entries in the form that all programs read, saying the same as before."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from bmzpack.bundle.described import every_axis
from bmzpack.bundle.values import source_of
from bmzpack.consumers.conditions import jdll_model, metadata, tensor_data, weights_files
from bmzpack.consumers.registry import CONSUMERS
from bmzpack.consumers.verdicts import check_contents
from bmzpack.describe import rdf
from bmzpack.describe.nickname import nickname
from bmzpack.repairs.work import Work
from bmzpack.weights.registry import FOREIGN, FORMATS

LISTS = ("attachments", "authors", "cite", "covers", "inputs", "links", "maintainers", "outputs", "tags")
PREFERENCE = [
    form.name for form in sorted([*FORMATS.values(), *FOREIGN.values()], key=lambda form: not form.keeps_layers)
]
"""The format that is taken for the original where the description does not say."""


def forms(work: Work) -> None:
    """D1: what can only be meant in one way."""
    for key in LISTS:
        if isinstance(work.rdf.get(key), str | Mapping):
            work.rdf[key] = [work.rdf[key]]
            work.changed("D1", key, f"{key} is a list of one entry now.")
    if "type" not in work.rdf and {"inputs", "outputs", "weights"} <= set(work.rdf):
        work.rdf["type"] = "model"
        work.changed("D1", "type", "The type is model.")


def plain_files(work: Work) -> None:
    """R1: documentation and covers as plain texts, in the last format that has them so."""
    if work.contents.is_old:
        return
    holders: list[tuple[Any, Any, str]] = [(work.rdf, "documentation", "documentation")]
    covers = work.rdf.get("covers")
    holders += [(covers, n, f"covers.{n}") for n in range(len(covers) if isinstance(covers, list) else 0)]
    for holder, key, place in holders:
        entry = holder[key] if key != "documentation" else holder.get(key)
        source = source_of(entry)
        if not isinstance(entry, Mapping) or source is None:
            continue
        if place in work.suspects:
            work.left("R1", place, "Without its checksum nobody would see that the file is another one.")
            continue
        holder[key] = source
        work.changed("R1", place, f"The file name stands alone: {source}.")
    numbers = work.contents.version_numbers
    plain = isinstance(work.rdf.get("documentation"), str) or any(isinstance(cover, str) for cover in covers or ())
    if numbers[:2] == (0, 5) and numbers > metadata.LAST_PLAIN and plain:
        before = work.contents.version
        work.rdf["format_version"] = rdf.FORMAT_VERSION
        work.changed("R1", "format_version", f"The format is {rdf.FORMAT_VERSION}, it was {before}.")


def names(work: Work) -> None:
    """R2: a nickname. An id stays, as a model from the zoo has it from there, unless it can be none of the zoo's."""
    own = work.rdf.get("id")
    if own is not None and not (isinstance(own, str) and re.fullmatch(r"[a-z0-9_.-]+(/[a-z0-9_.-]+)*", own)):
        del work.rdf["id"]
        work.changed("R2", "id", f"The id {own!r} is taken out: the zoo gives it.")
    if [*metadata.missing_nickname(work.contents)]:
        config = work.rdf["config"]
        if not isinstance(config.setdefault("bioimageio", {}), dict):
            work.left("R2", "config.bioimageio", "It is no mapping of keys to values.")
            return
        config["bioimageio"]["nickname"] = nickname(_seed(work))
        work.changed("R2", "config.bioimageio.nickname", f"The nickname is {config['bioimageio']['nickname']}.")


def stardist(work: Work) -> None:
    """R11: a configuration of StarDist under another name, so that JDLL runs the network itself."""
    if [*jdll_model.sent_to_stardist(work.contents)] and "bmzpack" not in work.rdf["config"]:
        work.rdf["config"]["bmzpack"] = {"stardist": work.rdf["config"].pop("stardist")}
        work.changed("R11", "config.stardist", "It is config.bmzpack.stardist now, and JDLL runs the network itself.")


def versions(work: Work) -> None:
    """R4: versions as texts of three numbers, as they were written."""
    for occurrence in [*weights_files.versions_without_three_numbers(work.contents)]:
        holder, _, key = occurrence.where.rpartition(".")
        entry = work.at(holder)
        written = work.written(occurrence.where)
        if not isinstance(entry, dict) or written is None or not re.fullmatch(r"\d+(\.\d+){0,2}", written):
            work.left("R4", occurrence.where, "It is no version of numbers.")
            continue
        entry[key] = ".".join([*written.split("."), "0", "0"][:3])
        work.changed("R4", occurrence.where, f"The version is the text {entry[key]!r}, it was {written}.")


def axis_ids(work: Work) -> None:
    """R5: ids that the specification fills in, and JDLL (AxisV05) does not."""
    if work.contents.is_old:
        return
    for _, axis in every_axis(work.contents.tensors):
        entry = work.at(axis.place)
        if isinstance(entry, dict) and entry.get("type") == "space" and "id" not in entry:
            entry["id"] = axis.id
            work.changed("R5", axis.place, f"The axis without an id is {axis.id}, as the specification has it.")


def channel_names(work: Work) -> None:
    """R5: names of channels, as many as the test tensor has."""
    if work.contents.is_old:
        return
    for tensor in work.contents.tensors:
        for number, axis in enumerate(tensor.axes):
            entry, array = work.at(axis.place), work.contents.array(tensor)
            shape = array.shape if isinstance(array, np.ndarray) else ()
            nameless = isinstance(entry, dict) and entry.get("type") == "channel" and "channel_names" not in entry
            if nameless and len(shape) == len(tensor.axes):
                entry.pop("size", None)  # which is that of the names
                entry["channel_names"] = [f"channel{n + 1}" for n in range(shape[number])]
                names = ", ".join(entry["channel_names"])
                work.changed(
                    "R5", axis.place, f"The channels of {tensor.id} are called {names}: give them better names."
                )


def samples(work: Work) -> None:
    """R8: leave out sample tensors that are not the test tensors."""
    for occurrence in [*tensor_data.sample_tensors_that_differ(work.contents)]:
        holder, _, key = occurrence.where.rpartition(".")
        if work.contents.is_old:
            which, _, index = holder.partition(".")
            key = f"sample_{which}"
            if len(work.rdf[key]) > 1:
                work.left("R8", f"{key}.{index}", "Format 0.4 has sample tensors for all or none.")
                continue
            del work.rdf[key]
        else:
            del work.at(holder)[key]
        work.changed("R8", occurrence.where, f"The sample tensor is taken out: {occurrence.found}")


def parents(work: Work) -> None:
    """W5: one original, and the others made from it."""
    entries = {name: entry for name in work.contents.weights if isinstance(entry := work.at(f"weights.{name}"), dict)}
    if not entries:
        return
    originals = [name for name in entries if not entries[name].get("parent")] or list(entries)
    original = min(originals, key=lambda name: PREFERENCE.index(name) if name in PREFERENCE else len(PREFERENCE))
    for name, entry in entries.items():
        parent = entry.get("parent")
        if name == original and parent:
            del entry["parent"]
            work.changed("W5", f"weights.{name}.parent", f"{name} is the original now; its parent was {parent}.")
        elif name != original and (parent == name or parent not in [*entries]):
            entry["parent"] = original
            work.changed("W5", f"weights.{name}.parent", f"The parent of {name} is {original}.")


def links(work: Work) -> None:
    """R9: the entries of programs that can open the bundle."""
    for name, verdict in check_contents(work.contents).consumers.items():
        if verdict.verdict != "fails" and any(finding.rule == "R9" for finding in verdict.findings):
            link = CONSUMERS[name].link
            found = work.rdf.get("links")
            work.rdf["links"] = [*(found if isinstance(found, list) else []), link]
            work.changed("R9", "links", f"{link} is among the links.")


def _seed(work: Work) -> str:
    """The checksum of the first weights file, or of the description where there is none."""
    for name in PREFERENCE:
        if path := work.contents.weights_file(name):
            return rdf.sha256(path)
    return rdf.sha256(work.path)
