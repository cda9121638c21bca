"""Which image files are meant: files, folders of them, and patterns that the shell has not expanded."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bmzpack.errors import UserError
from kerazoo.files.folders import images_in
from kerazoo.files.pair import stem_of


class ImageFile(NamedTuple):
    """An image to be predicted."""

    path: Path
    name: Path
    """What its results are called, without suffix; with its folders, below the one that was named."""


def image_files(given: Iterable[str | os.PathLike[str]], output: Path, *, recursive: bool) -> list[ImageFile]:
    """The images to be predicted.

    Parameters
    ----------
    given
        Files, folders, or patterns such as ``day1/*.tif``; ``**`` stands for folders of any depth.
    output
        The folder for the results, whose files are no images.
    recursive
        Whether folders within folders are looked into.

    Raises
    ------
    UserError
        There are none, or the results would lie among them.
    """
    found: list[ImageFile] = []
    for entry in given:
        path = Path(entry)
        if path.is_dir():
            files = [
                file for file in images_in(path, recursive=recursive) if output.resolve() not in file.resolve().parents
            ]
            found += [ImageFile(file, file.relative_to(path).parent / stem_of(file)) for file in files]
        elif not path.exists() and glob.has_magic(str(entry)):
            matches = [Path(match) for match in sorted(glob.iglob(str(entry), recursive=True))]  # noqa: PTH207
            if not matches:
                raise UserError(f"No file fits the pattern {entry}: correct it.")
            found += [ImageFile(match, Path(stem_of(match))) for match in matches if match.is_file()]
        else:
            found.append(ImageFile(path, Path(stem_of(path))))
    if not found:
        raise UserError("There are no images to predict: name at least one file, or a folder of images.")
    among = next((image.path for image in found if image.path.resolve().parent == output.resolve()), None)
    if among is not None:
        raise UserError(
            f"{output} is the folder of {among.name}: the results would lie among the images; choose another "
            "one with -o."
        )
    return found
