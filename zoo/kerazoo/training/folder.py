"""The run folder of a training: refused or claimed before it begins, and all written that is known by then."""

from __future__ import annotations

import itertools
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


class Claim:
    """The folder of one training, made by it and by no other; an older run is kept until the new one has an epoch.

    Parameters
    ----------
    run
        The folder.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._made, self._older = False, None

    def take(self, overwrite: bool) -> None:
        """Make the folder; an older run is moved aside.

        Raises
        ------
        UserError
            The folder is there, and was not when the training was started.
        """
        path = self.run.path
        if overwrite and path.exists():
            places = (path.with_name(f"{path.name}.old{number or ''}") for number in itertools.count())
            older = next(place for place in places if not place.exists())
            self._older = path.rename(older)
        try:
            path.mkdir(parents=True)
        except FileExistsError as error:
            raise UserError(
                f"{path} has been made meanwhile, by another training with the same name: wait for it, or choose "
                "another name with -o."
            ) from error
        except OSError as error:
            raise UserError(f"{path} cannot be made ({error.strerror}): choose another place with -o.") from error
        self._made = True

    def settle(self) -> None:
        """Remove the older run."""
        if self._older is not None:
            shutil.rmtree(self._older, ignore_errors=True)

    def undo(self) -> None:
        """Remove the folder, if this training has made it, and bring the older run back."""
        if self._made:
            shutil.rmtree(self.run.path, ignore_errors=True)
        if self._older is not None:
            self._older.rename(self.run.path)


def write_beginning(run: Run, job: Job, resume: bool) -> None:
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
    with new_file(run.path / "config.yaml", overwrite=True) as path:
        content = yaml.safe_dump(job.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        path.write_text(content, encoding="utf-8")
    run.write("split", split)
    environment = run.environment.as_json() or describe_environment(job.policy, job.workers.count)
    if resume:
        environment["resumed"] = [*environment.get("resumed", []), now()]
    run.write("environment", environment)
    run.write("recipe", job.recipe().model_dump(mode="json"))
