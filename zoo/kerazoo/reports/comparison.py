"""Several runs side by side: those that differ only by their seeds are one group, whose spread is shown."""

from __future__ import annotations

import csv
import dataclasses
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bmzpack.errors import UserError
from bmzpack.files import new_file, refuse_existing
from kerazoo.models.family import Task
from kerazoo.reports.figures import BLUE, GREEN, INK, ORANGE, PINK, SKY, VERMILION, plain, read_history, save
from kerazoo.reports.settings import differs, flat_settings
from kerazoo.reports.tasks import PRESENTATIONS
from kerazoo.runs.run import Run

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PINK, SKY, INK)
_OF_WEIGHTS = ("model.weights", "training.transfer", "training.freeze_until")


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run as it is compared."""

    path: Path
    task: Task
    settings: dict[str, Any]
    """The configuration, flat: `training.epochs` and so on."""
    history: dict[str, np.ndarray]
    """Columns of history.csv, float (epoch)."""
    scores: dict[str, float | None]


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that differ only by their seeds."""

    label: str
    runs: list[Finished]

    def values(self, score: str) -> list[float]:
        """A score of every run in which it is defined."""
        return [value for run in self.runs if (value := run.scores.get(score)) is not None]

    def curves(self, column: str) -> np.ndarray:
        """A column of the histories, float (run, epoch), up to the last epoch that every run has reached."""
        columns = [run.history[column] for run in self.runs if column in run.history]
        length = min(map(len, columns), default=0)
        return np.array([column[:length] for column in columns])


def compare(
    runs: Sequence[Run | str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    score: str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Compare runs by their validation, in a figure and a table.

    Runs that differ only by `training.seed` and `split.seed` are one group, named by what distinguishes it from the
    other groups. The figure shows the course of the validation in every group, as mean of its runs with the range from
    the lowest to the highest, and the final score of every run. A CSV file of the figure's name beside it holds mean,
    standard deviation and number of runs of every group and score.

    Parameters
    ----------
    runs
        Finished runs of one task, or their folders.
    output
        The PNG file.
    score
        A name of the runs' scores; by default `ap_50` for instances, `iou` for pixels, `balanced_accuracy` for patches.
    overwrite
        Whether both files may be replaced.

    Returns
    -------
    dict
        ``score``; ``groups``: of each its ``label``, the ``runs`` and the ``scores``, by name ``mean``, ``sd`` (None of
        a single run) and ``n``.

    Raises
    ------
    UserError
        Fewer than two runs, one twice, an unfinished one, several tasks, a score that no run has, or a file exists.
    """
    output = Path(output)
    if output.suffix.lower() != ".png":
        raise UserError(f"{output}: the figure is a PNG file, give it a name that ends in .png.")
    table = output.with_suffix(".csv")
    for path in (output, table):
        refuse_existing(path, overwrite)
    finished = [_read(run if isinstance(run, Run) else Run.open(run)) for run in runs]
    _check(finished)
    groups = group_runs(finished)
    names = list(dict.fromkeys(name for run in finished for name in run.scores))
    score = score or PRESENTATIONS[finished[0].task].compared[0]
    if not any(group.values(score) for group in groups):
        raise UserError(f"No run has the score {score!r}: choose one of {', '.join(names)}.")
    result = {
        "score": score,
        "groups": [
            {
                "label": group.label,
                "runs": [str(run.path) for run in group.runs],
                "scores": {name: _statistics(group.values(name)) for name in names},
            }
            for group in groups
        ],
    }
    _write_table(result, table)
    _draw(groups, score, output)
    return result


def group_runs(runs: Sequence[Finished]) -> list[Group]:
    """Put repetitions together, and name each group by the settings in which the groups differ.

    Parameters
    ----------
    runs
        In any order.

    Returns
    -------
    list of Group
        In the order of their first runs.
    """
    members: dict[str, list[Finished]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for run in runs:
        kept = {name: value for name, value in run.settings.items() if differs(name)}
        key = repr(sorted(kept.items()))
        members.setdefault(key, []).append(run)
        settings[key] = kept
    known = dict.fromkeys(name for kept in settings.values() for name in kept)
    different = [name for name in known if len({repr(kept.get(name)) for kept in settings.values()}) > 1]
    labels = {key: _label(kept, different, short=True) for key, kept in settings.items()}
    if len(set(labels.values())) < len(labels):
        labels = {key: _label(kept, different, short=False) for key, kept in settings.items()}
    return [Group(labels[key] or group[0].settings["model.name"], group) for key, group in members.items()]


def _label(settings: Mapping[str, Any], names: Sequence[str], short: bool) -> str:
    """Settings in one line, with ``short`` a path by its name only. Settings of pretrained weights are left out where
    there are none.
    """

    def text(value: Any) -> str:
        if value is None:
            return "none"
        return Path(value).name if short and isinstance(value, str) else str(value)

    scratch = "model.weights" in names and settings.get("model.weights") is None
    shown = [name for name in names if not (scratch and name in _OF_WEIGHTS)]
    return ", ".join(
        [*(["from scratch"] if scratch else []), *(f"{name}: {text(settings.get(name))}" for name in shown)]
    )


def _read(run: Run) -> Finished:
    scores = run.record.scores
    if not scores:
        raise UserError(f"{run.path} has no validation scores yet: finish it with `kerazoo train --resume`.")
    return Finished(run.path, run.recipe.task, flat_settings(run.config), read_history(run.history_path), scores)


def _check(runs: Sequence[Finished]) -> None:
    if len(runs) < 2:
        raise UserError("There is nothing to compare: name at least two runs.")
    seen: set[Path] = set()
    for run in runs:
        if run.path.resolve() in seen:
            raise UserError(f"{run.path} is named twice: leave one out.")
        seen.add(run.path.resolve())
        if run.task != runs[0].task:
            raise UserError(
                f"{run.path} is a run of {run.task}, but {runs[0].path} one of {runs[0].task}: their scores cannot be "
                "compared."
            )


def _statistics(values: Sequence[float]) -> dict[str, float | int | None]:
    return {
        "mean": statistics.fmean(values) if values else None,
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "n": len(values),
    }


def _write_table(result: Mapping[str, Any], path: Path) -> None:
    with new_file(path, overwrite=True) as written, written.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["group", "score", "mean", "sd", "n"])
        for group in result["groups"]:
            for name, values in group["scores"].items():
                writer.writerow([group["label"], name, *("" if value is None else value for value in values.values())])


def _draw(groups: Sequence[Group], score: str, path: Path) -> None:
    columns = [f"val_{score}"]
    if all(_losses(group) == _losses(groups[0]) for group in groups):  # else the curves are of different things
        columns.insert(0, "val_loss")
    columns = [column for column in columns if any(group.curves(column).size for group in groups)]
    labels = [f"{group.label}  (n = {len(group.runs)})" for group in groups]
    colours = [COLOURS[place % len(COLOURS)] for place in range(len(groups))]
    foot = 0.24 * len(groups) + 0.15
    figure = Figure(figsize=(3.6 * len(columns) + 1.5 + 0.4 * len(groups), 3.4 + foot), layout="constrained")
    figure.set_layout_engine("constrained", rect=(0, foot / (3.4 + foot), 1, 1 - foot / (3.4 + foot)))
    *left, right = figure.subplots(
        1, len(columns) + 1, squeeze=False, width_ratios=[3.6] * len(columns) + [1.5 + 0.4 * len(groups)]
    )[0]
    for ax, column in zip(left, columns, strict=True):
        for group, colour in zip(groups, colours, strict=True):
            _draw_curves(ax, group.curves(column), colour)
        ax.set_title(column.replace("val_", "validation ").replace("_", " "), fontsize=10, color=INK)
        ax.set_xlabel("epoch", fontsize=9)
        ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, nbins=6))
    for place, (group, colour) in enumerate(zip(groups, colours, strict=True)):
        values = group.values(score)
        if values:
            shifts = np.linspace(-0.14, 0.14, len(values)) if len(values) > 1 else [0.0]
            right.plot(place + np.asarray(shifts), values, "o", color=colour, markersize=5, alpha=0.75)
            right.hlines(statistics.fmean(values), place - 0.28, place + 0.28, color=colour, linewidth=2)
    right.set_title(f"final {score.replace('_', ' ')}", fontsize=10, color=INK)
    right.set_xlim(-0.6, len(groups) - 0.4)
    right.set_xticks([])
    for ax in (*left, right):
        plain(ax, "y" if ax is right else "both")
    handles = [right.plot([], [], "o-", color=colour, markersize=5, linewidth=2)[0] for colour in colours]
    figure.legend(handles, labels, loc="lower left", frameon=False, fontsize=9)
    save(figure, path)


def _draw_curves(ax: Axes, curves: np.ndarray, colour: str) -> None:
    if not curves.size:
        return
    epochs = np.arange(1, curves.shape[1] + 1)
    if len(curves) > 1:
        ax.fill_between(epochs, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.18, linewidth=0)
    marker = "o" if len(epochs) < 3 else None
    ax.plot(epochs, curves.mean(axis=0), color=colour, linewidth=1.8, marker=marker, markersize=4)


def _losses(group: Group) -> dict[str, Any]:
    return {name: value for name, value in group.runs[0].settings.items() if name.startswith("training.loss.")}
