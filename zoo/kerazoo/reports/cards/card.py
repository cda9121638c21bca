"""A card as Markdown, from an entry of the registry, its built network and its records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from kerazoo.models.registry import Model
from kerazoo.reports.cards.built import Facts
from kerazoo.reports.cards.records import Record, mean_and_deviation
from kerazoo.reports.cards.texts import COMMANDS, PYTHON, TASKS, VALUES, WARNINGS
from kerazoo.reports.cards.variants import compare_variants

NOTICE = "<!-- Rendered by `kerazoo cards` from the registry and the records: change those, not this file. -->"
AXES = {2: "batch, {last}", 4: "batch, y, x, channel"}
"""By number of axes."""


def render_card(entry: Model, facts: Facts | None, records: Sequence[Record]) -> str:
    """Write the card of a model.

    Parameters
    ----------
    entry
        The entry of the registry.
    facts
        What its network says about itself; None where there is no network.
    records
        Those of the model.

    Returns
    -------
    str
        Markdown; the figure is expected in `figures/NAME.svg` beside it.
    """
    parts = [
        f"# {entry.title} (`{entry.name}`)",
        NOTICE,
        entry.purpose,
        _overview(entry, facts),
        f"![{figure_title(entry)}](figures/{entry.name}.svg)",
        *(_tensors(entry, facts) if facts else [_without_network()]),
        "## How to use it",
        PYTHON.get(entry.name) or _commands(entry),
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


def render_index(entries: Sequence[Model], records: dict[str, list[Record]]) -> str:
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


def _overview(entry: Model, facts: Facts | None) -> str:
    rows = [("gives", TASKS[entry.task])]
    if facts:
        rows.append(("parameters", f"{facts.count.parameters:,}"))
        counted = [("units", facts.count.units), ("connections", facts.count.connections)]
        counted.append(("multiply-adds", facts.count.multiply_adds))
        rows += [(name, f"{_large(number)} for {_example(facts)}") for name, number in counted]
    if entry.backbones:
        rows.append(("backbones", ", ".join(f"`{name}`" for name in entry.backbones)))
    rows.append(("paper", f"[{entry.paper}](https://doi.org/{entry.doi})"))
    return _table(("", entry.name), rows)


def _large(number: int) -> str:
    return f"{number / 1e6:,.0f} million" if number >= 1e7 else f"{number:,}"


def _example(facts: Facts) -> str:
    shape = facts.model.inputs[0].shape[1:]
    if len(shape) == 1:
        return f"{shape[0]} numbers"
    return f"{shape[0]} x {shape[1]} pixels, {_count(shape[2], 'channel')}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 'es' if what.endswith('s') else 's'}"


def _tensors(entry: Model, facts: Facts) -> Iterator[str]:
    yield "## Input and output"
    (given,), (made,) = facts.model.inputs, facts.model.outputs
    lines = [
        f"- `{given.name}` ({AXES[len(given.shape)].format(last='feature')}; float32): {_input_values(entry, facts)}"
    ]
    axes = AXES[len(made.shape)].format(last="class")
    axes = axes if entry.targets else axes.replace("channel", "class")
    name = made._keras_history.operation.name
    lines.append(f"- `{name}` ({axes}; float32): {_output_values(entry, facts, made.shape[-1])}")
    if (geometry := facts.geometry) is not None:
        sizes = f"{geometry.minimum} pixels or any multiple of {geometry.step} more"
        if geometry.halo is None:
            seen = "all of the image decides on every pixel" if entry.targets else "all of a patch decides on its class"
            lines.append(
                f"- Sizes: {sizes} on each side; {seen}."
                if entry.targets
                else f"- Sizes: {geometry.minimum} pixels or more on each side; {seen}."
            )
        else:
            lines.append(
                f"- Sizes: {sizes} on each side; a pixel's {'values depend' if entry.targets else 'class depends'} on "
                f"{geometry.halo} pixels around it."
            )
            if geometry.margin:
                lines[-1] += f" The output is {2 * geometry.margin} pixels smaller than the input."
    elif len(given.shape) == 4:
        lines.append(f"- Sizes: {given.shape[1]} x {given.shape[2]} pixels only.")
    yield "\n".join(lines)


def _input_values(entry: Model, facts: Facts) -> str:
    if len(facts.model.inputs[0].shape) == 2:
        return "measurements, any numbers."
    if any(layer.name == "backbone_scaling" for layer in facts.model.layers):
        methods = "`scaling`" if entry.task == "classification" else "`scaling` or `percentile`"
        return f"values between 0 and 1 (`normalisation.method` {methods}); the rest is in the graph."
    if entry.task == "classification":
        return (
            "as normalised by the run; `kerazoo init` chooses what is the same for a patch and a whole slide: one "
            "range (`scaling`), or mean and deviation of all training images."
        )
    text = "as normalised by the run, by default to zero mean and unit variance in every image"
    return text + ("; with a backbone between 0 and 1 (`scaling` or `percentile`)." if entry.backbones else ".")


def _output_values(entry: Model, facts: Facts, classes: int) -> str:
    if entry.output == "activation":
        return "0 or 1."
    if entry.targets is not None:
        return VALUES[entry.targets]
    if entry.output == "score":
        return f"{_count(classes, 'score')} around +1 for the class and -1 for the others; the largest decides."
    activation = getattr(facts.model.layers[-1], "activation", None)
    if activation is keras.activations.softmax:
        return f"{classes} probabilities between 0 and 1 that add up to 1 (softmax)."
    return "a probability between 0 and 1 (sigmoid)."


def _without_network() -> str:
    return (
        "## Input and output\n\n"
        "- an image (y, x) or (y, x, channel) of any numeric type; the mean of its channels is taken\n"
        "- a label image (y, x; int32): 0 for the background, 1, 2, ... for the objects"
    )


def _commands(entry: Model) -> str:
    commands = [(command.format(name=entry.name), comment) for command, comment in COMMANDS[entry.task]]
    width = max(len(command) for command, comment in commands if comment)
    lines = [f"{command:{width}}   # {comment}" if comment else command for command, comment in commands]
    return "\n".join(["```", *lines, "```"])


def _arguments(entry: Model) -> Iterator[str]:
    if entry.task in ("segmentation", "instances", "classification"):
        yield f'In Python, `kerazoo.create_model("{entry.name}")` is a plain `keras.Model`.'
    if entry.backbones:
        yield (
            f"`kerazoo init {entry.name} --backbone {entry.backbones[0]} --weights imagenet ...` starts from an "
            "encoder that was trained on ImageNet; `training.transfer` says what becomes of its weights. They are "
            "those of `keras.applications`: mind its licence (Apache 2.0) and the terms of ImageNet."
        )


def _variants(records: Sequence[Record]) -> Iterator[str]:
    for comparison in compare_variants(records):
        yield f"### {comparison.dataset}: all variants"
        yield _table(comparison.head, comparison.rows)
        yield comparison.remarks


def _record(record: Record) -> str:
    source = f", {record.source}" if record.source else ""
    seeds = ", ".join(str(run.seed) for run in record.runs)
    chosen = "the best epoch and the thresholds were" if record.tuned else "the best epoch was"
    machine, first = record.machine, record.runs[0]
    settings = ", ".join(f"`{name}={_value(value)}`" for name, value in record.settings.items()) or "none"
    return "\n\n".join(
        [
            f"### {record.dataset}" + (f": {record.variant}" if record.variant else ""),
            f"Licence of the images: {record.licence}{source}. {_learned(record)}",
            _scores(record),
            f"Mean ± standard deviation of {_count(len(record.runs), 'run')} (seed {seeds})"
            if len(record.runs) > 1
            else f"One run (seed {seeds}); its spread is not known",
        ]
    ) + (
        f", trained on {_count(first.train_images, 'image')}. Validation images were held out of the training, but "
        f"{chosen} chosen on them."
        + (" Test images took no part in the training." if first.test else "")
        + (f" {record.remark}" if record.remark else "")
        + f"\n\n```\n{record.command}\n```\n\n"
        f"Settings other than the default: {settings}.\n\n"
        f"Trained {machine.date} in {_durations(record)} on {_hardware(record)} ({machine.system}, Python "
        f"{machine.python}, {', '.join(f'{name} {version}' for name, version in machine.packages.items())}, "
        f"{machine.precision})." + _formats(record)
    )


def _learned(record: Record) -> str:
    """The classes, or the first outputs of a network for single objects."""
    if record.task == "instances" and record.classes[0] != "background":
        return "Objects are learned."
    return f"Classes: {', '.join(record.classes)}."


def _scores(record: Record) -> str:
    first = record.runs[0]
    parts = ["validation", *(["test"] if all(run.test for run in record.runs) else [])]
    names = list(dict.fromkeys(name for run in record.runs for name in run.validation.scores))
    heads = [f"{part} ({_count(getattr(first, part).images, 'image')})" for part in parts]
    baseline = [run.baseline for run in record.runs if run.baseline]
    rows = []
    for name in names:
        cells = [mean_and_deviation(values) if (values := record.values(part, name)) else "-" for part in parts]
        if baseline:
            cells.append(mean_and_deviation([scores[name] for scores in baseline]) if name in baseline[0] else "-")
        rows.append((f"`{name}`", *cells))
    return _table(("score", *heads, *(["without training (`classical2d`), validation"] if baseline else [])), rows)


def _durations(record: Record) -> str:
    seconds = [run.seconds for run in record.runs]
    low, high = min(seconds) / 60, max(seconds) / 60
    return f"{low:.1f} minutes" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f} minutes"


def _hardware(record: Record) -> str:
    machine = record.machine
    return ", ".join([*dict.fromkeys(machine.gpus), f"{_count(machine.cores, 'core')} ({machine.processor})"])


def _formats(record: Record) -> str:
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
