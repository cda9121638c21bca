"""The whole path on a synthetic example: images, training, evaluation, bundle, test, prediction, report.

Every step is a command that a user would type; the demo prints it before it runs it.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

from bmzpack.files import refuse_existing

COMMANDS = (
    "kerazoo init unet2d --images train/images --masks train/masks -o nuclei.yaml --overwrite",
    "kerazoo train nuclei.yaml -o run --set training.epochs=12 --set training.steps_per_epoch=10 "
    "--set 'publication.name=Demo U-Net for synthetic nuclei' "
    "--set 'publication.authors=[{name: The kerazoo developers}]' --overwrite",
    "kerazoo evaluate run --images new/images --masks new/masks --json scores.json --overwrite",
    "kerazoo export run -o nuclei.zip --overwrite",
    "bmzpack check nuclei.zip --html check.html --overwrite",
    "bmzpack test nuclei.zip --json test.json --overwrite",
    "kerazoo predict nuclei.zip new/images/* -o predicted --overwrite",
    "kerazoo report run",
)
RESULTS = {
    "nuclei.yaml": "the configuration, with what was measured on the images",
    "run/report.html": "the report: open it in a browser",
    "scores.json": "the scores on the six new images",
    "nuclei.zip": "the bundle: Fiji (deepImageJ), ilastik and QuPath open it",
    "check.html": "which programs can open the bundle",
    "test.json": "every weights format of the bundle, run by bioimageio.core and by its own engine",
    "predicted": "label images of the new images: drag them into Fiji",
}


def demo(output: Path, overwrite: bool = False) -> None:
    """Run the demo.

    Parameters
    ----------
    output
        Folder for the images, the run, the bundle and the predictions.
    overwrite
        Whether results of an earlier demo may be replaced.

    Raises
    ------
    UserError
        The folder exists and ``overwrite`` is false.
    """
    refuse_existing(output, overwrite)
    start = time.monotonic()
    _write_images(output)
    for command in COMMANDS:
        _run(command, output)
    print(f"\nDone in {(time.monotonic() - start) / 60:.1f} minutes. Look at:")
    for name, what in RESULTS.items():
        print(f"  {output / name}: {what}")


def _write_images(folder: Path) -> None:
    from kerazoo.examples.synthetic import write_nuclei

    folder.mkdir(parents=True, exist_ok=True)
    write_nuclei(folder / "train", images=24, seed=1, size=256)
    write_nuclei(folder / "new", images=6, seed=2, size=384)
    print(f"Synthetic fluorescence nuclei with their label images are in {folder}/train and {folder}/new.")


def _run(command: str, folder: Path) -> None:
    """Run a command in a folder, its wildcards expanded as a shell would; the demo ends where it fails."""
    words = []
    for word in shlex.split(command):
        words += sorted(str(path.relative_to(folder)) for path in folder.glob(word)) if "*" in word else [word]
    print(f"\n$ {shlex.join(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", *words], cwd=folder, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
