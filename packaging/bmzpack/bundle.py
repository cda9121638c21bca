"""The zip file of a bundle: written the same every time, opened without trusting it."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from bmzpack.errors import UserError
from bmzpack.weights.archive import write_archive

LARGEST_BUNDLE = 64 * 2**30
"""Bytes, unpacked."""
LARGEST_RATIO = 200
"""A larger compression is taken for a zip bomb: test tensors of label images reach about 100."""
MOST_FILES = 1000


def write(folder: Path, path: Path) -> None:
    """Write the files of a folder as a bundle: rdf.yaml first, the others by name, without times."""
    names = sorted((file.name for file in folder.iterdir()), key=lambda name: (name != "rdf.yaml", name))
    write_archive(path, {name: folder / name for name in names})


@contextlib.contextmanager
def unpacked(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the folder of an unpacked bundle.

    Parameters
    ----------
    path
        A bundle's ``.zip``, its unpacked folder, or the ``rdf.yaml`` in it.

    Yields
    ------
    Path
        A folder with ``rdf.yaml``; of a zip a temporary one, which is removed afterwards.

    Raises
    ------
    UserError
        There is no bundle, it is damaged, or it holds what a bundle does not: paths that lead out of it, links, or a
        bomb.
    """
    path = Path(path)
    if path.is_dir() or path.name == "rdf.yaml":
        folder = path if path.is_dir() else path.parent
        if not (folder / "rdf.yaml").is_file():
            raise UserError(f"{folder} is no bundle: it has no rdf.yaml. Make one with `bmzpack pack`.")
        yield folder
        return
    if not path.is_file():
        raise UserError(f"There is no bundle {path}.")
    with tempfile.TemporaryDirectory(prefix="bmzpack-") as temporary:
        folder = Path(temporary)
        try:
            with zipfile.ZipFile(path) as archive:
                _check(archive, path, folder)
                archive.extractall(folder)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
            raise UserError(f"{path} is no zip file, or a damaged one ({error}): download or pack it again.") from error
        yield folder


def _check(archive: zipfile.ZipFile, path: Path, folder: Path) -> None:
    entries = archive.infolist()
    if len(entries) > MOST_FILES:
        raise UserError(f"{path} holds {len(entries)} files, more than the {MOST_FILES} that a bundle may have.")
    names = [entry.filename for entry in entries]
    if "rdf.yaml" not in names:
        raise UserError(f"{path} is no bundle: it has no rdf.yaml at its top. Make one with `bmzpack pack`.")
    for entry in entries:
        name = PurePosixPath(entry.filename)
        if name.is_absolute() or ".." in name.parts or "\\" in entry.filename or ":" in entry.filename:
            raise UserError(f"{path} holds the path {entry.filename!r}, which leads out of it: do not open it.")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise UserError(f"{path} holds the link {entry.filename!r}: a bundle holds files only.")
        if entry.flag_bits & 1:
            raise UserError(f"{path}: {entry.filename} is encrypted: a bundle is not.")
        if entry.file_size > 2**20 and entry.file_size > LARGEST_RATIO * max(1, entry.compress_size):
            raise UserError(f"{path}: {entry.filename} unpacks to {entry.file_size} bytes, a zip bomb: do not open it.")
    if len(set(names)) < len(names):
        raise UserError(f"{path} holds two files of the same name: pack it again.")
    size = sum(entry.file_size for entry in entries)
    if size > LARGEST_BUNDLE:
        raise UserError(f"{path} unpacks to {size} bytes, more than a bundle may have.")
    if size > shutil.disk_usage(folder).free:
        raise UserError(f"{path} needs {size / 2**20:.0f} MiB in {folder.parent}, where the disk is too full.")
