"""A card as Markdown, from an entry of the registry, its built network and its records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from bmzpack.measure.keras_graph import operation_of
from kerazoo.models.backbones import scales_itself
from kerazoo.models.entry import Model
from kerazoo.models.registry import baseline as baseline_entry
from kerazoo.models.registry import family_of_model
from kerazoo.reports.cards.built import BuiltNetwork
from kerazoo.reports.cards.records import CardRecord, mean_and_deviation
from kerazoo.reports.cards.texts import COMMANDS, TASKS, WARNINGS
from kerazoo.reports.cards.variants import compare_variants

NOTICE = "<!-- Rendered by `kerazoo cards` from the registry and the records: change those, not this file. -->"
AXES = ("z", "y", "x")
"""Axes of images, the last ones of which a network has between the batch and the channels."""


def render_card(entry: Model, network: BuiltNetwork | None, records: Sequence[CardRecord], *, figure: bool) -> str:
    """Write the card of a model.

    Parameters
    ----------
    entry
        The entry of the registry.
    network
        None where the entry has none.
    records
        Those of the model.
    figure
        Whether there is one.

    Returns
    -------
    str
        Markdown; the figure is expected in `figures/NAME.svg` beside it.
    """
    parts = [
        f"# {entry.title} (`{entry.name}`)",
        NOTICE,
        entry.purpose,
        _overview(entry, network),
        *([f"![{figure_title(entry)}](figures/{entry.name}.svg)"] if figure else []),
        "## Input and output",
        "\n".join(_tensors(entry, network) if network else (f"- {entry.card.input}", f"- {entry.card.output}")),
        "## How to use it",
        _usage(entry),
        *_arguments(entry),
        "## What was measured",
        *_variants(records),
        *(_record(record) for record in records),
        *([] if records else ["No run is recorded."]),
        "## Limits",
        "\n".join(f"- {limit}" for limit in entry.limits),
        "## Before you trust a score",
        "\n".join(f"- {warning}" for warning in WARNINGS[entry.task]),
        "## Paper",
        f"{entry.citation}. https://doi.org/{entry.doi}",
    ]
    return "\n\n".join(parts) + "\n"


def render_index(entries: Sequence[Model], records: dict[str, list[CardRecord]]) -> str:
    """Write the page that lists all cards.

    Parameters
    ----------
    entries
        All models.
    records
        By name of the model.

    Returns
    -------
    str
        Markdown.
    """
    rows = [
        (
            f"[{entry.title}]({entry.name}.md)",
            f"`{entry.name}`",
            TASKS[entry.task],
            f"{entry.parameters:,}" if entry.parameters else "-",
            entry.paper,
            ", ".join(dict.fromkeys(record.dataset for record in records[entry.name])) or "-",
        )
        for entry in entries
    ]
    return "\n\n".join(
        [
            "# Models",
            NOTICE,
            "What every network of the zoo is for, how it is built and used, what was measured with it, and where it "
            "fails. Every number comes from the registry, from the built network, or from a run folder "
            "(`kerazoo record`).",
            _table(("model", "name", "gives", "parameters", "paper", "recorded on"), rows),
        ]
    ) + "\n"  # fmt: skip


def figure_title(entry: Model) -> str:
    """What the figure of a model shows."""
    return f"{entry.title}: its steps" if entry.builder is None else f"{entry.title}: its layers, from input to output"


def _overview(entry: Model, network: BuiltNetwork | None) -> str:
    rows = [("gives", TASKS[entry.task])]
    if network:
        rows.append(("parameters", f"{entry.parameters:,}"))
        counted = [("units", network.count.units), ("connections", network.count.connections)]
        counted.append(("multiply-adds", network.count.multiply_adds))
        rows += [(name, f"{_large(number)} for {_example(network)}") for name, number in counted]
    if entry.backbones:
        rows.append(("backbones", ", ".join(f"`{name}`" for name in entry.backbones)))
    rows.append(("paper", f"[{entry.paper}](https://doi.org/{entry.doi})"))
    return _table(("", entry.name), rows)


def _large(number: int) -> str:
    return f"{number / 1e6:,.0f} million" if number >= 1e7 else f"{number:,}"


def _example(network: BuiltNetwork) -> str:
    inputs = network.model.inputs
    examples = list(dict.fromkeys(_example_of(tensor.shape[1:]) for tensor in inputs))
    return (f"{len(inputs)} inputs of " if len(inputs) > len(examples) else "") + " and ".join(examples)


def _example_of(shape: Sequence[int]) -> str:
    *sides, channels = shape
    return f"{' x '.join(map(str, sides))} pixels, {_counted(channels, 'channel')}" if sides else f"{channels} numbers"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 'es' if what.endswith('s') else 's'}"


def _tensors(entry: Model, network: BuiltNetwork) -> list[str]:
    of_objects = family_of_model(entry.name).learns_objects
    inputs = [
        f"- `{tensor.name}` ({_axes(tensor, 'channel' if network.takes_images else 'feature')}; float32): "
        f"{_input_values(entry, network)}"
        for tensor in network.model.inputs
    ]
    outputs = [
        f"- `{name}` ({_axes(tensor, 'channel' if of_objects else 'class')}; float32): {_output_values(entry, tensor)}"
        for name, tensor in network.outputs.items()
    ]
    return [*inputs, *outputs, *([f"- Sizes: {_sizes(network, of_objects)}"] if network.takes_images else [])]


def _axes(tensor: Any, last: str) -> str:
    spatial = len(tensor.shape) - 2
    return ", ".join(["batch", *AXES[len(AXES) - spatial :], last])


def _sizes(network: BuiltNetwork, of_objects: bool) -> str:
    geometry = network.geometry
    if geometry is None:
        sizes = dict.fromkeys(" x ".join(map(str, tensor.shape[1:-1])) for tensor in network.model.inputs)
        return f"{' and '.join(sizes)} pixels only."
    sizes = f"{geometry.minimum} pixels or any multiple of {geometry.step} more on each side"
    if geometry.halo is None and of_objects:
        return f"{sizes}; all of the image decides on every pixel."
    if geometry.halo is None:
        return f"{geometry.minimum} pixels or more on each side; all of a patch decides on its class."
    values = "values depend" if of_objects else "class depends"
    text = f"{sizes}; a pixel's {values} on {geometry.halo} pixels around it."
    return text + (f" The output is {2 * geometry.margin} pixels smaller than the input." if geometry.margin else "")


def _input_values(entry: Model, network: BuiltNetwork) -> str:
    if not network.takes_images:
        return "measurements, any numbers."
    if scales_itself(network.model):
        methods = "`scaling`" if entry.task == "classification" else "`scaling` or `percentile`"
        return f"values between 0 and 1 (`normalisation.method` {methods}); the rest is in the graph."
    if entry.task == "classification":
        return (
            "as normalised by the run; `kerazoo init` chooses what is the same for a patch and a whole slide: one "
            "range (`scaling`), or mean and deviation of all training images."
        )
    text = "as normalised by the run, by default to zero mean and unit variance in every image"
    return text + ("; with a backbone between 0 and 1 (`scaling` or `percentile`)." if entry.backbones else ".")


def _output_values(entry: Model, output: Any) -> str:
    classes = output.shape[-1]
    if entry.card.output:
        return entry.card.output.format(classes=classes)
    if getattr(operation_of(output), "activation", None) is keras.activations.softmax:
        return f"{classes} probabilities between 0 and 1 that add up to 1 (softmax)."
    return "a probability between 0 and 1 (sigmoid)."


def _usage(entry: Model) -> str:
    return f"```python\n{entry.card.program}\n```" if entry.card.program else _commands(entry)


def _commands(entry: Model) -> str:
    commands = [(command.format(name=entry.name), comment) for command, comment in COMMANDS[entry.task]]
    width = max(len(command) for command, comment in commands if comment)
    lines = [f"{command:{width}}   # {comment}" if comment else command for command, comment in commands]
    return "\n".join(["```", *lines, "```"])


def _arguments(entry: Model) -> Iterator[str]:
    if entry.builder and not entry.card.program:
        yield f'In Python, `kerazoo.create_model("{entry.name}")` is a plain `keras.Model`.'
    if entry.backbones:
        yield (
            f"`kerazoo init {entry.name} --backbone {entry.backbones[0]} --weights imagenet ...` starts from an "
            "encoder that was trained on ImageNet; `training.transfer` says what becomes of its weights. They are "
            "those of `keras.applications`: mind its licence (Apache 2.0) and the terms of ImageNet."
        )


def _variants(records: Sequence[CardRecord]) -> Iterator[str]:
    for comparison in compare_variants(records):
        yield f"### {comparison.dataset}: all variants"
        yield _table(comparison.head, comparison.rows)
        yield comparison.remarks


def _record(record: CardRecord) -> str:
    source = f", {record.source}" if record.source else ""
    settings = ", ".join(f"`{name}={_value(value)}`" for name, value in record.settings.items()) or "none"
    return "\n\n".join(
        [
            f"### {record.dataset}" + (f": {record.variant}" if record.variant else ""),
            f"Licence of the images: {record.licence}{source}. {_learned(record)}",
            _scores(record),
            _how_scored(record),
            f"```\n{record.command}\n```",
            f"Settings other than the default: {settings}.",
            _how_trained(record),
        ]
    )


def _how_scored(record: CardRecord) -> str:
    first, seeds = record.runs[0], ", ".join(str(run.seed) for run in record.runs)
    if len(record.runs) > 1:
        spread = f"Mean ± standard deviation of {_counted(len(record.runs), 'run')} (seed {seeds})"
    else:
        spread = f"One run (seed {seeds}); its spread is not known"
    chosen = "the best epoch and the thresholds were" if record.tuned else "the best epoch was"
    return (
        f"{spread}, trained on {_counted(first.train_images, 'image')}. Validation images were held out of the "
        f"training, but {chosen} chosen on them."
        + (" Test images took no part in the training." if first.test else "")
        + (f" {record.remark}" if record.remark else "")
    )


def _how_trained(record: CardRecord) -> str:
    machine = record.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    return (
        f"Trained {machine.date} in {_durations(record)} on {_hardware(record)} ({machine.system}, Python "
        f"{machine.python}, {packages}, {machine.precision})." + _formats(record)
    )


def _learned(record: CardRecord) -> str:
    """The classes, or the first outputs of a network for single objects."""
    if family_of_model(record.model).learns_objects:
        return "Objects are learned."
    return f"Classes: {', '.join(record.classes)}."


def _scores(record: CardRecord) -> str:
    first = record.runs[0]
    parts = ["validation", *(["test"] if all(run.test for run in record.runs) else [])]
    names = list(dict.fromkeys(name for run in record.runs for name in run.validation.scores))
    heads = [f"{part} ({_counted(getattr(first, part).images, 'image')})" for part in parts]
    baseline = [run.baseline for run in record.runs if run.baseline]
    rows = []
    for name in names:
        cells = [mean_and_deviation(values) if (values := record.values(part, name)) else "-" for part in parts]
        if baseline:
            cells.append(mean_and_deviation([scores[name] for scores in baseline]) if name in baseline[0] else "-")
        rows.append((f"`{name}`", *cells))
    entry = baseline_entry()
    untrained = f"without training (`{entry.name}`), validation" if entry else "without training, validation"
    return _table(("score", *heads, *([untrained] if baseline else [])), rows)


def _durations(record: CardRecord) -> str:
    seconds = [run.seconds for run in record.runs]
    low, high = min(seconds) / 60, max(seconds) / 60
    return f"{low:.1f} minutes" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f} minutes"


def _hardware(record: CardRecord) -> str:
    machine = record.machine
    return ", ".join([*dict.fromkeys(machine.gpus), f"{_counted(machine.cores, 'core')} ({machine.processor})"])


def _formats(record: CardRecord) -> str:
    if not record.formats:
        return ""
    errors = ", ".join(f"{name} {error:.0e}" for name, error in record.formats.items())
    return f" Its bundle agrees with Keras within (part of the output's range): {errors}."


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return {True: "true", False: "false", None: "null"}[value] if isinstance(value, bool | None) else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
