"""What a consumer is: everything that is asked of one anywhere, in one place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from bmzpack.bundle.contents import Contents
from bmzpack.consumers.findings import Sides
from bmzpack.consumers.rules import Rule


@dataclasses.dataclass(frozen=True)
class Release:
    """Another version of a program, by what it does otherwise."""

    name: str
    """Name in reports, such as "ilastik 1.4.1.post1"."""
    versions: Mapping[str, str]
    """As in `Consumer`."""
    rules: Sequence[Rule]
    """What it needs besides."""
    without: frozenset[str] = frozenset()
    """Ids of rules of the consumer that it has not."""


@dataclasses.dataclass(frozen=True)
class Consumer:
    """A program that opens bundles."""

    key: str
    """Name in `--consumer`, in JSON and in the registry."""
    name: str
    """Name in tables and headings."""
    versions: Mapping[str, str]
    """By program or library: the version or commit whose behaviour the rules state."""
    order: Sequence[str] | Callable[[Contents], Sequence[str]]
    """The weights formats that it runs, in the order in which it tries them; a function where that depends on the
    bundle."""
    engines: Mapping[str, Sequence[str]]
    """By weights format: engines (of `bmzpack.engines.rows`) that compute as it does; of several the first that was run
    counts."""
    rules: Sequence[Rule]
    specification: Rule | None = None
    """What bioimageio.spec says, where it validates with that: applied last, as what another rule has said already is
    not said again."""
    releases: Sequence[Release] = ()
    """Other versions that are in use."""
    obstacle: Callable[[str, int, int], str | None] = lambda name, inputs, outputs: None
    """Why it does not run a weights format with these numbers of inputs and outputs, in one sentence, where that is no
    defect of the bundle; None where it does."""
    tries_next: bool = False
    """Whether it goes on to the next format where one cannot be loaded."""
    sides: Callable[[Contents], Sides | None] = lambda contents: None
    """The image sizes with which it runs a bundle, where it sets limits that are known."""
    short_name: str = ""
    """Name in sentences, where it is another one."""
    link: str | None = None
    """Its own entry in the zoo, which a bundle that it opens is linked to; None where it has none."""
    tags: Sequence[str] = ()
    """Tags of a bundle that it opens."""
    opening: str = ""
    """How a user opens a bundle in it, for README.md; ``{name}`` is the model's name."""

    @property
    def in_sentences(self) -> str:
        """Its name within a sentence."""
        return self.short_name or self.name
