"""The run that a user names: a folder, or a trained network that comes with the package."""

from __future__ import annotations

import os

from kerazoo.models.trained import folder_of
from kerazoo.runs.run import Run


def find_run(source: Run | str | os.PathLike[str]) -> Run | None:
    """The run of a name; None where there is none.

    Parameters
    ----------
    source
        A run, its folder, or one of `kerazoo.models.trained.trained_networks`.

    Raises
    ------
    UserError
        The folder is that of a run, but without a trained network.
    """
    if isinstance(source, Run):
        return source
    if Run(source).is_there:
        return Run.open(source)
    folder = folder_of(source)
    return None if folder is None else Run.open(folder)


def open_run(source: Run | str | os.PathLike[str]) -> Run:
    """The run of a name, as for `find_run`.

    Raises
    ------
    UserError
        There is none.
    """
    return find_run(source) or Run.open(str(source))
