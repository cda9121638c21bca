"""Tables on the terminal, for the commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from kerazoo.models.trained import trained_networks

if TYPE_CHECKING:
    from kerazoo.models.entry import Model

_TASKS = {
    "instances": "single objects",
    "semantic": "classes of pixels",
    "classification": "classes of patches",
    "objects": "single objects, untrained",
    "measurements": "tables of numbers",
}


def models(entries: Sequence[Model]) -> None:
    """The networks of the zoo, by what they are for."""
    table = Table("task", "network", "what it is for", box=None)
    for task, title in _TASKS.items():
        for entry in entries:
            if entry.task == task:
                table.add_row(title, entry.name, entry.purpose)
                title = ""
    Console().print(table)
    if names := trained_networks():
        Console().print(f"\nTrained, to be used by name as runs are: {', '.join(names)}", markup=False)
    Console().print("\nMore about one of them: kerazoo models NAME", markup=False)


def model(entry: Model) -> None:
    """All that is known of a network, with its arguments and their defaults."""
    console = Console(highlight=False)
    console.print(f"{entry.name}: {entry.title}\n{entry.purpose}\n", markup=False)
    for limit in entry.limits:
        console.print(f"- {limit}", markup=False)
    console.print(f"\n{entry.paper}, https://doi.org/{entry.doi}", markup=False)
    if entry.backbones:
        console.print(f"Backbones: {', '.join(entry.backbones)}", markup=False)
    if entry.builder is None:
        return
    table = Table("argument", "default", title=f"{entry.parameters:,} parameters with the defaults of")
    for name, parameter in entry.arguments().items():
        table.add_row(name, "-" if parameter.default is parameter.empty else repr(parameter.default))
    console.print(table, markup=False)
    console.print("Set them in a configuration with model.arguments, in Python with create_model.", markup=False)


def evaluation(result: Mapping[str, Any]) -> None:
    """What `kerazoo.evaluate` returns."""
    if "scores" in result:
        scores(result["scores"], f"{len(result['per_image'])} images")
    through(result)
    classes(result.get("per_class", {}))
    if "confusion" in result:
        confusion(list(result["per_class"]), result["confusion"])
    if result.get("prompts"):
        prompts(result["prompts"])
    scores(result.get("with_points", {}), "objects, each from a point in its middle")


def scores(scores: Mapping[str, object], what: str) -> None:
    """Scores by name."""
    table = Table("score", what)
    for name, value in scores.items():
        if isinstance(value, float | int):
            table.add_row(name, str(value) if isinstance(value, int) else f"{value:.4f}")
    if table.row_count:
        Console().print(table)


def through(result: Mapping[str, Any]) -> None:
    """Scores of what other programs make of a bundle, beside the own ones."""
    programs = result.get("through", {})
    columns = {name: seen["scores"] for name, seen in programs.items() if "scores" in seen}
    if "scores" in result:
        columns = {"kerazoo": result["scores"]} | columns
    if not programs:
        return
    table = Table("score", *columns)
    for name, value in next(iter(columns.values()), {}).items():
        if isinstance(value, float):
            table.add_row(
                name, *("-" if column[name] is None else f"{column[name]:.4f}" for column in columns.values())
            )
    if table.row_count:
        Console().print(table)
    for name, seen in programs.items():
        Console().print(f"{name}: {seen['way'] if 'way' in seen else seen['error']}", markup=False, highlight=False)


def classes(classes: dict[str, dict[str, Any]]) -> None:
    """Scores of every class."""
    if not classes:
        return
    names = list(next(iter(classes.values())))
    table = Table("class", *names)
    for name, scores in classes.items():
        values = (scores[column] for column in names)
        table.add_row(
            name,
            *("-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value) for value in values),
        )
    Console().print(table)


def confusion(classes: list[str], counts: list[list[int]]) -> None:
    """What is taken for what."""
    table = Table("is, taken for", *classes, title="confusion")
    for name, row in zip(classes, counts, strict=True):
        table.add_row(name, *map(str, row))
    Console().print(table)


def prompts(prompts: dict[str, Any]) -> None:
    """Scores of a network that answers prompts."""
    table = Table("prompts for every object", "mean intersection over union")
    table.add_row("a box", f"{prompts['box']:.4f}")
    table.add_row("a point", f"{prompts['point']:.4f}")
    for number, value in enumerate(prompts["corrected"], start=1):
        table.add_row(f"a point and {number} corrected", f"{value:.4f}")
    Console().print(table)


def groups(result: dict[str, Any]) -> None:
    """Groups of runs that are compared."""
    table = Table("group", result["score"], "sd", "runs")
    for group in result["groups"]:
        values = group["scores"][result["score"]]
        numbers = ("-" if values[name] is None else f"{values[name]:.4f}" for name in ("mean", "sd"))
        table.add_row(group["label"], *numbers, str(values["n"]))
    Console().print(table)
