"""Writing results: all of it or nothing, and never over something that exists unless asked; and the user's cache."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bmzpack.errors import UserError


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
            with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
                written = Path(folder, target.name)
                yield written
                written.replace(target)
        except BaseException:
            for folder in made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise


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
