"""The copy of a bundle that is repaired: its files, its description, and what has been done to them."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from bmzpack.bundle.archive import LARGEST_BUNDLE, MOST_FILES, read_description
from bmzpack.bundle.contents import Contents
from bmzpack.consumers.conditions import bundle_files
from bmzpack.describe import rdf
from bmzpack.errors import UserError


@dataclasses.dataclass(frozen=True)
class Change:
    """What was mended, or could not be."""

    rule: str
    where: str
    """File or place in rdf.yaml, such as ``outputs.0.axes.2``, before the repair."""
    what: str
    """One sentence."""


class Work:
    """A bundle in repair."""

    def __init__(self, folder: Path, description: Path, scratch: Path) -> None:
        """Read a bundle.

        Parameters
        ----------
        folder
            A copy of the bundle, which is changed.
        description
            The description in it.
        scratch
            An empty folder for files that may become part of the bundle.
        """
        self.folder, self.scratch = folder, scratch
        self.root, self.file = description.parent, description.name
        content = read_description(description)
        self.rdf: dict[str, Any] = _plain(content) if isinstance(content, Mapping) else {}
        self.changes: list[Change] = []
        self.unmended: list[Change] = []
        self._node = yaml.compose(description.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        self._stored = copy.deepcopy(self.rdf)
        self._contents: Contents | None = None
        self.suspects = {occurrence.where for occurrence in bundle_files.wrong_checksums(self.contents)}
        """Places of files with another checksum than they should have: nothing is made of them."""

    @property
    def path(self) -> Path:
        """The description."""
        return self.root / self.file

    @property
    def contents(self) -> Contents:
        """What is known of the bundle as it is now."""
        if self._contents is None:
            if self.rdf != self._stored:
                rdf.write(self.rdf, self.path)
                self._stored = copy.deepcopy(self.rdf)
            self._contents = Contents(self.folder, self.path)
        return self._contents

    def changed(self, rule: str, where: str, what: str) -> None:
        """Note what has been done to `rdf` or to files."""
        self.changes.append(Change(rule, where, self._local(what)))
        self._contents = None

    def reread(self) -> None:
        """Read the contents anew when they are needed next: `rdf` has been changed."""
        self._contents = None

    def left(self, rule: str, where: str, why: str) -> None:
        """Note what cannot be mended."""
        self.unmended.append(Change(rule, where, self._local(why)))

    def settled(self, where: str) -> None:
        """What could not be mended in one way has been mended in another."""
        self.unmended = [change for change in self.unmended if change.where != where]

    def _local(self, text: str) -> str:
        """A sentence without the names of temporary folders."""
        return text.replace(f"{self.root}{os.sep}", "").replace(f"{self.scratch}{os.sep}", "")

    @contextlib.contextmanager
    def attempt(self, defects: Sequence[tuple[str, str]], failure: str) -> Iterator[None]:
        """Try to mend what rules found at places; where that ends in a UserError, `rdf` is what it was before.

        Parameters
        ----------
        defects
            Rule and place of each.
        failure
            Begins the sentence that says why they cannot be mended.
        """
        before = copy.deepcopy(self.rdf)
        try:
            yield
        except UserError as problem:
            if self.rdf != before:
                self.rdf = before
                self.reread()
            for rule, place in defects:
                self.left(rule, place, f"{failure}: {problem}.")

    def at(self, place: str) -> Any:
        """The part of the description at a place, which may be changed; None where it cannot be found by its name."""
        value: Any = self.rdf
        for part in place.split(".") if place else ():
            if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            elif isinstance(value, dict) and part in value:
                value = value[part]
            else:
                return None
        return value

    def written(self, place: str) -> str | None:
        """A value as the author wrote it: YAML takes 2.10 for the number 2.1."""
        node: Any = self._node
        for part in place.split("."):
            if isinstance(node, yaml.SequenceNode) and part.isdecimal() and int(part) < len(node.value):
                node = node.value[int(part)]
            elif isinstance(node, yaml.MappingNode):
                node = next((value for key, value in node.value if key.value == part), None)
            else:
                return None
        return node.value if isinstance(node, yaml.ScalarNode) else None

    def trusted(self, name: str) -> Path | None:
        """The file of a weights format, where the bundle has it and its checksum is right."""
        return None if f"weights.{name}" in self.suspects else self.contents.weights_file(name)

    def take(self, file: Path, name: str) -> str:
        """Put a file into the bundle, under a name that is free; returns the name."""
        free = name
        number = 2
        while (self.root / free).exists():
            free = f"{Path(name).stem}_{number}{Path(name).suffix}"
            number += 1
        shutil.move(file, self.root / free)
        return free


def copied(folder: Path, target: Path) -> None:
    """Copy the files of a bundle, but nothing that lies outside of it.

    Raises
    ------
    UserError
        It holds a link that leads out of it, or more than a bundle may have.
    """
    root, count, size = folder.resolve(), 0, 0
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if inside.parts[0] == "__MACOSX" or any(part.startswith(".") for part in inside.parts) or path.is_dir():
            continue
        if not path.resolve().is_relative_to(root):
            raise UserError(f"{path} is a link that leads out of the bundle: put the file itself there.")
        count, size = count + 1, size + path.stat().st_size
        if count > MOST_FILES or size > LARGEST_BUNDLE:
            raise UserError(f"{folder} holds more than a bundle may have: put the bundle into a folder of its own.")
        (target / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / inside)


def _plain(value: Any) -> Any:
    """A copy without aliases, which would be changed together, and with times as text, as they were written."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value.isoformat() if isinstance(value, datetime.date) else value
