"""The run folder: everything that is needed to repeat a run, to use its model and to report on it.

| file | holds |
| --- | --- |
| config.yaml | the configuration, all defaults written out |
| split.json | the pairs of `train` and `validation`: id, image, mask, group, sha256 of both files |
| environment.json | versions, platform, devices, command line |
| recipe.json | a `Recipe` |
| history.csv | one row per epoch |
| best.keras | the network of the best validation loss |
| last/ | weights, optimizer and position of the last complete epoch, for resuming |
| record.json | parameters, best epoch, duration, validation scores |
| figures/ | PNG files |
| agreement.json | format x largest error x latency, once exported |
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from bmzpack.errors import UserError
from bmzpack.files import new_file, refuse_existing
from bmzpack.settings import read_yaml
from kerazoo.config import Config
from kerazoo.files.pairs import Pair
from kerazoo.models.configure import make_config
from kerazoo.models.recipe import Recipe
from kerazoo.models.trained import FOLDER, NETWORK, weights_file
from kerazoo.runs.records import Agreement, Environment, Record, SplitRecord

Entry = TypeVar("Entry", bound=pydantic.BaseModel)


def recipe_beside(weights: str | None) -> Recipe | None:
    """The recipe of the run whose folder a weights file lies in; None where it lies elsewhere."""
    if weights is None or weights == "imagenet":
        return None
    run = Run(weights_file(weights).parent)
    return run.recipe if run.is_there and (run.path / "recipe.json").is_file() else None


class Run:
    """A run folder; attributes read its files.

    Parameters
    ----------
    path
        The folder.

    Raises
    ------
    UserError
        The folder is missing or holds no run (on `open`).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Run:
        """Open the folder of a run that has been trained at least one epoch."""
        run = cls(path)
        if not run.is_there:
            raise UserError(f"{run.path} is not a run folder: it has no config.yaml. Make one with `kerazoo train`.")
        if not run.model_path.is_file() or not (run.path / "recipe.json").is_file():
            raise UserError(f"{run.path} holds no trained model yet: continue it with `kerazoo train --resume`.")
        return run

    @property
    def is_there(self) -> bool:
        """Whether the folder is that of a run, trained or not."""
        return (self.path / "config.yaml").is_file()

    @property
    def comes_with_package(self) -> bool:
        """Whether it is one of the trained networks, into whose folder nothing is written."""
        return self.path.is_relative_to(FOLDER)

    def refuse_to_replace(self, overwrite: bool) -> None:
        """Refuse a folder that is there: without ``overwrite`` any, with it one that is neither a run nor empty.

        Raises
        ------
        UserError
            It is refused.
        """
        refuse_existing(self.path, overwrite)
        empty = self.path.is_dir() and not any(self.path.iterdir())
        if self.path.exists() and not empty and not self.is_there:
            raise UserError(f"{self.path} is not a run folder and is not replaced: choose another name with -o.")

    @property
    def config(self) -> Config:
        """The configuration of the run."""
        path = self.path / "config.yaml"
        return make_config(read_yaml(path, "configuration"), str(path))

    @property
    def recipe(self) -> Recipe:
        """What turns an image into a result, beside the network."""
        return self._validated("recipe", Recipe)

    @property
    def split(self) -> SplitRecord:
        """The images of both sides."""
        return self._validated("split", SplitRecord)

    @property
    def record(self) -> Record:
        """What became of the training."""
        return self._validated("record", Record)

    @property
    def environment(self) -> Environment:
        """Machine, versions and command."""
        return self._validated("environment", Environment)

    @property
    def agreement(self) -> dict[str, Agreement]:
        """How well the weights formats agree, by format; empty before the run is exported."""
        with self._whole("agreement.json"):
            return {name: Agreement.model_validate(entry) for name, entry in self._read("agreement").items()}

    @property
    def history_path(self) -> Path:
        """The CSV file with one row per epoch."""
        return self.path / "history.csv"

    @property
    def model_path(self) -> Path:
        """The Keras file of the best epoch."""
        return self.path / NETWORK

    @property
    def figures(self) -> Path:
        """The folder of the figures; whoever writes into it makes it."""
        return self.path / "figures"

    @property
    def unfinished(self) -> str | None:
        """What must be known of a run whose training has not come to its end, in a sentence; None of others."""
        record = self.record
        if record.converted_from is not None or (record.epochs is not None and record.scores):
            return None
        if record.epochs is None and self.history_path.is_file():
            done = len(self.history_path.read_text(encoding="utf-8").splitlines()) - 1
            held = f"{done} of {self.config.training.epochs} epochs, and its thresholds are"
        else:
            held = "all epochs, but its thresholds are"
        return f"{self.path} holds {held} not chosen yet: finish it with kerazoo train CONFIG -o {self.path} --resume."

    def held_out(self) -> list[Pair]:
        """The validation pairs."""
        return [
            Pair(
                entry.id,
                self.path / entry.image,
                self.path / entry.mask if entry.mask else None,
                category=entry.category,
            )
            for entry in self.split.validation
        ]

    def write(self, name: str, content: Any) -> None:
        """Write ``name``.json in one piece."""
        with new_file(self.path / f"{name}.json", overwrite=True) as path:
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def update_record(self, **content: Any) -> None:
        """Add entries to record.json."""
        self.write("record", self._read("record") | content)

    def _validated(self, name: str, kind: type[Entry]) -> Entry:
        with self._whole(f"{name}.json"):
            return kind.model_validate(self._read(name))

    def _read(self, name: str) -> dict[str, Any]:
        """The content of ``name``.json; an empty dict where it is not written yet."""
        path = self.path / f"{name}.json"
        with self._whole(path.name):
            content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            if not isinstance(content, dict):
                raise TypeError
            return content

    @contextlib.contextmanager
    def _whole(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{self.path / name} is damaged or missing: put a copy of it back, or train anew with --overwrite, "
                f"from a copy of {self.model_path.name} as model.weights, so that nothing that was learned is lost."
            ) from error
