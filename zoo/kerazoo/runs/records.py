"""What the JSON files of a run folder hold. Files of older versions may lack entries, or have more."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Content(BaseModel):
    model_config = ConfigDict(extra="allow", populate_by_name=True)

    def as_json(self) -> dict[str, Any]:
        """The entries that are set, as the file has them."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class SplitEntry(_Content):
    """An image of one side of the split."""

    id: str
    image: str
    mask: str | None = None
    category: str | None = Field(None, alias="class")
    """The class of the whole image, where it has one instead of a mask."""
    group: str | None = None
    sha256: dict[str, str] = {}
    """Hashes of `image` and `mask`."""


class SplitRecord(_Content):
    """split.json: which images were trained on, and which were held out; none of a converted run."""

    train: list[SplitEntry] = []
    validation: list[SplitEntry] = []


class Origin(_Content):
    """The images of which a trained network was made that comes with the package."""

    name: str
    """Of the data set, as it is published."""
    licence: str
    """An SPDX identifier: what may be done with images and masks."""
    source: str
    """Where they come from, with who is to be cited."""
    diameter: float | None = None
    """Median diameter of the objects in pixels."""


class Record(_Content):
    """record.json: what became of a training."""

    parameters: int | None = None
    converted_from: str | None = None
    """Name of the official checkpoint, of a converted run."""
    epochs: int | None = None
    best_epoch: int | None = None
    best_validation_loss: float | None = None
    steps_per_epoch: int | None = None
    seconds: float | None = None
    """Duration of complete epochs, validation included."""
    scores: dict[str, int | float | None] = {}
    """Scores of all validation images together, by name; see `kerazoo.evaluation.scores`."""
    validation: dict[str, Any] = {}
    """What else `kerazoo.evaluation.evaluate` gives for the validation images."""
    origin: Origin | None = None


class Environment(_Content):
    """environment.json: machine, versions and command; see `kerazoo.runs.environment`."""

    started: str | None = None
    command: list[str] = []
    python: str | None = None
    platform: str | None = None
    processor: str | None = None
    cores: int | None = None
    gpus: list[str] = []
    precision: str | None = None
    workers: int | None = None
    packages: dict[str, str] = {}
    """Versions by name."""


class Agreement(_Content):
    """How well one weights format of the bundle agrees with Keras."""

    max_abs_error: float | None = None
    seconds: float | None = None
