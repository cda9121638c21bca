"""What only a person can say about a model; everything else is measured from the network.

The smallest description, of a network with one input::

    name: Nuclei in fluorescence images
    inputs:
      - test_image: nuclei.tif

One with most of what can be said::

    name: Nuclei and spots in two colours
    description: Finds nuclei (DAPI) and spots (FISH) in widefield images of HeLa cells.
    documentation: about.md
    authors:
      - {name: Ada Example, affiliation: Example Institute, orcid: 0000-0002-1825-0097, github_user: ada-example}
    licence: CC-BY-4.0
    cite:
      - {text: Example et al. (2026), doi: 10.1000/example}
    tags: [nuclei, fluorescence-light-microscopy, semantic-segmentation]
    git_repo: https://github.com/ada-example/spots
    inputs:
      - id: raw
        axes: byxc
        channel_names: [DAPI, FISH]
        test_image: cells.tif
        test_image_axes: cyx
        pixel_size: 0.108
        preprocessing:
          - id: scale_range
            kwargs: {min_percentile: 1, max_percentile: 99.8}
    outputs:
      - id: probability
        channel_names: [background, nucleus, spot]
        postprocessing: [softmax]
    training:
      data: 120 images of three experiments.
      training_epochs: 100
      loss_function: cross entropy
      optimizer: adamw
    validation:
      - dataset: A fourth experiment
        role: test
        samples: 30
        scores: {dice: 0.91}
    limitations: Not for confocal images.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
from pydantic import ConfigDict, Field

from bmzpack.errors import UserError
from bmzpack.operations.section import Processing
from bmzpack.settings import Section, read_yaml, validate

IDENTIFIER = r"[a-z_][a-z0-9_]{0,31}"
"""A tensor id: lower case letters, digits and underscores, at most 32."""
Identifier = Annotated[str, Field(pattern=rf"^{IDENTIFIER}$")]


class Author(Section):
    """Who made the model."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: Annotated[str, Field(min_length=1, pattern=r"^[^/\\]*$")]
    affiliation: str | None = None
    email: str | None = None
    orcid: str | None = None
    github_user: str | None = None
    """Whom the zoo asks when something is wrong with the model; written where GitHub confirms it."""


class Citation(Section):
    """What a user of the model should cite."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    text: str
    doi: str | None = None
    url: str | None = None

    @pydantic.model_validator(mode="after")
    def _can_be_found(self) -> Citation:
        if not self.doi and not self.url:
            raise ValueError("give a doi or a url")
        return self


class Input(Section):
    """An input of the network."""

    model_config = ConfigDict(arbitrary_types_allowed=True, use_attribute_docstrings=True)

    id: Identifier | None = None
    """The name of the network's input; needed where there are several."""
    description: Annotated[str, Field(max_length=128)] = ""
    axes: Annotated[str, Field(pattern=r"^[biozyxc]+$")] | None = None
    """One letter per axis of the tensor: batch, index, object, z, y, x, channel; by default ``byxc``, ``bzyxc`` or
    ``bc``."""
    channel_names: list[str] = []
    preprocessing: list[Processing] = []
    """What is done to an image before the network sees it."""
    test_image: Path | pydantic.InstanceOf[np.ndarray]
    """A real image, before any preprocessing: a ``.npy``, TIFF, PNG or JPEG file, or an array."""
    test_image_axes: Annotated[str, Field(pattern=r"^[biozyxc]+$")] | None = None
    """Axes of the test image where they are not those of the tensor in its order (without batch)."""
    pixel_size: Annotated[float, Field(gt=0)] | dict[Literal["z", "y", "x"], Annotated[float, Field(gt=0)]] | None = (
        None
    )
    """Size of a pixel in ``unit``: one number, or one per axis."""
    unit: str = "micrometer"


class Output(Section):
    """An output of the network."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: Identifier | None = None
    """By default the name of the network's output."""
    description: Annotated[str, Field(max_length=128)] = ""
    axes: Annotated[str, Field(pattern=r"^[biozyxc]+$")] | None = None
    channel_names: list[str] = []
    postprocessing: list[Processing] = []


class Training(Section):
    """How the network was trained; the names are those of the zoo's specification."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    data: str | None = None
    """What it was trained on, in words."""
    training_preprocessing: str | None = None
    training_epochs: float | None = None
    training_batch_size: float | None = None
    initial_learning_rate: float | None = None
    learning_rate_schedule: str | None = None
    loss_function: str | None = None
    loss_function_kwargs: dict[str, Any] = {}
    optimizer: str | None = None
    optimizer_kwargs: dict[str, Any] = {}
    regularization: str | None = None
    training_duration: float | None = None
    """In hours."""


class Validation(Section):
    """How well the network did on images that it was not trained on."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    dataset: str
    """Name of the images."""
    role: Literal["train", "validation", "test", "independent", "unknown"] = "validation"
    """`validation`: images that helped to choose the network or its thresholds; `test`: images that did not."""
    source: str | None = None
    """Where the images can be had, a URL."""
    samples: Annotated[int, Field(ge=1)]
    """Number of images."""
    scores: dict[str, float]
    notes: str | None = None
    """How the scores were made, in words."""


class Description(Section):
    """All that is said about a model; read from YAML by `read_description`."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: Annotated[str, Field(min_length=5, max_length=128, pattern=r"^[A-Za-z0-9_+\- ()]*$")]
    """A descriptive title: letters, digits, spaces and ``_+-()``."""
    description: Annotated[str, Field(max_length=1024)] = ""
    """One or two sentences."""
    documentation: str | None = None
    """Markdown for the documentation, or the name of a ``.md`` file."""
    authors: list[Author] = []
    maintainers: list[Author] = []
    """By default the authors with a ``github_user``."""
    cite: list[Citation] = []
    licence: str | None = None
    """An SPDX identifier such as ``CC-BY-4.0``."""
    tags: list[str] = []
    links: list[str] = []
    """Ids of further resources of the zoo; the programs that can run the model are added."""
    git_repo: str | None = None
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] = "0.1.0"
    """Version of the model, three numbers."""
    timestamp: datetime.datetime | None = None
    """When the model was made."""
    inputs: Annotated[list[Input], Field(min_length=1)]
    outputs: list[Output] = []
    """In the network's order; may be left out."""
    task: str | None = None
    """In words, such as `instance segmentation`; of a `classification` the cover shows one colour per class."""
    modality: str | None = None
    target_structure: list[str] = []
    architecture: Annotated[str, Field(max_length=32)] | None = None
    limitations: str | None = None
    """Where the model should not be used."""
    training: Training = Training()
    validation: list[Validation] = []
    attachments: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$")], str] = {}
    """Further text files of the bundle, such as macros: their content by name."""
    config: dict[str, Any] = {}
    """Further entries for the bundle's ``config``, for programs that look for their own."""


def read_description(path: str | os.PathLike[str]) -> Description:
    """Read a description from YAML; paths in it are relative to its folder.

    Raises
    ------
    UserError
        The file is missing or not YAML, or a key or value in it is not accepted.
    """
    path = Path(path)
    content = read_yaml(path, "description of a model")
    description = validate(Description, content, str(path))
    for tensor in description.inputs:
        if isinstance(tensor.test_image, Path):
            tensor.test_image = path.parent / tensor.test_image
    text = description.documentation
    if text and "\n" not in text and text.endswith(".md"):
        description.documentation = _read_text(path.parent / text, path)
    return description


def _read_text(path: Path, source: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{source}: the documentation {path} cannot be read ({error}).") from error
