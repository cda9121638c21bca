"""README.md of a bundle: what the model does, how to open it, how well it does, how it was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bmzpack.consumers.findings import Report, Severity, Verdict
from bmzpack.consumers.registry import CONSUMERS
from bmzpack.describe.agreement import Agreement
from bmzpack.describe.description import Description, Processing
from bmzpack.operations.labels import TO_LABELS, LabelsPostprocessing


def render(
    description: Description,
    inputs: Sequence[dict[str, Any]],
    outputs: Sequence[dict[str, Any]],
    tensors: Mapping[str, np.ndarray],
    in_graph: Mapping[str, Sequence[Processing]],
    pixel_sizes: Mapping[str, Mapping[str, Any]],
    report: Report,
    agreement: Agreement,
    mirrored: bool = False,
    rim: int = 0,
    labels: LabelsPostprocessing | None = None,
) -> str:
    """The documentation in Markdown.

    Parameters
    ----------
    description
        What is said about the model.
    inputs, outputs
        The tensors' entries of rdf.yaml.
    tensors
        Test tensors by id.
    in_graph
        Operations that were put into the graph, by tensor id.
    pixel_sizes
        From `bmzpack.measure.axes.pixel_sizes`.
    report
        Which programs can open the bundle.
    agreement
        From `bmzpack.describe.agreement.agreement_of`.
    mirrored
        Whether the test image is smaller than the smallest input.
    rim
        Pixels of zeros around every output, see `bmzpack.measure.axes.rim_of`.
    labels
        What makes labels, see `bmzpack.packing.pack.pack`.
    """
    sizes = dict(pixel_sizes) | {entry["id"]: _pixel_size(entry, inputs, pixel_sizes) for entry in outputs}
    sections = [
        f"# {description.name}",
        description.description,
        description.documentation or "",
        "## Inputs and outputs\n\n" + "\n\n".join(_tensor(entry, "input", in_graph, sizes) for entry in inputs),
        "\n\n".join(_tensor(entry, "output", in_graph, sizes) for entry in outputs),
        _geometry(inputs, outputs, rim),
        _whole_images(labels),
        _test_tensors(inputs, mirrored),
        "## How to open it\n\n" + "\n\n".join(_opening(description, report, agreement, inputs, outputs)),
        "## Validation\n\n" + "\n\n".join(_validation(description)),
        "## Agreement of the weights formats\n\n" + _agreement(agreement, tensors[inputs[0]["id"]], labels),
        _training(description),
        f"## Limitations\n\n{description.limitations}" if description.limitations else "",
        _about(description),
    ]
    return "\n\n".join(section.strip() for section in sections if section.strip()) + "\n"


def _whole_images(labels: LabelsPostprocessing | None) -> str:
    if labels is None:
        return ""
    if labels.as_mask:
        return (
            "Every connected area of the mask is one object, as a line of background keeps objects apart that touch; "
            "and it can be put together from tiles. Label the areas above 0.5: in Fiji *Analyze Particles*, in "
            "ilastik *Object Classification*, in QuPath *Create objects*."
        )
    text = "Labels are those of whole images: in tiles objects are cut, and every tile has an object 1."
    if labels.sizes:
        text += (
            f" The graph takes images of any size: it mirrors them at the lower and the right edge up to a multiple "
            f"of {labels.sizes['step']} pixels for the network, and cuts what the network gives."
        )
    return text


def _test_tensors(inputs: Sequence[Mapping[str, Any]], mirrored: bool) -> str:
    if not any(_is_image(entry) for entry in inputs):
        return "The test tensors are a sample and what Keras makes of it."
    mirror = ", mirrored at its edges because it is smaller than the smallest input," if mirrored else ""
    return (
        f"The test tensors are a window of the test image that the packer was given{mirror} and what Keras makes of it."
    )


def _is_image(entry: Mapping[str, Any]) -> bool:
    return {"y", "x"} <= {axis["id"] for axis in entry["axes"]}


def _pixel_size(
    output: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]], pixel_sizes: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The pixel size of an output: that of the input which it follows, by the quotient of their scales."""
    scales = {(entry["id"], axis["id"]): axis.get("scale", 1.0) for entry in inputs for axis in entry["axes"]}
    found: dict[str, Any] = {}
    for axis in output["axes"]:
        if axis["type"] == "space" and isinstance(axis["size"], dict):
            place = axis["size"]["tensor_id"], axis["size"]["axis_id"]
            known = pixel_sizes.get(place[0], {})
            if place[1] in known:
                factor = axis.get("scale", 1.0) / scales[place]
                found |= {axis["id"]: known[place[1]] * factor, "unit": known["unit"]}
    return found


def _tensor(
    entry: Mapping[str, Any],
    kind: str,
    in_graph: Mapping[str, Sequence[Processing]],
    pixel_sizes: Mapping[str, Mapping[str, Any]],
) -> str:
    axes = ", ".join(axis["id"] for axis in entry["axes"])
    text = f"**{entry['id']}** ({kind}; axes {axes}; {entry['data']['type']})"
    text += f": {entry['description'].rstrip('.')}." if entry.get("description") else "."
    channels = next((axis["channel_names"] for axis in entry["axes"] if axis["id"] == "channel"), [])
    if channels:
        text += f" Channels: {', '.join(channels)}."
    if sizes := dict(pixel_sizes.get(entry["id"], {})):
        unit = sizes.pop("unit")
        text += f" Pixel size: {', '.join(f'{axis} {size:.4g} {unit}' for axis, size in sizes.items())}."
    declared = entry.get("preprocessing", []) + entry.get("postprocessing", [])
    if declared:
        who = "In Python bioimageio.core" if {step["id"] for step in declared} & set(TO_LABELS) else "Every program"
        text += f" {who} applies {', '.join(map(_operation, declared))}"
        packages = [TO_LABELS[step["id"]] for step in declared if step["id"] in TO_LABELS]
        text += f", for which it needs `pip install {packages[0]}`." if packages else "."
    if in_graph.get(entry["id"]):
        operations = ", ".join(_operation(operation.model_dump()) for operation in in_graph[entry["id"]])
        text += f" The network itself applies {operations}, because not every program does."
    return text


def _operation(operation: Mapping[str, Any]) -> str:
    arguments = ", ".join(f"{key} {_value(value)}" for key, value in operation.get("kwargs", {}).items())
    return f"`{operation['id']}`" + (f" ({arguments})" if arguments else "")


def _value(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_value, value)) + "]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _geometry(inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]], rim: int) -> str:
    """What was measured of the sizes, in words."""
    sentences = []
    sizes = {axis["id"]: axis["size"] for axis in inputs[0]["axes"] if axis["type"] == "space"}
    if sizes:
        size = next(iter(sizes.values()))
        if isinstance(size, dict):
            sentences.append(
                f"An input is {size['min']} pixels long in {', '.join(sizes)}, or any multiple of {size['step']} more."
            )
        else:
            sentences.append(f"An input is {' x '.join(str(size) for size in sizes.values())} pixels large.")
    spatial = [axis for entry in outputs for axis in entry["axes"] if axis["type"] == "space"]
    halo = next((axis["halo"] for axis in spatial if "halo" in axis), None)
    references = [axis["size"] for axis in spatial if isinstance(axis["size"], dict)]
    offset = next((size["offset"] for size in references if "offset" in size), None)
    if halo:
        sentences.append(
            f"The rim of {halo} pixels of a tile's output (the halo) depends on what lies outside the tile; programs "
            "that work in tiles cut it off."
        )
    if rim:
        sentences.append(
            f"Its outermost {rim} pixels are zeros: the network gives an output without them, which not every program "
            "can place in the image."
        )
    if offset:
        sentences.append(f"The output is {-offset} pixels smaller than the input, {-offset // 2} on each side.")
    sentences += [sentence for entry in outputs for sentence in _patches(entry, inputs)]
    return " ".join(sentences)


def _patches(output: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Sentences on an output that has one pixel for many of the input."""
    scales = {(entry["id"], axis["id"]): axis.get("scale", 1.0) for entry in inputs for axis in entry["axes"]}
    sizes = {(entry["id"], axis["id"]): axis.get("size") for entry in inputs for axis in entry["axes"]}
    places = {
        (axis["size"]["tensor_id"], axis["size"]["axis_id"]): axis.get("scale", 1.0)
        for axis in output["axes"]
        if axis["type"] == "space" and isinstance(axis["size"], dict)
    }
    patch = [round(scale / scales[place]) for place, scale in places.items()]
    if not patch or max(patch) < 2:
        return
    pixels = " x ".join(map(str, patch))
    yield f"The output {output['id']} has one pixel per patch of {pixels} pixels of the input."
    whole = dict.fromkeys(str(sizes[place]) for place in places if isinstance(sizes[place], int))
    if whole:
        yield (
            f"Choose images with sides that are multiples of {' and '.join(whole)} pixels: programs "
            "that work in tiles place the patches of other images up to one patch aside, or refuse them."
        )


def _opening(
    description: Description,
    report: Report,
    agreement: Agreement,
    inputs: Sequence[Mapping[str, Any]],
    outputs: Sequence[Mapping[str, Any]],
) -> Iterator[str]:
    for key, verdict in report.consumers.items():
        consumer = CONSUMERS[key]
        if verdict.verdict == "fails":
            reasons = _reasons(verdict, Severity.CANNOT_OPEN, Severity.WRONG_RESULT)
            yield f"**{consumer.name}** cannot run this model. {' '.join(reasons)}"
        else:
            yield f"**{consumer.name}.** " + consumer.opening.format(name=description.name)
            yield from _reasons(verdict, Severity.DEGRADED)
    core = CONSUMERS["core"]
    usable = [name for name in agreement if not core.obstacle(name, len(inputs), len(outputs))]
    images = ", ".join(f'"{entry["id"]}": "{"image.tif" if _is_image(entry) else "sample.npy"}"' for entry in inputs)
    yield (
        f"**Python.** With `pip install bioimageio.core` and an engine of one of {', '.join(usable)}:\n\n"
        "```python\nfrom bioimageio.core import predict\n\n"
        f'prediction = predict(model="bundle.zip", inputs={{{images}}})\n```'
    )


def _reasons(verdict: Verdict, *severities: Severity) -> list[str]:
    """What was found, by rule: all places, then once why they matter."""
    found: dict[str, list[str]] = {}
    for finding in verdict.findings:
        if finding.severity in severities:
            found.setdefault(finding.why, []).append(finding.found)
    return [" ".join([*dict.fromkeys(places), why]) for why, places in found.items()]


def _validation(description: Description) -> Iterator[str]:
    if not description.validation:
        yield (
            "No validation was recorded. Compare the model's output with annotations of your own images before you "
            "trust it."
        )
        return
    for entry in description.validation:
        text = f"On {entry.dataset} ({entry.role}, {entry.samples} images)"
        yield f"{text}: {entry.notes.rstrip('.')}." if entry.notes else f"{text}:"
        yield "| score | value |\n| --- | --- |\n" + "\n".join(
            f"| {name} | {value:.4g} |" for name, value in entry.scores.items()
        )
        if entry.source:
            yield f"The images are at {entry.source}."
    yield "To validate it on unseen images, annotate some of your own, predict them, and compute the same scores."


def _agreement(agreement: Agreement, test_input: np.ndarray, labels: LabelsPostprocessing | None) -> str:
    rows = "\n".join(
        f"| {name} | {entry['max_abs_error']:.1e} | {entry['seconds'] * 1e3:.3g} ms |"
        for name, entry in agreement.items()
    )
    size = " x ".join(map(str, test_input.shape))
    compared = (
        "Every weights file was run in its engine and compared with Keras. The error is the largest absolute "
        "difference, relative to the range of the output"
    )
    if labels and labels.in_graph:
        compared = (
            "Every weights file was run in its engine and compared with what the decoder in NumPy makes of the output "
            "of Keras. The error is the part of the objects' pixels that belong to other objects there"
        )
    return (
        f"{compared}; the latency is one call with a tensor of {size} on the CPU that packed it.\n\n"
        f"| format | error | latency |\n| --- | --- | --- |\n{rows}"
    )


def _training(description: Description) -> str:
    training = description.training.model_dump(exclude_none=True, exclude_defaults=True)
    if not training:
        return ""
    lines = [training.pop("data", "")]
    names = {"training_duration": "training duration in hours"}
    lines.append(
        "\n".join(f"- {names.get(key, key.replace('_', ' '))}: {_described(value)}" for key, value in training.items())
    )
    return "## Training\n\n" + "\n\n".join(line for line in lines if line)


def _described(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(entry)}" for key, entry in value.items())
    return _value(value)


def _about(description: Description) -> str:
    lines = []
    if description.authors:
        lines.append(f"- Authors: {', '.join(author.name for author in description.authors)}")
    if description.licence:
        lines.append(f"- Licence: {description.licence}")
    for entry in description.cite:
        place = f"https://doi.org/{entry.doi}" if entry.doi else entry.url
        lines.append(f"- Cite: {entry.text} {place}")
    return "## About\n\n" + "\n".join(lines) if lines else ""
