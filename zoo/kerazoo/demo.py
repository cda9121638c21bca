"""The whole path on a synthetic example: images, training, evaluation, bundle, test, prediction, report.

Every step is a command that a user would type; the demo prints it before it runs it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from bmzpack.errors import UserError
from bmzpack.files import refuse_existing


def _run(folder: Path, *words: str) -> None:
    print(f"\n$ {shlex.join(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", *words], cwd=folder, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


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
    from kerazoo.examples.synthetic import write_nuclei

    refuse_existing(output, overwrite)
    output.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    write_nuclei(output / "train", images=24, seed=1, size=256)
    write_nuclei(output / "new", images=6, seed=2, size=384)
    print(f"Synthetic fluorescence nuclei with their label images are in {output}/train and {output}/new.")

    replace = ["--overwrite"]
    _run(output, "kerazoo", "init", "unet2d", "--images", "train/images", "--masks", "train/masks",
         "-o", "nuclei.yaml", *replace)  # fmt: skip
    _run(output, "kerazoo", "train", "nuclei.yaml", "-o", "run", "--set", "training.epochs=12",
         "--set", "training.steps_per_epoch=10", "--set", "model.arguments.filters=16",
         "--set", "publication.name=Demo U-Net for synthetic nuclei",
         "--set", "publication.authors=[{name: The kerazoo developers, github_user: kerazoo}]",
         *replace)  # fmt: skip
    _run(output, "kerazoo", "evaluate", "run", "--images", "new/images", "--masks", "new/masks",
         "--json", "scores.json", *replace)  # fmt: skip
    _run(output, "kerazoo", "export", "run", "-o", "nuclei.zip", *replace)
    _run(output, "bmzpack", "check", "nuclei.zip", "--html", "check.html", *replace)
    _run(output, "bmzpack", "test", "nuclei.zip", "--json", "test.json", *replace)
    images = sorted(str(path.relative_to(output)) for path in (output / "new" / "images").iterdir())
    _run(output, "kerazoo", "predict", "nuclei.zip", *images, "-o", "predicted", *replace)
    _run(output, "kerazoo", "report", "run")

    print(f"\nDone in {(time.monotonic() - start) / 60:.1f} minutes. Look at:")
    for name, what in {
        "nuclei.yaml": "the configuration, with what was measured on the images",
        "run/report.html": "the report: open it in a browser",
        "scores.json": "the scores on the six new images",
        "nuclei.zip": "the bundle: Fiji (deepImageJ), ilastik and QuPath open it",
        "check.html": "which programs can open the bundle",
        "test.json": "every weights format of the bundle, run by bioimageio.core and by its own engine",
        "predicted": "label images of the new images: drag them into Fiji",
    }.items():
        print(f"  {output / name}: {what}")


def main() -> None:
    """Parse the command line of `python -m kerazoo.demo`."""
    parser = argparse.ArgumentParser(prog="python -m kerazoo.demo", description="The main job on a synthetic example.")
    parser.add_argument("-o", "--output", type=Path, default=Path("demo"), help="folder for all results")
    parser.add_argument("--overwrite", action="store_true", help="replace the results of an earlier demo")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        demo(arguments.output, arguments.overwrite)
    except UserError as error:
        parser.exit(2, f"Error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "Interrupted.\n")


if __name__ == "__main__":
    main()
