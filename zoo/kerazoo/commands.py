"""Commands that go through several rooms: training, then thresholds, scores and figures; and the report of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from bmzpack.errors import UserError
from bmzpack.files import new_file
from kerazoo.config import Config
from kerazoo.models.configure import make_config, read_config
from kerazoo.runs.run import Run
from kerazoo.runs.trained import open_run


def train(
    config: Config | str | os.PathLike[str],
    run: str | os.PathLike[str] | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    overrides: Iterable[str] = (),
) -> Run:
    """Train a network and validate it.

    Parameters
    ----------
    config
        A configuration, or its YAML file.
    run
        The run folder; by default runs/NAME, after the file or the model.
    resume
        Whether to continue an interrupted run after its last complete epoch. Its history becomes the same as if it had
        not been interrupted.
    overwrite
        Whether an existing run may be replaced; it is kept aside until the new one has a complete epoch.
    progress
        Whether to show a live table (in a terminal) or a line per epoch (elsewhere) on standard output.
    overrides
        Changes of the file, of the form ``section.key=value``.

    Returns
    -------
    Run
        The run folder, with the network of the best epoch, recipe, record and figures.

    Raises
    ------
    UserError
        Something in configuration or data cannot be used, the folder exists, or the loss became NaN.
    KeyboardInterrupt
        With a message on how to continue, where an epoch was complete. Without one, the folder is removed.

    Notes
    -----
    All workers of a `TF_CONFIG` call this alike, on a shared file system; ``training.batch_size`` is divided among
    them, and worker 0 writes and validates.
    """
    from kerazoo.training.fit import fit

    if not isinstance(config, Config):
        path = Path(config)
        config = read_config(path, overrides)
        run = run or Path("runs") / path.stem
    else:  # a run folder keeps absolute paths
        config = make_config(config.model_dump(exclude_unset=True), folder=Path.cwd())
    folder = run or Path("runs") / config.model.name
    return fit(config, folder, resume=resume, overwrite=overwrite, progress=progress, finish=finish)


def finish(run: Run) -> None:
    """Choose the thresholds of a trained run on its validation images, score these, and draw them."""
    from kerazoo.evaluation.validate import validate
    from kerazoo.reports.run_figures import draw_run

    draw_run(run, validate(run))


def report(
    run: Run | str | os.PathLike[str], output: str | os.PathLike[str] | None = None, *, overwrite: bool = True
) -> Path:
    """Write the report of a run.

    Parameters
    ----------
    run
        A run or its folder.
    output
        The HTML file; by default report.html in the run folder.
    overwrite
        Whether the file may be replaced.

    Returns
    -------
    Path
        The file: a page of less than 5 MB that needs no other file and no network.

    Raises
    ------
    UserError
        There is no run, the file cannot be written, or it has no name and the run comes with the package.
    """
    from kerazoo.exporting.opening import opening
    from kerazoo.reports.report import render

    run = open_run(run)
    if output is None and run.comes_with_package:
        raise UserError("The report of a trained network of kerazoo has no folder to go to: name its file with -o.")
    path = Path(output) if output is not None else run.path / "report.html"
    content = render(run, opening(run))
    with new_file(path, overwrite=overwrite) as temporary:
        temporary.write_text(content, encoding="utf-8")
    return path
