"""Zip files with the same bytes whenever they hold the same."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path


def write_archive(path: Path, entries: Mapping[str, bytes | Path], *, compress: bool = False) -> None:
    """Write a zip file whose entries carry no time, owner or machine.

    Parameters
    ----------
    path
        The file to write.
    entries
        Content, or the file that holds it, by name in the archive and in the order of the archive; a name that ends
        with a slash is a folder.
    compress
        Deflate the entries; weights hardly shrink.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = (0o40755 << 16 | 0x10) if name.endswith("/") else 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            archive.writestr(entry, content.read_bytes() if isinstance(content, Path) else content)
