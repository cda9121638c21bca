"""Trained networks that come with the package, by name: ``model/what it was trained on``.

Each is a run folder without what only its training needed; `weights_file` is its network.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "trained"
NETWORK = "best.keras"


def trained_networks() -> list[str]:
    """All names."""
    return sorted("/".join(path.parts[-3:-1]) for path in FOLDER.glob(f"*/*/{NETWORK}"))


def folder_of(source: str | os.PathLike[str]) -> Path | None:
    """The run folder of a trained network; None where its name is not meant, or a file or folder has that name."""
    name = Path(source).as_posix()
    return FOLDER / name if not Path(source).exists() and name in trained_networks() else None


def weights_file(source: str | os.PathLike[str]) -> Path:
    """The file of weights that a user names, or of a trained network."""
    folder = folder_of(source)
    return Path(source) if folder is None else folder / NETWORK
