"""The configuration of a run: one pydantic section per concern. `kerazoo.models.configure` reads and completes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from bmzpack.settings import Section

Probability = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class ModelConfig(Section):
    """Which network of the registry, and from which weights it starts."""

    name: str
    """A name of `kerazoo.list_models`."""
    backbone: str | None = None
    """An ImageNet encoder of `kerazoo.models.backbones`, for the networks that take one."""
    weights: str | None = None
    """`imagenet`, a local weights file (`.npz`, `.h5`, `.keras`), or none: random."""
    arguments: dict[str, Any] = {}
    """Further arguments of the network's builder, such as `filters`, `depth`, `dropout`."""


class DataConfig(Section):
    """Where images and annotations are, and how they are read."""

    images: Path | None = None
    """A folder of images (TIFF, PNG, JPEG, BMP), paired with the masks by their names."""
    masks: Path | None = None
    """A folder of annotations, or one file that holds those of all images (COCO)."""
    folder: Path | None = None
    """Instead of the two folders, for one class per image: a folder that holds one folder of images per class."""
    table: Path | None = None
    """Instead of folders: a CSV file with the columns `image`, `mask`, or `file`, `class`, and optionally `group`."""
    axes: str | None = None
    """The axes of an image file, such as `YX`, `YXC`, `CYX`, `ZYX`; needed only where they are ambiguous."""
    series: Annotated[int, Field(ge=1)] | None = None
    """Which image of TIFF files that hold several of different size, counted from 1."""
    channel: list[Annotated[int, Field(ge=1)]] = []
    """The channels of every image that are used, counted from 1; by default all."""
    fill: float | None = None
    """What NaN and infinite pixels of the images become; by default such images are refused."""
    channels: Annotated[int, Field(ge=1)] = 1
    """Channels of every image, as the network sees them."""
    channel_names: list[str] = []
    """Names of the channels, for the bundle; by default `channel0`, ... ."""
    annotation: Literal["labels", "classes", "binary", "image"] = "labels"
    """What a mask's values mean: one integer per object, one per class, or zero and not zero; `image`: there are no
    masks, every image has one class."""
    classes: list[str] = []
    """Names of the classes in the order of their values; for `classes`, and for `image`, where they are by default all
    that occur, sorted."""
    class_values: list[int | str] = []
    """The mask value of every class, or its colour ``#RRGGBB``; by default 0, 1, 2 and so on."""
    background: int = 0
    """The mask value of pixels that belong to no object, for labels and binary masks."""
    ignore: int | None = None
    """A mask value that is neither trained nor scored."""
    threshold: float | None = None
    """For binary masks with grey values: larger ones are foreground."""
    split_labels: bool = False
    """Whether every connected piece of a label is an object of its own, as where labels have wrapped at 256."""
    empty_masks: bool = False
    """Whether a mask without any object is accepted (an image with nothing on it) or refused (a forgotten one)."""

    @pydantic.model_validator(mode="after")
    def _names_fit(self) -> DataConfig:
        if self.channel_names and len(self.channel_names) != self.channels:
            raise ValueError(f"channel_names has {len(self.channel_names)} names for {self.channels} channels")
        if len(set(self.classes)) < len(self.classes) or len(self.classes) > 255:
            raise ValueError("classes must be at most 255 different names")
        for value in self.class_values:
            if isinstance(value, str) and re.fullmatch("#[0-9A-Fa-f]{6}", value) is None:
                raise ValueError(f"class_values has {value!r}: write a whole number, or a colour such as '#FF0000'")
        if self.class_values and len(self.class_values) != len(self.classes):
            raise ValueError(f"class_values has {len(self.class_values)} values for {len(self.classes)} classes")
        if len(set(self.class_values)) < len(self.class_values):
            raise ValueError("class_values has one value twice")
        return self

    @property
    def ignored(self) -> int | None:
        """The value of pixels without annotation in masks that have been read.

        It is `ignore`, unless a class, the foreground or the background has this value there.
        """
        taken = len(self.class_values) if self.annotation == "classes" else 2 if self.annotation == "binary" else 1
        if self.ignore is None or not 0 <= self.ignore < taken:
            return self.ignore
        return 255 if self.annotation == "classes" else -1

    def reading(self) -> dict[str, Any]:
        """How images are opened: the arguments of `kerazoo.files.read.open_stack`."""
        return {"axes": self.axes, "channel": self.channel, "series": self.series, "fill": self.fill}


class SplitConfig(Section):
    """How pairs are divided into training and validation."""

    validation: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Fraction of the images (or groups) held out for validation."""
    group: str | None = None
    """A column of the CSV table: images of one group stay on one side."""
    seed: Seed = 1
    column: str | None = None
    """Instead: a column of the CSV table that says `train` or `validation` for every image."""


class NormalisationConfig(Section):
    """How pixel values are scaled before the network; every method can be expressed in the bundle."""

    method: Literal["none", "scaling", "centering", "standardisation", "percentile"] = "standardisation"
    """`scaling` to 0..1 by the data type's maximum; `centering`: scaling, then minus the mean of the training set;
    `standardisation`: zero mean and unit variance; `percentile`: `low` to 0 and `high` to 1."""
    scope: Literal["image", "dataset"] = "image"
    """Whether mean and deviation are those of each image or of the training set (`standardisation` only); by default of
    the training set where every image has one class, as a slide has other numbers than a patch."""
    low: Annotated[float, Field(ge=0, lt=100)] = 1.0
    high: Annotated[float, Field(gt=0, le=100)] = 99.8
    per_channel: bool = False
    """Whether percentiles are those of each channel, else of all channels together (`percentile` only)."""
    maximum: Annotated[float, Field(gt=0)] | None = None
    """What `scaling` divides by; by default the largest value of the images' integer type."""


class AugmentationConfig(Section):
    """Random changes of the training patches; 0 or false switches one off. Geometry is applied in one resampling."""

    flip: bool = True
    quarter_turns: bool = True
    rotation: Annotated[float, Field(ge=0, le=180)] = 15.0
    """Largest rotation in degrees."""
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """Largest relative change of size."""
    shift: Annotated[float, Field(ge=0)] = 0.0
    """Largest displacement in pixels of patches that have a place of their own (`patch` targets); all others are cut at
    random places anyway."""
    elastic: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of the elastic displacement in pixels."""
    intensity: Annotated[float, Field(ge=0)] = 0.2
    """Largest relative gain, and offset in standard deviations."""
    gamma: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Largest relative change of the exponent."""
    blur: Annotated[float, Field(ge=0)] = 0.0
    """Largest standard deviation of the blur in pixels."""
    poisson: Annotated[float, Field(ge=0)] = 0.0
    """Largest strength of the shot noise: its deviation at the mean intensity, in standard deviations of the image."""
    gaussian: Annotated[float, Field(ge=0)] = 0.0
    """Largest deviation of the camera noise, in standard deviations of the image."""


class TargetsConfig(Section):
    """What a mask becomes for the network."""

    kind: str | None = None
    """By default what the network learns first. `classes`: one class per mask value; `foreground`: object or not;
    `border`: background, interior and border of every object, from which instances are found; `stars`, `flows`,
    `fields`: what StarDist, Cellpose and Omnipose find objects by; `patch`: one class per patch, that of its image or
    that which covers most of it."""
    border_width: Annotated[int, Field(ge=1)] = 2
    """Width of the border class in pixels, inside the object."""
    diameter: Annotated[float, Field(gt=0)] | None = None
    """For `flows` and `fields`: images are rescaled so that their objects have this median diameter in pixels (official
    Cellpose networks: 30); none: the network sees images as they are."""
    stride: Annotated[int, Field(ge=1)] | None = None
    """Distance in pixels of the patches that are cut out of annotated images; by default half a patch."""
    purity: Annotated[float, Field(gt=0, le=1)] = 0.85
    """Patches of annotated images are used where one class covers at least this part of them."""
    balance: bool = True
    """Whether patches of every class are shown equally often, however many there are."""


_LOSS_TERMS = ("cross_entropy", "dice", "focal", "tversky", "squared_error")


class LossConfig(Section):
    """The loss: a weighted sum of its terms. Without any weight given, cross-entropy for patches, squared error for
    networks that give scores, and cross-entropy and Dice for pixels."""

    cross_entropy: Annotated[float, Field(ge=0)] = 1.0
    dice: Annotated[float, Field(ge=0)] = 1.0
    squared_error: Annotated[float, Field(ge=0)] = 0.0
    """Mean squared distance to +1 for the true class and to -1 for the others (LeCun et al. 1989)."""
    focal: Annotated[float, Field(ge=0)] = 0.0
    focal_gamma: Annotated[float, Field(ge=0)] = 2.0
    tversky: Annotated[float, Field(ge=0)] = 0.0
    tversky_alpha: Probability = 0.3
    """Weight of false positives; false negatives weigh one minus this."""
    class_weights: list[float] | Literal["balanced"] | None = None
    """One weight per class, or `balanced`: the inverse frequency in the training masks."""

    @property
    def terms(self) -> dict[str, float]:
        """The terms that have a weight."""
        return {name: weight for name in _LOSS_TERMS if (weight := getattr(self, name))}

    @property
    def has_terms(self) -> bool:
        """Whether any term's weight is set, and not left at its default."""
        return not self.model_fields_set.isdisjoint(_LOSS_TERMS)


class TrainingConfig(Section):
    """How the network is fitted."""

    epochs: Annotated[int, Field(ge=1)] = 30
    batch_size: Annotated[int, Field(ge=1)] = 8
    patch_size: Annotated[int, Field(ge=8)] = 256
    """Side of the training patches in pixels."""
    steps_per_epoch: Annotated[int, Field(ge=1)] | None = None
    """By default as many as show every training image once."""
    foreground: Probability = 0.0
    """Share of the patches that are cut around a random pixel of an object, so that few objects in large images are
    learned; the others lie anywhere. For label images and black-and-white masks. By default 0.5 where single objects
    are learned."""
    loss: LossConfig = LossConfig()
    optimizer: Literal["adamw", "adam", "rmsprop", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """For AdamW only."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """For SGD only."""
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    transfer: Literal["initialise", "freeze", "all", "staged"] = "all"
    """What becomes of pretrained weights, those of the backbone where there is one, else of all but the last layer.
    `initialise`: training starts from them, everything is estimated, the statistics of batch normalisation included;
    `freeze`: they are fixed, of a backbone those up to ``freeze_until``, the rest is estimated; `all`: all weights are
    estimated but those of the pretrained batch normalisation, which stays as it was, its scales and offsets (gamma and
    beta) as well as its statistics; `staged`: one third of the epochs each for the head, then also the last stages of a
    backbone, then all as with `all`, at falling learning rates."""
    freeze_until: Literal["stride2", "stride4", "stride8", "stride16", "stride32"] | None = None
    """With `freeze`: the last stage of the backbone that is fixed, named by how much smaller than the image its maps
    are; by default all of the backbone."""
    early_stopping: Annotated[int, Field(ge=1)] | None = None
    """Stop after so many epochs without a better validation loss."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Largest norm of all gradients together."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto`: bfloat16 where the processor has it in hardware, else float32."""
    seed: Seed = 1
    deterministic: bool = False
    """The same result bit by bit on every run of the same machine; slower."""


class DecodingConfig(Section):
    """How the network's output becomes classes or a label image; what is left at its default is chosen on the
    validation images."""

    threshold: Probability = 0.5
    """Foreground probability above which a pixel belongs to an object; of `stars`, object probability above which a
    polygon is one."""
    seed_threshold: Probability = 0.5
    """Interior probability above which a pixel belongs to an object's seed (`border` targets)."""
    neck: Probability = 0.8
    """Two bodies are separate objects where the neck between them is narrower than this part of the smaller one's width
    (`border` targets); 0: never."""
    overlap: Probability = 0.4
    """Largest part of the smaller of two polygons that they may share; else the less probable is dropped (`stars`)."""
    flow_error: Annotated[float, Field(ge=0)] = 0.4
    """Objects whose flows differ by more from those of their shape are dropped (mean squared error, `flows` and
    `fields`); 0: none is."""
    distance: float = 0.0
    """Distance field above which a pixel belongs to an object, in pixels (`fields`)."""
    minimum_size: Annotated[int, Field(ge=0)] = 0
    """Smaller objects are removed, in pixels."""


class Author(Section):
    """Who made the model, for the bundle."""

    name: str
    affiliation: str | None = None
    email: str | None = None
    orcid: str | None = None
    github_user: str | None = None


class PublicationConfig(Section):
    """What the bundle says about itself."""

    name: str | None = None
    """A descriptive title; by default made of model and images."""
    description: str | None = None
    authors: list[Author] = []
    licence: str = "CC-BY-4.0"
    """An SPDX identifier."""
    tags: list[str] = []
    cite: list[dict[str, str]] = []
    """Further entries with `text` and `doi` or `url`; the network's paper is added."""
    pixel_size: Annotated[float, Field(gt=0)] | None = None
    """Micrometres per pixel of the training images."""


class Config(Section):
    """All that is needed to repeat a run."""

    model: ModelConfig
    data: DataConfig
    split: SplitConfig = SplitConfig()
    normalisation: NormalisationConfig = NormalisationConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    targets: TargetsConfig = TargetsConfig()
    training: TrainingConfig = TrainingConfig()
    decoding: DecodingConfig = DecodingConfig()
    publication: PublicationConfig = PublicationConfig()
