"""What a weights format is: everything that is asked of one anywhere, in one place."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bmzpack.bundle.contents import Contents
    from bmzpack.engines import TensorNames
    from bmzpack.weights.frozen import Frozen
    from bmzpack.weights.model import Network

Versions = dict[str, str | int]
"""``keras_version``, ``tensorflow_version``, ``pytorch_version`` and ``opset_version``, as a format has them."""

TRUST = "Run it with --trust if you trust who made it."
"""Ends the refusal of a file that can do more than compute."""


@dataclasses.dataclass(frozen=True)
class Format:
    """A weights format of the BioImage Model Zoo."""

    name: str
    """Key under ``weights`` in rdf.yaml."""
    file: str
    """File name in a bundle."""
    process: str
    """Formats of the same one may be run in one process; TensorFlow and torch in one process abort."""
    refusal: Callable[[Contents, Path, bool], str | None]
    """Why a stranger's file is not run, in one sentence, or None: gets the bundle, the file, and whether its Python
    code may be executed. Raises `UserError` where no engine could run the file."""
    write: Callable[[Network, Path], Versions] | None = None
    """Writes the file; it is called in a process of its own and imports its framework itself. None where bmzpack cannot
    write the format."""
    write_frozen: Callable[[Frozen, Path, TensorNames], Versions] | None = None
    """Writes the file of a frozen TensorFlow graph of any origin, whose ends are in the order of the names. None where
    the format is written of a Keras model only."""
    engine: str | None = None
    """Key of `bmzpack.engines.ENGINES`: runs the file here. None where only bioimageio.core runs it."""
    backend: str = "tensorflow"
    """Keras backend of the process that writes the file."""
    parent: str | None = "keras_v3"
    """The format it is made from; None for the original."""
    package: str | None = None
    """Package that an installation may lack, which is also the name of the extra that installs it."""
    keeps_layers: bool = False
    """Whether it holds the layers of the network, so that it is taken for the original before others where the
    description does not say; else it holds a graph, which programs run without the framework's Python."""
    layer_names_with_dots: bool = True
    """Whether the file can hold them."""
    ends_in_labels: bool = False
    """Whether its graph can go on with the loops that make labels of the network's output: functions of the backend
    make them."""
    program: bool = False
    """Whether the file holds a program that can do more than compute: a stranger's is run confined or not at all."""
    canonical: Callable[[Path, Path], None] | None = None
    """Writes the file anew, so that every reader finds in it what was judged; a stranger's is run like this only."""
    entry: Callable[[Versions], Mapping[str, Any]] = dict
    """The versions as rdf.yaml has them."""

    @property
    def missing(self) -> str | None:
        """What has to be installed, as an end of a sentence; None where nothing is missing."""
        if self.package is None or importlib.util.find_spec(self.package) is not None:
            return None
        return f"pip install kerazoo[{self.package}]"


def version(text: str) -> str:
    """The three numbers of a version: 2.13.0+cpu is 2.13.0 (2.10 would be read as 2.1)."""
    numbers = text.split("+")[0].split(".")
    return ".".join([*numbers, "0", "0"][:3])
