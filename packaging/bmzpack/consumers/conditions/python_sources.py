"""The Python code of a state dict's architecture: what it imports, and whether a program has that."""

from __future__ import annotations

import ast
import sys
from collections.abc import Container, Iterator, Mapping

from bmzpack.bundle.contents import Contents
from bmzpack.bundle.values import is_remote, source_of
from bmzpack.consumers.conditions.weights_files import Order, order_for
from bmzpack.consumers.findings import Condition, Occurrence, Severity

STATE_DICT = "pytorch_state_dict"
LARGEST_SOURCE = 2**20
"""Bytes of a source file that is read."""
TORCH = frozenset({"numpy", "torch", "torchvision", "typing_extensions"})
"""What every environment with PyTorch has."""


def lacking_packages(order: Order, known: Container[str], *, environment: bool, severity: Severity) -> Condition:
    """Packages that the architecture imports and the program lacks, where it takes the state dict first.

    Parameters
    ----------
    order
        The formats in the order in which the program tries them.
    known
        Packages that it has, besides Python's own modules.
    environment
        Whether a file of dependencies says that others are needed, too.
    severity
        Severity of a package that is lacking.
    """

    def condition(contents: Contents) -> Iterator[Occurrence]:
        taken = next((name for name in order_for(order, contents) if name in contents.weights), None)
        if taken != STATE_DICT:
            return
        entry = contents.weights[STATE_DICT]
        lacking = sorted(name for name in imported(contents) if name not in known)
        if lacking:
            yield Occurrence(f"{entry.place}.architecture", f"The architecture imports {', '.join(lacking)}.", severity)
        dependencies = source_of(entry.content.get("dependencies"))
        if environment and dependencies and not lacking:
            yield Occurrence(
                f"{entry.place}.dependencies", f"The architecture needs the packages of {dependencies}.", severity
            )

    return condition


def state_dict_without_torchscript(contents: Contents) -> Iterator[Occurrence]:
    """A state dict, in a bundle that has no TorchScript to be taken in its place."""
    if STATE_DICT in contents.weights and "torchscript" not in contents.weights:
        place = contents.weights[STATE_DICT].place
        yield Occurrence(f"{place}.architecture", "The network is there as a state dict only.")


def imported(contents: Contents) -> set[str]:
    """The packages that the architecture imports, without Python's own and those of the bundle."""
    architecture = contents.weights[STATE_DICT].content.get("architecture")
    found: set[str] = set()
    if isinstance(architecture, Mapping):
        module = architecture.get("import_from") or architecture.get("import_module")
        if isinstance(module, str):
            found.add(module.split(".")[0])
        found |= _imports_of(contents, source_of(architecture))
    elif isinstance(architecture, str):
        # format 0.4 has file.py:Class or package.module.Class
        source, _, callable_name = architecture.rpartition(":")
        found |= _imports_of(contents, source) if source and callable_name else {architecture.split(".")[0]}
    own = {path.stem if path.is_file() else path.name for path in contents.root.iterdir()}
    return found - sys.stdlib_module_names - own


def _imports_of(contents: Contents, source: str | None) -> set[str]:
    path = contents.local(source)
    if path is None or source is None or is_remote(source) or path.stat().st_size > LARGEST_SOURCE:
        return set()
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    return {name.split(".")[0] for node in tree.body for name in _names(node)}


def _names(node: ast.stmt) -> Iterator[str]:
    """What a statement at the top of a file imports; what it tries to import it can do without."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
        yield node.module
