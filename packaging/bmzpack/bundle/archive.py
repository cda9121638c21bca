"""The zip file of a bundle: written the same every time, opened without trusting it."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from bmzpack.bundle.reproducible_zip import write_archive
from bmzpack.errors import UserError
from bmzpack.files import temporary_folder

LARGEST_BUNDLE = 64 * 2**30
"""Bytes, unpacked."""
LARGEST_RATIO = 200
"""A larger compression is taken for a zip bomb: test tensors of label images reach about 100."""
MOST_FILES = 1000


def write(folder: Path, path: Path) -> None:
    """Write the files of a folder as a bundle: rdf.yaml first, the others by name, without times."""
    files = (file for file in folder.rglob("*") if file.is_file())
    names = sorted((file.relative_to(folder).as_posix() for file in files), key=lambda name: (name != "rdf.yaml", name))
    write_archive(path, {name: folder / name for name in names})


DESCRIPTIONS = ("rdf.yaml", "bioimageio.yaml", "model.yaml")
"""Names that bioimageio.core knows; Fiji knows the first only."""
LARGEST_DESCRIPTION = 2**20
"""Bytes of an rdf.yaml: they have some ten thousands."""
MOST_NODES = 50_000
"""Values of an rdf.yaml, those that repeat another one by an alias counted again."""
LONGEST_NUMBER = 400
"""Characters of a number."""
DEEPEST = 100
"""Nested levels of an rdf.yaml."""


@contextlib.contextmanager
def unpacked(path: str | os.PathLike[str], *, any_layout: bool = False) -> Iterator[Path]:
    """Give the folder of an unpacked bundle.

    Parameters
    ----------
    path
        A bundle's ``.zip``, its unpacked folder, or the ``rdf.yaml`` in it.
    any_layout
        Whether to take also a description of another name or in a folder, which not every program finds:
        `find_description` says where it is.

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
    if path.is_dir() or path.suffix in (".yaml", ".yml"):
        folder = path if path.is_dir() else path.parent
        _refuse_links(folder)
        _require(folder, path, any_layout)
        yield folder
        return
    if not path.is_file():
        raise UserError(f"There is no bundle {path}.")
    with temporary_folder() as folder:
        extract(path, folder)
        _require(folder, path, any_layout)
        yield folder


def extract(path: Path, folder: Path) -> None:
    """Unpack a zip file that may have been made to harm.

    Raises
    ------
    UserError
        It is damaged, too large for the disk, or refused by `check_archive`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_archive(archive, path)
            size = sum(entry.file_size for entry in archive.infolist())
            if size > shutil.disk_usage(folder).free:
                raise UserError(f"{path} needs {size / 2**20:.0f} MiB in {folder.parent}, where the disk is too full.")
            archive.extractall(folder)
    except UserError:
        raise
    except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error, ValueError) as error:
        raise UserError(f"{path} is no zip file, or a damaged one ({error}): download or pack it again.") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise UserError(f"{path} holds a file and a folder of the same name: pack it again.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be unpacked: {error.strerror}.") from error


def find_description(folder: Path) -> Path | None:
    """The description of an unpacked bundle: at the top, or else in the only folder that has one."""
    for name in DESCRIPTIONS:
        if (folder / name).is_file():
            return folder / name
    inside = [inner / name for inner in sorted(folder.iterdir()) if inner.is_dir() for name in DESCRIPTIONS]
    found = [path for path in inside if path.is_file()]
    return found[0] if len(found) == 1 else None


def read_description(path: Path) -> Any:
    """The content of an rdf.yaml.

    Raises
    ------
    NoYaml
        It is no YAML.
    UserError
        It cannot be read, or is so large or repetitive that it was made to harm.
    """
    try:
        if path.stat().st_size > LARGEST_DESCRIPTION:
            raise UserError(f"{path} has {path.stat().st_size} bytes: no description is that long.")
        loader = _Loader(path.read_text(encoding="utf-8"))
        try:
            node = loader.get_single_node()
            size, depth = _measure(node, {})
            if size > MOST_NODES or depth > DEEPEST:
                raise _Endless
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except (_Endless, RecursionError) as error:
        raise UserError(
            f"{path} has more than {MOST_NODES} values, or nested deeper than {DEEPEST}, as a bomb has: do not open it."
        ) from error
    except yaml.YAMLError as error:
        raise NoYaml(f"{path} is no YAML: {' '.join(str(error).split())[:300]}") from error
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except (
        ValueError,
        OverflowError,
        TypeError,
        KeyError,
        AttributeError,
    ) as error:
        raise NoYaml(f"{path} is no YAML that can be read: {type(error).__name__}: {error}"[:300]) from error


class NoYaml(UserError):
    """A description is damaged, not made to harm."""


class _Endless(Exception):
    """There are more values, or deeper ones, than in any description."""


class _Loader(yaml.SafeLoader):
    """Stops early where there are too many values."""

    composed = 0

    def construct_scalar(self, node: Any) -> Any:
        # numbers in base 60 take time that grows with the square of their length
        if len(node.value) > LONGEST_NUMBER and node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
            raise yaml.constructor.ConstructorError(None, None, "it has a number without end", node.start_mark)
        return super().construct_scalar(node)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.composed += 1
        if self.composed > MOST_NODES:
            raise _Endless
        return super().compose_node(parent, index)


def check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse an archive that was made to harm.

    Raises
    ------
    UserError
        It holds paths that lead out of it, links, encrypted files, two files of one name, or a bomb, or is compressed
        otherwise than by deflate.
    """
    entries = archive.infolist()
    if len(entries) > MOST_FILES:
        raise UserError(f"{path} holds {len(entries)} files, more than the {MOST_FILES} that a bundle may have.")
    for entry in entries:
        name = PurePosixPath(entry.filename)
        if name.is_absolute() or ".." in name.parts or "\\" in entry.filename or ":" in entry.filename:
            raise UserError(f"{path} holds the path {entry.filename!r}, which leads out of it: do not open it.")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise UserError(f"{path} holds the link {entry.filename!r}: a bundle holds files only.")
        if entry.flag_bits & 1:
            raise UserError(f"{path}: {entry.filename} is encrypted: a bundle is not.")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError(f"{path}: {entry.filename} is compressed in a way that few programs know: zip it again.")
        if entry.file_size > 2**20 and entry.file_size > LARGEST_RATIO * max(1, entry.compress_size):
            raise UserError(f"{path}: {entry.filename} unpacks to {entry.file_size} bytes, a zip bomb: do not open it.")
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise UserError(f"{path} holds two files of the same name: pack it again.")
    size = sum(entry.file_size for entry in entries)
    if size > LARGEST_BUNDLE:
        raise UserError(f"{path} unpacks to {size} bytes, more than a bundle may have.")
    if sum(entry.compress_size for entry in entries) > path.stat().st_size:
        raise UserError(f"{path} holds files that share their bytes, as a zip bomb does: do not open it.")


def _require(folder: Path, path: Path, any_layout: bool) -> None:
    if path.suffix in (".yaml", ".yml") and not path.is_file():
        raise UserError(f"There is no description {path}.")
    if any_layout and path.suffix in (".yaml", ".yml"):
        return
    if (folder / "rdf.yaml").is_file() or (any_layout and find_description(folder)):
        return
    raise UserError(f"{path} is no bundle: it has no rdf.yaml at its top. Make one with `bmzpack pack`.")


def _refuse_links(folder: Path) -> None:
    root = folder.resolve()
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_symlink() and not os.path.realpath(path).startswith(f"{root}{os.sep}"):
            raise UserError(f"{path} is a link that leads out of the bundle: put the file itself there.")


def _measure(node: yaml.Node | None, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Values below a node and how deep they are nested, aliases followed each time."""
    if node is None or isinstance(node, yaml.ScalarNode):
        return 1, 1
    if id(node) not in known:
        known[id(node)] = (MOST_NODES + 1, DEEPEST + 1)  # of an alias to what it is in
        children = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        measured = [_measure(child, known) for child in children]
        known[id(node)] = (1 + sum(size for size, _ in measured), 1 + max((deep for _, deep in measured), default=0))
    return known[id(node)]
