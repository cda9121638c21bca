"""A description of a model to fill in: every key with what it means, those that need not be said as comments."""

from __future__ import annotations

import textwrap
from pathlib import Path

from pydantic import BaseModel

from bmzpack.describe.description import Author, Citation, Description, Input, Output, Training, Validation
from bmzpack.files import new_file, refuse_existing
from bmzpack.weights.source import layer_names, made_up_names

EXAMPLES = {
    "authors": "[{name: Ada Lovelace, affiliation: University of London}]",
    "cite": "[{text: Lovelace et al. (2026), doi: 10.1000/example}]",
    "licence": "CC-BY-4.0",
    "tags": "[nuclei, fluorescence-light-microscopy, semantic-segmentation]",
    "channel_names": "[DAPI]",
    "axes": "byxc",
    "preprocessing": "[{id: zero_mean_unit_variance, kwargs: {axes: [channel, y, x]}}]",
    "postprocessing": "[softmax]",
    "pixel_size": "0.108",
    "test_image_axes": "cyx",
}
"""Values as they are written, by key."""
SECTIONS: dict[str, type[BaseModel]] = {
    "authors": Author,
    "maintainers": Author,
    "cite": Citation,
    "training": Training,
    "validation": Validation,
}
WIDTH = 100


def write_template(model_path: Path, output: Path, *, overwrite: bool = False) -> None:
    """Write a description to fill in, for the inputs and outputs of a model.

    Parameters
    ----------
    model_path
        A ``.keras`` file.
    output
        The ``.yaml`` to write.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    UserError
        The model cannot be read, or the output exists.
    """
    refuse_existing(output, overwrite)
    text = template(model_path)
    with new_file(output, overwrite) as path:
        path.write_text(text, encoding="utf-8")


def template(model_path: Path) -> str:
    """The description as YAML."""
    names, made_up = layer_names(model_path), made_up_names(model_path)
    lines = [
        "# What only you can say about the model; the rest is measured. Lines with a # may be left as they are.",
        "",
    ]
    for key, field in Description.model_fields.items():
        lines += _comment(field.description or "", "")
        if key == "name":
            lines.append("name: Say what the model does (5 to 128 letters)")
        elif key == "inputs":
            lines.append("inputs:")
            for name in names.inputs:
                lines += _tensor(Input, "raw" if name in made_up.inputs else name, "")
        elif key == "outputs":
            lines.append("# outputs:")
            for name in names.outputs:
                lines += _tensor(Output, "output" if name in made_up.outputs else name, "# ")
        elif key in SECTIONS:
            lines += [f"# {key}: {EXAMPLES.get(key, '')}".rstrip()]
            lines += _keys(SECTIONS[key], "#   ")
        else:
            lines.append(f"# {key}: {EXAMPLES.get(key, '')}".rstrip())
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _tensor(kind: type[BaseModel], name: str, mark: str) -> list[str]:
    lines = [f"{mark}- id: {name}"]
    for key, field in kind.model_fields.items():
        if key == "id":
            continue
        lines += _comment(field.description or "", "  " if not mark else mark + "  ")
        needed = field.is_required()
        value = "image.tif" if key == "test_image" else EXAMPLES.get(key, "")
        lines.append(f"{mark}  {key}: {value}" if needed else f"{mark or '# '}  {key}: {value}".rstrip())
    return lines


def _keys(kind: type[BaseModel], mark: str) -> list[str]:
    """The keys of a section with what they mean."""
    return [
        line
        for key, field in kind.model_fields.items()
        for line in [f"{mark}{key}: {' '.join((field.description or '').split())}".rstrip(": ")]
    ]


def _comment(text: str, indent: str) -> list[str]:
    mark = indent if indent.lstrip().startswith("#") else f"{indent}# "
    return [f"{mark}{line}" for line in textwrap.wrap(" ".join(text.split()), WIDTH)]
