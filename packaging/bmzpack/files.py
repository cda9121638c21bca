"""Writing results: all of it or nothing, and never over something that exists unless asked; and the user's cache."""

import contextlib
import errno
import glob
import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bmzpack.errors import UserError, harmless

YOUNG = 60.0
"""Seconds for which a temporary folder is left alone."""


def refuse_existing(target: Path, overwrite: bool) -> None:
    """Raise UserError where ``target`` exists and may not be replaced."""
    if os.path.exists(target) and not overwrite:  # noqa: PTH110 - Path.exists raises where a folder is closed to us
        raise UserError(f"{target} exists already: choose another name with -o, or replace it with --overwrite.")


@contextlib.contextmanager
def new_file(target: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``target``, which becomes ``target`` when the block ends without an exception.

    Parameters
    ----------
    target
        The file to be written; its folder is made where it is missing.
    overwrite
        Whether an existing file may be replaced.

    Yields
    ------
    Path
        A path with the suffix of ``target``, in the same folder.

    Raises
    ------
    UserError
        ``target`` exists and ``overwrite`` is false, its folder cannot be written, or the disk is full.
    """
    target = Path(target)
    refuse_existing(target, overwrite)
    with _explained(target):
        made = [folder for folder in target.parents if not folder.exists()]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary_folder(f".{target.name}.", target.parent) as folder:
                written = folder / target.name
                yield written
                written.replace(target)
        except BaseException:
            for folder in made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise


@contextlib.contextmanager
def temporary_folder(prefix: str = "bmzpack-", where: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Give a new folder, which is removed afterwards, whatever was put into it.

    What a process that was killed left of the same prefix is removed first: the folder of a running one is locked.

    Parameters
    ----------
    prefix
        Begins its name.
    where
        The folder in which it is made; by default that of temporary files.

    Yields
    ------
    Path
        The folder, which only this user can read.
    """
    place = Path(where or tempfile.gettempdir())
    for left in place.glob(f"{glob.escape(prefix)}????????"):
        # one that was made just now is not locked yet
        with contextlib.suppress(OSError), _locked(left):
            if time.time() - left.stat().st_mtime > YOUNG:
                remove_folder(left)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    try:
        with _locked(folder):
            yield folder
    finally:
        remove_folder(folder)


def remove_folder(folder: Path) -> None:
    """Remove a folder, also one that was made deeper than paths can be long.

    Parameters
    ----------
    folder
        Must not be a link.
    """
    unused = tempfile.mktemp(dir=folder)
    numbers = itertools.count()
    while entries := list(os.scandir(folder)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)  # noqa: PTH108
                continue
            with contextlib.suppress(OSError):
                os.chmod(entry.path, 0o700)  # noqa: PTH101
            for inner in list(os.scandir(entry.path)):
                if inner.is_dir(follow_symlinks=False):
                    os.rename(inner.path, f"{unused}{next(numbers)}")  # noqa: PTH104
                else:
                    os.unlink(inner.path)  # noqa: PTH108
            os.rmdir(entry.path)  # noqa: PTH106
    folder.rmdir()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder of this user for this process; OSError where another one holds it."""
    try:
        import fcntl
    except ImportError:  # on Windows, where folders of killed processes stay
        if not folder.exists():
            raise
        yield
        return
    file = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        if os.fstat(file).st_uid != os.getuid():
            raise PermissionError(folder)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(file)


@contextlib.contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise UserError(
                f"The disk is full: {target} was not written. Free some space or choose another place."
            ) from error
        raise UserError(f"{target} cannot be written ({error.strerror}): choose another place.") from error


def cell(text: str) -> str:
    """Text of anybody for a CSV file: no spreadsheet takes it for a formula.

    Parameters
    ----------
    text
        Such as a name in a stranger's bundle.
    """
    text = harmless(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def cache_folder(name: str) -> Path:
    """A folder in the user's cache, which need not exist.

    Parameters
    ----------
    name
        What is kept in it.

    Returns
    -------
    Path
        ``bmzpack/name`` in ``$XDG_CACHE_HOME`` or ``~/.cache``; what earlier versions kept beside it under ``kerazoo``
        is used where it is.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder, former = root / "bmzpack" / name, root / "kerazoo" / name
    return former if former.exists() and not folder.exists() else folder
