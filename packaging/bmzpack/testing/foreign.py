"""The door through which weights of a bundle get to an engine: looked at first, then run confined and within limits."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmzpack import engines
from bmzpack.bundle.contents import Contents
from bmzpack.engines import Attempt, TensorNames
from bmzpack.engines.process import LONGEST, Conversation
from bmzpack.errors import UserError
from bmzpack.files import temporary_folder
from bmzpack.testing.guard import refused
from bmzpack.weights import find_format


def attempt_formats(
    contents: Contents,
    formats: Sequence[tuple[str, str]],
    inputs: Sequence[dict[str, np.ndarray]],
    names: TensorNames,
    *,
    trust: bool = False,
    seconds: float = LONGEST,
) -> list[Attempt]:
    """Run weights of a bundle in engines that share a process.

    Parameters
    ----------
    contents
        The bundle.
    formats
        Keys of `bmzpack.engines.ENGINES` and weights formats.
    inputs, names, seconds
        As for `bmzpack.engines.attempt_files`.
    trust
        Whether code of the bundle may be executed, and nothing is confined.

    Returns
    -------
    list of Attempt
        One per format.

    Raises
    ------
    UserError
        A file is not run, or the process failed.
    """
    with temporary_folder() as folder:
        files = [(engine, _weights(contents, name, trust, folder)) for engine, name in formats]
        return engines.attempt_files(files, inputs, names, trust=trust, seconds=seconds)


def attempt_core(
    contents: Contents,
    formats: Sequence[str],
    inputs: Sequence[dict[str, np.ndarray]],
    names: TensorNames,
    *,
    applied: bool = False,
    trust: bool = False,
    seconds: float = LONGEST,
) -> list[Attempt]:
    """Run weights of a bundle in bioimageio.core, with its own test.

    Parameters
    ----------
    contents, inputs, names, trust, seconds
        As for `attempt_formats`.
    formats
        Weights formats of one framework.
    applied
        Whether inputs are images, which go through all of the bundle; then there is no test.

    Returns
    -------
    list of Attempt
        One per format.

    Raises
    ------
    UserError
        A file is not run, or the process failed.
    """
    rdf = str((contents.root / contents.file).resolve())
    with temporary_folder() as folder:
        files = {name: _weights(contents, name, trust, folder) for name in formats}
        jobs = [
            {
                "rdf": rdf,
                "format": name,
                "name": path.name,
                "weights": str(path.resolve()),
                "trust": trust,
                "applied": applied,
            }
            for name, path in files.items()
        ]
        return engines.run_worker(
            ["-m", "bmzpack.testing.core_process"],
            "bioimageio.core failed",
            folder,
            jobs,
            inputs,
            names,
            reads=[contents.folder],
            trust=trust,
            seconds=seconds,
        )


@contextlib.contextmanager
def serving(contents: Contents, name: str, module: str, task: Mapping[str, Any]) -> Iterator[tuple[Conversation, Path]]:
    """Have weights of a bundle served by a module, for as long as the block lasts.

    Parameters
    ----------
    contents
        The bundle, which need not be there any longer when the block has begun.
    name
        The weights format.
    module
        Loads the file that ``task.json`` of the folder, its argument, names as ``weights``; then see
        `bmzpack.engines.process.Conversation`.
    task
        What else is in ``task.json``.

    Yields
    ------
    tuple of Conversation and Path
        The process, and the folder that it works in.

    Raises
    ------
    UserError
        The file is not run, or the process failed.
    """
    with temporary_folder() as folder:
        path = _weights(contents, name, False, folder)
        (folder / "task.json").write_text(json.dumps({"weights": str(path.resolve()), **task}), encoding="utf-8")
        conversation = Conversation(["-m", module, str(folder)], f"{path.name} cannot be run", folder, [path])
        try:
            yield conversation, folder
        finally:
            conversation.close()


def _weights(contents: Contents, name: str, trust: bool, folder: Path) -> Path:
    """The file of a format that may be run, or what was written anew of it."""
    path = contents.weights_file(name)
    if path is None or (reason := refused(contents, name, trust)):
        raise UserError(reason if path else f"{contents.weights[name].source} is not in the bundle.")
    form = find_format(name)
    if form is None or form.canonical is None:
        return path
    form.canonical(path, folder / path.name)
    return folder / path.name
