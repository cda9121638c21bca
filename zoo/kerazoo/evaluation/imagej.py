"""Running a macro in ImageJ: Debian's package `imagej`, on a screen of its own where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

import numpy as np
import tifffile

from bmzpack.errors import UserError
from bmzpack.files import temporary_folder

SECONDS = 600
"""Longest time for all images."""
_LOOP = """\
setBatchMode(true);
for (number = 0; number < {count}; number++) {{
    open("{folder}/output" + number + ".tif");
    runMacro("{folder}/objects.ijm");
    selectImage("labels");
    saveAs("Tiff", "{folder}/labels" + number + ".tif");
    close("*");
}}
run("Quit");
"""


def labels_by_macro(macro: str, outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Label images that a macro makes of network outputs.

    Parameters
    ----------
    macro
        Makes of the active image the image ``labels``.
    outputs
        float32 (y, x, channel).

    Returns
    -------
    list of numpy.ndarray
        int32 (y, x).

    Raises
    ------
    UserError
        There is no ImageJ, or the macro failed.
    """
    command = ["imagej", "-b"]
    if not os.environ.get("DISPLAY"):
        command = ["xvfb-run", "-a", *command]
    missing = [name for name in command if not name.startswith("-") and shutil.which(name) is None]
    if missing:
        raise UserError(f"The macro of this bundle needs {missing[0]}: install it (Debian: apt install imagej xvfb).")
    with temporary_folder() as folder:
        for number, output in enumerate(outputs):
            channels = np.moveaxis(output, -1, 0).astype(np.float32)
            tifffile.imwrite(folder / f"output{number}.tif", channels, imagej=True, metadata={"axes": "CYX"})
        (folder / "objects.ijm").write_text(macro, encoding="utf-8")
        (folder / "loop.ijm").write_text(_LOOP.format(folder=folder, count=len(outputs)), encoding="utf-8")
        try:
            done = subprocess.run(
                [*command, str(folder / "loop.ijm")], capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(f"ImageJ took longer than {SECONDS} s: score fewer images.") from error
        paths = [folder / f"labels{number}.tif" for number in range(len(outputs))]
        if not all(path.exists() for path in paths):
            said = (done.stdout + done.stderr).strip().splitlines()
            raise UserError(f"The macro failed in ImageJ: {said[-1] if said else 'it made no label image'}.")
        return [tifffile.imread(path).astype(np.int32) for path in paths]
