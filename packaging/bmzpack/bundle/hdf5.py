"""HDF5 files of strangers: what they refer to outside themselves, and how much they would unpack to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST_OBJECTS = 100_000
LARGEST_SHARE = 200
"""Bytes in memory for one on the disk, of compressed arrays: weights reach about 2."""
SMALL = 2**24
"""Bytes of arrays that need not be in the file at all: those that nothing was written to."""


def foreign_part(path: Path) -> str | None:
    """What no file of weights has, as an end of a sentence that begins with its name; None where there is nothing.

    Parameters
    ----------
    path
        An HDF5 file.

    Raises
    ------
    OSError, RuntimeError, KeyError, ValueError
        It is none, or a damaged one.
    """
    import h5py

    with h5py.File(path, "r") as file:
        size = 0
        for count, (name, link, item) in enumerate(_items(file)):
            if count > MOST_OBJECTS:
                return "has more parts than a network has"
            if isinstance(link, h5py.ExternalLink):
                return f"takes {name} from another file, {link.filename}"
            if not isinstance(item, h5py.Dataset):
                continue
            if item.is_virtual or item.external:
                return f"takes the values of {name} from other files"
            size += item.nbytes
        if size > SMALL + LARGEST_SHARE * path.stat().st_size:
            return f"would unpack to {size} bytes, as a bomb does"
    return None


def _items(group: Any) -> Iterator[tuple[str, Any, Any]]:
    """Names, links and objects below a group, each object once; what a link that leads out leads to is not opened."""
    import h5py

    h5o: Any = h5py.h5o  # pyright: ignore[reportAttributeAccessIssue] - it is compiled
    waiting, seen = [group], {h5o.get_info(group.id).addr}
    while waiting:
        for name in (parent := waiting.pop()):
            link = parent.get(name, getlink=True)
            item = None if isinstance(link, h5py.ExternalLink) else parent.get(name)
            yield f"{parent.name}/{name}", link, item
            if isinstance(item, h5py.Group) and (address := h5o.get_info(item.id).addr) not in seen:
                seen.add(address)
                waiting.append(item)
