"""rdf.yaml: the resource description of a bundle, in the one form that every program reads.

It is of format 0.5.10, the last one with plain strings for the documentation and the cover; its tensors are named and
ordered as Fiji reads them, and it holds nothing that depends on the day or the machine.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from bmzpack.bundle.specification import offline
from bmzpack.bundle.values import NO_AUTHOR
from bmzpack.consumers.registry import CONSUMERS
from bmzpack.describe.description import Author, Description, Section
from bmzpack.describe.nickname import nickname
from bmzpack.errors import UserError
from bmzpack.weights import FORMATS, Written

FORMAT_VERSION = "0.5.10"


def build(
    description: Description,
    inputs: Sequence[dict[str, Any]],
    outputs: Sequence[dict[str, Any]],
    written: Sequence[Written],
    consumers: Sequence[str],
    parameters: int,
    pixel_sizes: Mapping[str, Mapping[str, Any]],
    attachments: Sequence[Path] = (),
) -> dict[str, Any]:
    """The content of rdf.yaml.

    Parameters
    ----------
    description
        What is said about the model.
    inputs, outputs
        The tensors' entries, with their test tensors.
    written
        The weights files, in the folder of the bundle.
    consumers
        Keys of `bmzpack.consumers.registry.programs`: those that can run the bundle.
    parameters
        Count of the network's weights.
    pixel_sizes
        By tensor id; that of the first input is kept in ``config.bmzpack.pixel_size``.
    attachments
        Further files in the folder of the bundle.
    """
    original = written[0]
    content: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "type": "model",
        "name": description.name,
        "description": description.description or f"{description.name}.",
        "authors": [_person(author) for author in description.authors] or [{"name": NO_AUTHOR}],
        "maintainers": [
            _person(person)
            for person in description.maintainers or description.authors
            if person.github_user is not None
        ],
        "cite": [_filled(entry) for entry in description.cite],
        "license": description.licence,
        "tags": tags(description, inputs, consumers),
        "links": list(dict.fromkeys([*(CONSUMERS[name].link for name in consumers), *description.links])),
        "git_repo": description.git_repo,
        "version": description.version,
        "timestamp": description.timestamp and description.timestamp.isoformat(),
        "documentation": "README.md",
        "covers": ["cover.png"],
        "attachments": [{"source": path.name, "sha256": sha256(path)} for path in attachments],
        "inputs": list(inputs),
        "outputs": list(outputs),
        "weights": {entry.format: _weights(entry, original) for entry in written},
    }
    content = {key: value for key, value in content.items() if value not in (None, "", [])}
    return content | {"config": _config(description, sha256(original.path), parameters, pixel_sizes)}


def tags(description: Description, inputs: Sequence[dict[str, Any]], consumers: Sequence[str]) -> list[str]:
    """The described tags, then those that follow from the model."""
    axes = {axis["id"] for axis in inputs[0]["axes"]}
    dimensions = ["3d"] if "z" in axes else ["2d"] if "y" in axes else []
    found = [*dimensions, "keras", "tensorflow", *(tag for name in consumers for tag in CONSUMERS[name].tags)]
    return list(dict.fromkeys([*description.tags, *found]))


def write(content: Mapping[str, Any], path: Path) -> None:
    """Write rdf.yaml."""
    path.write_text(yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")


def check(folder: Path) -> None:
    """Load rdf.yaml with bioimageio.spec, its files and their checksums included.

    Raises
    ------
    UserError
        It is not valid; the message gives what bioimageio.spec says.
    """
    from bioimageio.spec import InvalidDescr, load_description

    content = yaml.safe_load((folder / "rdf.yaml").read_text(encoding="utf-8"))
    with offline(content, folder), warnings.catch_warnings():
        # it warns of files that it does not know yet
        warnings.simplefilter("ignore")
        loaded = load_description(folder.resolve() / "rdf.yaml", perform_io_checks=True)
    if isinstance(loaded, InvalidDescr):
        problems = [
            f"{'.'.join(str(part) for part in error.loc)}: {error.msg}"
            for detail in loaded.validation_summary.details
            for error in detail.errors
        ]
        raise UserError(f"The description does not make a valid bundle: {'; '.join(dict.fromkeys(problems))}")


def sha256(path: Path) -> str:
    """The checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weights(entry: Written, original: Written) -> dict[str, Any]:
    parent = {} if entry is original else {"parent": original.format}
    versions = FORMATS[entry.format].entry(entry.versions)
    return {"source": entry.path.name, "sha256": sha256(entry.path), **parent, **versions}


def _config(
    description: Description, seed: str, parameters: int, pixel_sizes: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    training = description.training.model_dump(exclude={"data"}, exclude_none=True, exclude_defaults=True)
    zoo: dict[str, Any] = {
        "nickname": nickname(seed),
        "task": description.task,
        "modality": description.modality,
        "target_structure": description.target_structure,
        "architecture_type": description.architecture,
        "model_parameter_count": parameters,
        "training": training,
        "evaluations": [
            {
                "dataset_id": re.sub("[^a-z0-9]+", "-", entry.dataset.lower()).strip("-") or "images",
                "dataset_source": entry.source,
                "dataset_role": entry.role,
                "sample_count": entry.samples,
                "evaluation_factors": ["overall"],
                "evaluation_factors_long": ["all images"],
                "metrics": [name[:16] for name in entry.scores],
                "metrics_long": list(entry.scores),
                "results": [[value] for value in entry.scores.values()],
            }
            for entry in description.validation
            if entry.source
        ],
    }
    if description.limitations:
        zoo["bias_risks_limitations"] = {"limitations": description.limitations}
    zoo = {key: value for key, value in zoo.items() if value not in (None, [], {})}
    own = {
        "pixel_size": next((dict(size) for size in pixel_sizes.values()), None),
        "training_data": description.training.data,
        "validation": [_filled(entry) for entry in description.validation],
    }
    own = {key: value for key, value in own.items() if value}
    zoo |= description.config.get("bioimageio", {})
    return ({"bmzpack": own} if own else {}) | description.config | {"bioimageio": zoo}


def _person(author: Author) -> dict[str, Any]:
    return _filled(author)


def _filled(section: Section) -> dict[str, Any]:
    return section.model_dump(exclude_none=True, mode="json")
