"""The notebooks of the lecture, in a folder where they can be changed."""

from __future__ import annotations

import shutil
from pathlib import Path

from bmzpack.files import new_file, refuse_existing

FOLDER = Path(__file__).with_name("notebooks")


def copy_notebooks(folder: Path, overwrite: bool = False) -> list[Path]:
    """Copy the notebooks.

    Parameters
    ----------
    folder
        Made where it is missing; what else is in it stays.
    overwrite
        Whether notebooks of the same names may be replaced.

    Returns
    -------
    list of Path
        The notebooks and their table of contents.

    Raises
    ------
    UserError
        A file is there already, or the folder cannot be written.
    """
    sources = [*sorted(FOLDER.glob("*.ipynb")), FOLDER / "README.md"]
    targets = [folder / source.name for source in sources]
    for target in targets:
        refuse_existing(target, overwrite)
    for source, target in zip(sources, targets, strict=True):
        with new_file(target, overwrite) as path:
            shutil.copyfile(source, path)
    return targets
