"""The run folder of a training: refused or claimed before it begins, and all written that is known by then."""

from __future__ import annotations

import shutil

import yaml

from bmzpack.errors import UserError
from bmzpack.files import new_file
from kerazoo.config import Config
from kerazoo.runs.environment import describe_environment, now
from kerazoo.runs.run import Run
from kerazoo.training.job import Job
from kerazoo.training.state import remove_unfinished_files


def check_folder(run: Run, config: Config, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that cannot be trained into.

    Raises
    ------
    UserError
        It exists, is no run, or was begun with another configuration.
    """
    if resume and overwrite:
        raise UserError("Either continue the run (--resume) or replace it (--overwrite), not both.")
    if not resume:
        run.refuse_to_replace(overwrite)
        return
    if not run.is_there:
        raise UserError(f"There is no run in {run.path} to continue: leave out --resume, or correct the name.")
    before, after = run.config.model_dump(), config.model_dump()
    changed = [f"{a}.{b}" for a in after for b in after[a] if before[a][b] != after[a][b]]
    if changed:
        raise UserError(
            f"{run.path} was begun with another configuration ({', '.join(changed)} differ): continue it with its own, "
            f"{run.path / 'config.yaml'}, or train anew."
        )


def open_folder(run: Run, job: Job, overwrite: bool, resume: bool) -> None:
    """Write all that is known before the first step.

    Raises
    ------
    UserError
        The images of a run that is continued have changed.
    """
    split = job.split.as_json()
    if resume:
        if run.split.as_json() not in ({}, split):
            raise UserError(f"Images or masks have changed since {run.path} was begun: train anew.")
        remove_unfinished_files(run)
    elif overwrite and run.path.exists():
        shutil.rmtree(run.path)
    with new_file(run.path / "config.yaml", overwrite=True) as path:
        content = yaml.safe_dump(job.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        path.write_text(content, encoding="utf-8")
    run.write("split", split)
    environment = run.environment.as_json() or describe_environment(job.policy, job.workers.count)
    if resume:
        environment["resumed"] = [*environment.get("resumed", []), now()]
    run.write("environment", environment)
    run.write("recipe", job.recipe().model_dump(mode="json"))
