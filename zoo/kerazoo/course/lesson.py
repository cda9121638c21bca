"""How a notebook begins."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from bmzpack.commands import import_tensorflow


def begin() -> Path:
    """Import TensorFlow without its messages about hardware, and make a folder for the files of the lesson.

    Returns
    -------
    Path
        An empty folder among the temporary files.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import_tensorflow()
    return Path(tempfile.mkdtemp(prefix="lesson-"))
