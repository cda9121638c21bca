"""Records of runs for the cards: settings, scores and machine, taken from run folders and small enough to be kept.

Runs that differ only by their seeds are one record. Nothing in it names a place on the machine that made it.
"""

from __future__ import annotations

import json
import os
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from bmzpack.errors import UserError
from bmzpack.files import new_file, refuse_existing
from bmzpack.settings import Section, validate
from kerazoo.config import Config
from kerazoo.models.configure import make_config
from kerazoo.models.family import Task
from kerazoo.models.registry import get_model
from kerazoo.reports.settings import SEEDS, differs, flat_settings
from kerazoo.runs.run import Run

_ELSEWHERE = ("model.name", "data.images", "data.masks", "data.folder", "data.table")
"""Settings that the record has in another place, or that are places."""
PACKAGES = ("kerazoo", "keras", "tensorflow")
"""Whose versions a record keeps."""
_PATH = re.compile(r"(?<![\w./:])/+[^\s/]|:/(?!/)|file:|~\w*/|\b[A-Za-z]:\\|\\\\\w")
"""The beginning of an absolute path, which the slashes of an address or of a fraction are not."""


class Scored(Section):
    """Scores of one run on one set of images."""

    images: int
    scores: dict[str, float]
    """Those that are defined, by the names of `kerazoo.evaluation`."""


class RecordedRun(Section):
    """One run of a record."""

    seed: int
    """`training.seed`."""
    split_seed: int
    train_images: int
    validation: Scored
    test: Scored | None = None
    """Images that neither trained nor chose anything."""
    baseline: dict[str, float] = {}
    """Scores of blur, threshold and watershed on the validation images."""
    epochs: int
    best_epoch: int
    seconds: float
    """Duration of the training."""


class Machine(Section):
    """Where the first run was made, and with what."""

    date: str
    """Year, month and day."""
    system: str
    processor: str
    cores: int
    gpus: list[str] = []
    precision: str
    python: str
    packages: dict[str, str]


class CardRecord(Section):
    """A setting, and the runs that were made with it."""

    model: str
    """Name in the registry."""
    dataset: str
    """Name of the images, for people."""
    variant: str | None = None
    """What sets these runs apart from others on the same images."""
    remark: str | None = None
    """What must be known to judge the scores."""
    source: str | None = None
    """Where the images can be had: an address or a DOI."""
    licence: str
    """Licence of the images; an SPDX identifier where there is one."""
    command: str
    """The command line of the training."""
    task: Task
    classes: list[str]
    tuned: bool
    """Whether thresholds of the decoding were chosen on the validation images."""
    settings: dict[str, Any]
    """Every setting that is not the default, by its name in the configuration, seeds apart."""
    runs: list[RecordedRun] = Field(min_length=1)
    machine: Machine
    formats: dict[str, float] = {}
    """Largest error of each weights format of the exported bundle, relative to the range of the output."""

    def values(self, part: str, score: str) -> list[float]:
        """A score of all runs in which it is defined; ``part`` is `validation` or `test`."""
        scored = [getattr(run, part) for run in self.runs]
        return [each.scores[score] for each in scored if each is not None and score in each.scores]


def write_record(
    runs: Sequence[Run | str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    dataset: str,
    licence: str,
    command: str,
    source: str | None = None,
    variant: str | None = None,
    remark: str | None = None,
    tests: Sequence[str | os.PathLike[str]] = (),
    overwrite: bool = False,
) -> CardRecord:
    """Write a record of finished runs.

    Parameters
    ----------
    runs
        Runs of one setting, or their folders; they may differ by their seeds.
    output
        The ``.json`` to write, in a folder that is named by the model: `records/NAME/DATASET.json`.
    dataset
        Name of the images.
    licence
        Licence of the images.
    command
        The command line of the training, without any absolute path.
    source
        Where the images can be had.
    variant
        What sets these runs apart from others on the same images, such as: from scratch.
    remark
        A sentence that must be known to judge the scores.
    tests
        Files that `kerazoo evaluate --json` wrote about further images, one for each run, in the same order.
    overwrite
        Whether an existing record may be replaced.

    Returns
    -------
    CardRecord
        What was written.

    Raises
    ------
    UserError
        A run is not finished, runs have different settings or the same seeds, a text holds an absolute path, the folder
        is named by another model, or the file exists.
    """
    output = Path(output)
    refuse_existing(output, overwrite)
    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    if not opened:
        raise UserError("There is no run to record: name at least one run folder.")
    if tests and len(tests) != len(opened):
        raise UserError(f"There are {len(opened)} runs and {len(tests)} files of test scores: give one for each run.")
    configs = [run.config for run in opened]
    settings = _common_settings(opened, configs)
    results = [_recorded(run, config) for run, config in zip(opened, configs, strict=True)]
    if len({(result.seed, result.split_seed) for result in results}) < len(results):
        raise UserError(f"Two of the runs have the same seeds: change {' or '.join(SEEDS)}, or record one of them.")
    for result, run, path in zip(results, opened, tests, strict=False):
        result.test = _read_test(Path(path), run)
    recipe, config = opened[0].recipe, configs[0]
    content = {
        "model": config.model.name,
        "dataset": dataset,
        "variant": variant,
        "remark": remark,
        "source": source,
        "licence": licence,
        "command": command,
        "task": recipe.task,
        "classes": recipe.classes,
        "tuned": recipe.decoding != config.decoding,
        "settings": settings,
        "runs": [result.model_dump() for result in results],
        "machine": _machine(opened[0]),
        "formats": {name: entry.max_abs_error for name, entry in opened[0].agreement.items()},
    }
    record = validate(CardRecord, content, "the record")
    _check_folder(record, output)
    _refuse_paths(content)
    with new_file(output, overwrite=overwrite) as path:
        path.write_text(record.model_dump_json(indent=2, exclude_defaults=True) + "\n", encoding="utf-8")
    return record


def read_records(folder: str | os.PathLike[str], model: str) -> list[CardRecord]:
    """The records of a model.

    Parameters
    ----------
    folder
        The folder of all records, which holds one folder per model.
    model
        Name in the registry.

    Returns
    -------
    list of CardRecord
        In the order of their files' names; empty where there is no folder of this name.

    Raises
    ------
    UserError
        A file is no record, or one of another model.
    """
    records = []
    for path in sorted(Path(folder, model).glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{path} is not a JSON file: write it anew with `kerazoo record`.") from error
        record = validate(CardRecord, content, str(path))
        _check_folder(record, path)
        records.append(record)
    return records


def mean_and_deviation(values: Sequence[float]) -> str:
    """Both in one cell: the mean, and of two or more values the standard deviation of a sample."""
    mean = f"{statistics.fmean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.3f}"


def _common_settings(runs: Sequence[Run], configs: Sequence[Config]) -> dict[str, Any]:
    flat = [flat_settings(config) for config in configs]
    differing = {
        name for settings in flat for name in settings if settings[name] != flat[0].get(name) and differs(name)
    }
    if differing:
        raise UserError(
            f"{runs[0].path} and the other runs differ by {', '.join(sorted(differing))}: a record is of one setting, "
            "only its seeds may vary. Write several records."
        )
    config = configs[0]
    # What a configuration of this kind holds where nothing else was chosen: patches have another default loss.
    content = {"model": {"name": config.model.name}, "data": {"annotation": config.data.annotation}}
    default = flat_settings(make_config(content))
    changed = {
        name: value
        for name, value in flat[0].items()
        if value != default.get(name) and differs(name) and not name.startswith(_ELSEWHERE)
    }
    if changed.get("model.weights", "imagenet") != "imagenet":
        changed["model.weights"] = Path(changed["model.weights"]).name
    return changed


def _recorded(run: Run, config: Config) -> RecordedRun:
    record, split = run.record, run.split
    if not record.scores or not split.validation:
        raise UserError(f"{run.path} holds no scores: finish it with `kerazoo train --resume`.")
    content = {
        "seed": config.training.seed,
        "split_seed": config.split.seed,
        "train_images": len(split.train),
        "validation": Scored(images=len(split.validation), scores=_defined(record.scores)),
        "baseline": _defined(record.validation.get("baseline", {})),
        "epochs": record.epochs,
        "best_epoch": record.best_epoch,
        "seconds": record.seconds,
    }
    return validate(RecordedRun, content, str(run.path / "record.json"))


def _defined(scores: dict[str, float | None]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in scores.items() if value is not None}


def _read_test(path: Path, run: Run) -> Scored:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        task, scored = content["task"], Scored(images=len(content["per_image"]), scores=_defined(content["scores"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} holds no scores: write it with `kerazoo evaluate {run.path} --json`.") from error
    if task != run.recipe.task:
        raise UserError(f"{path} holds scores of {task}, but {run.path} is a run of {run.recipe.task}.")
    return scored


def _machine(run: Run) -> dict[str, Any]:
    environment = run.environment
    content = {
        "date": (environment.started or "")[:10],
        "system": (environment.platform or "").partition("-")[0],
        "processor": environment.processor,
        "cores": environment.cores,
        "precision": environment.precision,
        "python": environment.python,
    }
    packages = {name: environment.packages.get(name) for name in PACKAGES}
    for name, value in (content | packages).items():
        if not value:
            raise UserError(f"{run.path}: environment.json says nothing of '{name}': train anew to record it.")
    return content | {"gpus": environment.gpus, "packages": packages}


def _check_folder(record: CardRecord, path: Path) -> None:
    get_model(record.model)
    if path.absolute().parent.name != record.model:
        raise UserError(
            f"{path} is a record of {record.model}, but its folder is named {path.absolute().parent.name}: put it into "
            f"records/{record.model}/."
        )


def _refuse_paths(content: Any, where: str = "") -> None:
    if isinstance(content, dict):
        for key, value in content.items():
            _refuse_paths(value, f"{where}.{key}" if where else str(key))
    elif isinstance(content, list):
        for value in content:
            _refuse_paths(value, where)
    elif isinstance(content, str) and _PATH.search(content):
        raise UserError(
            f"`{where}` holds an absolute path of this machine ({content!r}): records are published, name files "
            "without their folders."
        )
