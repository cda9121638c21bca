"""A first configuration for a data set: its values follow from what was measured, and say so in comments."""

from __future__ import annotations

import difflib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bmzpack.errors import UserError
from bmzpack.files import new_file, refuse_existing
from kerazoo.config import DataConfig, make_config
from kerazoo.data.split import group_column
from kerazoo.data.survey import Survey, survey
from kerazoo.files.pairs import pairs_of
from kerazoo.models.registry import Model, get_model

if TYPE_CHECKING:
    from kerazoo.data.class_survey import ClassSurvey

# What fits into about 15 minutes on two cores with bfloat16. More steps on smaller patches learn more in the same time,
# and without batch normalisation, which is as slow as the convolutions there, a step takes a quarter of the time.
FILTERS = 32
BATCH_SIZE = 8
TOTAL_STEPS = 1500
STEPS_PER_EPOCH = (50, 100)
_STEPS = {"stars": (4, 1200), "flows": (4, 450), "fields": (4, 450)}
"""Batch size and number of steps by which networks for single objects keep to that time."""

_PATCHES = {"unet2d_2015": (188, 16, 184)}
"""Smallest patch, step and loss of size of the networks whose output is smaller than their input."""
_LARGEST_PATCH = 192
_LEARNING_RATES = {"stardist2d": 0.0003}
CELLPOSE_DIAMETER = 30
"""Median diameter in pixels to which official Cellpose networks have images brought."""
_SPARSE = 0.05
"""Where objects cover less, patches are sought around them whatever the network."""
_VALIDATION = 0.2


def write_config(
    model: str,
    images: str | Path | None,
    masks: str | Path | None,
    output: str | Path,
    *,
    folder: str | Path | None = None,
    table: str | Path | None = None,
    backbone: str | None = None,
    weights: str | None = None,
    axes: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Measure a data set and write a commented configuration for it.

    Parameters
    ----------
    model
        A name of `kerazoo.list_models`.
    images, masks
        Two folders, paired by stem.
    output
        The YAML file.
    folder
        Instead of images and masks, for classifiers: a folder with one folder of images per class.
    table
        Instead of folders: a CSV file with the columns `image`, `mask`, or `file`, `class`.
    backbone, weights
        As in `kerazoo.config.ModelConfig`.
    axes
        The axes of the images, where they are ambiguous.
    overwrite
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The file, which `kerazoo.config.read_config` reads.

    Raises
    ------
    UserError
        There is no such model or backbone, the data cannot be used, or the file exists.
    """
    output = Path(output)
    refuse_existing(output, overwrite)
    entry = get_model(model)
    if entry.task not in ("segmentation", "instances", "classification"):
        raise UserError(
            f"{model} is not trained on images. "
            + (
                f"Apply it without training: kerazoo predict {model} IMAGE... -o DIR."
                if entry.builder is None
                else f"It takes measurements: train it in Python with kerazoo.create_model({model!r}).fit(x, y)."
            )
        )
    if backbone is not None and backbone not in entry.backbones:
        if not entry.backbones:
            raise UserError(f"{model} takes no backbone: leave --backbone out, or choose another model.")
        near = difflib.get_close_matches(backbone, entry.backbones, n=1, cutoff=0.0)[0]
        raise UserError(
            f"{model} has no backbone {backbone!r}; did you mean {near!r}? All: {', '.join(entry.backbones)}."
        )
    if entry.task == "classification" and entry.backbones:
        backbone = backbone or entry.backbones[0]
    if weights == "imagenet" and backbone is None:
        raise UserError(
            "The weights `imagenet` are those of a backbone: "
            + (f"add --backbone, one of {', '.join(entry.backbones)}." if entry.backbones else f"{model} has none.")
        )
    if weights not in (None, "imagenet"):
        weights = str(Path(weights).absolute())
    given = {"images": images, "masks": masks, "folder": folder, "table": table}
    places: dict[str, Any] = {name: Path(place).absolute() for name, place in given.items() if place is not None}
    if entry.task == "classification":
        from kerazoo.configuration.classifier import classifier_text

        text = classifier_text(entry, backbone, weights, places, axes, output)
    else:
        data = DataConfig(**places, axes=axes)
        measured = survey(data)
        if entry.targets is not None and measured.annotation == "classes":
            raise UserError(f"{model} learns single objects, but the masks are of classes: {measured.reason}.")
        text = _text(entry, backbone, weights, data, measured, output)
    make_config(yaml.safe_load(text), str(output))
    with new_file(output, overwrite) as new:
        new.write_text(text, encoding="utf-8")
    return output


def _text(
    entry: Model, backbone: str | None, weights: str | None, data: DataConfig, measured: Survey, output: Path
) -> str:
    folder, model = output.parent.absolute(), entry.name
    group = group_column(pairs_of(data))
    patch = _patch_size(entry, measured)
    images = measured.images - max(1, round(_VALIDATION * measured.images))
    batch, total = _STEPS.get(str(entry.targets), (BATCH_SIZE, TOTAL_STEPS))
    once = math.ceil(images / batch)
    steps = min(max(once, STEPS_PER_EPOCH[0]), STEPS_PER_EPOCH[1])
    arguments: dict[str, Any] = {}
    if model == "unet2d":
        arguments = {"batch_norm": False} | ({"filters": FILTERS, "depth": 4} if backbone is None else {})
    if entry.targets == "stars":
        arguments = {"rays": 32, "grid": _star_grid(measured)}
    lines = [
        f"# Configuration for {model}, written by `kerazoo init`. Comments with numbers tell what was measured on "
        f"{counted(measured)}.",
        "# Settings that are not here have their defaults; `kerazoo train` writes all of them into the run folder.",
        "",
        "model:",
        f"  name: {model}",
        f"  backbone: {as_yaml(backbone)}",
        f"  weights: {as_yaml(weights)}",
        f"  arguments: {as_yaml(arguments)}"
        + ("  # half the filters: a third of the time" if "filters" in arguments else "")
        + (
            "  # grid 4 sees objects of twice the size in half the time, grid 1 smaller ones"
            if "grid" in arguments
            else ""
        ),
        "",
        "data:",
        *place_lines(data, folder),
        f"  axes: {as_yaml(data.axes)}  # of TIFF files that do not state them, such as CYX",
        f"  # {sizes_of(measured)}, {' and '.join(measured.dtypes)}",
        f"  # values {measured.intensity[0]:g} to {measured.intensity[1]:g}, typically {measured.percentiles[0]:g} to "
        f"{measured.percentiles[1]:g} (percentiles 1 and 99.8)",
        f"  channels: {measured.channels}",
        f"  annotation: {measured.annotation}  # {measured.reason}",
        *_annotation_lines(measured),
        "",
        "split:",
        f"  validation: {_VALIDATION}  # {images} images to train, {measured.images - images} to validate",
        *([f"  group: {as_yaml(group)}  # its images stay on one side"] if group else []),
        "  seed: 1",
        "",
        "normalisation:",
        *_normalisation_lines(backbone, measured),
        "",
        "augmentation:",
        "  flip: true",
        "  quarter_turns: true",
        "  rotation: 15  # degrees",
        f"  scale: {0.15 if measured.annotation != 'classes' else 0.1}  # relative",
        "  elastic: 0",
        f"  intensity: {0.2 if measured.channels == 1 else 0.1}  # relative gain; offset in standard deviations",
        f"  gamma: {0.2 if measured.channels == 1 else 0.1}",
        "  blur: 0",
        "  poisson: 0",
        "  gaussian: 0",
        "",
        "targets:",
        *(_target_lines(measured) if entry.targets is None else _object_lines(entry, measured)),
        "",
        "training:",
        f"  epochs: {max(5, round(total / steps))}",
        f"  steps_per_epoch: {steps}  # {once} would show every training image once",
        f"  batch_size: {batch}",
        f"  patch_size: {patch}  # the shortest side of an image is {min(measured.smallest)} pixels",
        *_foreground_lines(entry, measured),
        f"  learning_rate: {_LEARNING_RATES.get(entry.name, 0.001)}",
        "  seed: 1",
        "",
        "decoding:",
        f"  minimum_size: {_minimum_size(measured)}" + _minimum_reason(measured),
        "",
        *publication_lines("Nuclei in DAPI-stained HeLa cells", measured.pixel_size),
    ]
    return "\n".join(lines) + "\n"


def _normalisation_lines(backbone: str | None, measured: Survey) -> list[str]:
    if backbone is None:
        return [
            "  method: standardisation  # the same in every program; or percentile, scaling, centering, none",
            "  scope: image",
        ]
    method = "scaling" if measured.dtypes == ("uint8",) else "percentile"
    return [f"  method: {method}  # or {'percentile' if method == 'scaling' else 'scaling'}: {backbone} takes 0 to 1"]


def _foreground_lines(entry: Model, measured: Survey) -> list[str]:
    if measured.annotation == "classes":
        return []
    covered = 1 - measured.fractions[0]
    share = 0.5 if entry.targets is not None or covered < _SPARSE else 0
    return [f"  foreground: {share}  # share of the patches that are cut around an object"]


def _annotation_lines(measured: Survey) -> list[str]:
    lines = []
    if measured.annotation == "classes":
        count = max(measured.fractions) + 1
        shares = ", ".join(f"{value}: {share:.1%}" for value, share in measured.fractions.items())
        lines.append(f"  # pixels of each value: {shares}; name the classes in this order")
        lines.append(f"  classes: {as_yaml([f'class{value}' for value in range(count)])}")
        if measured.ignore is not None:
            lines.append(
                f"  ignore: {measured.ignore}  # the masks have it beside {count} smaller values; none to train it"
            )
        return lines
    assert measured.objects is not None
    assert measured.areas is not None
    few, median, many = measured.objects
    small, usual, large = measured.areas
    lines.append(
        f"  # {few} to {many} objects per image, median {median}, on {measured.fractions.get(1, 0):.1%} of the pixels"
    )
    lines.append(
        f"  # median area {usual:.0f} pixels (diameter {measured.diameter:.0f}), percentiles 1 and 99: "
        f"{small:.0f} and {large:.0f}"
    )
    if measured.empty:
        lines.append(
            f"  empty_masks: false  # {measured.empty} masks are empty: set true if nothing is on their images"
        )
    return lines


def _target_lines(measured: Survey) -> list[str]:
    if measured.annotation == "classes":
        return ["  kind: classes"]
    if measured.annotation == "binary":
        return ["  kind: foreground  # or border, to find the single objects: objects that touch count as one"]
    assert measured.diameter is not None
    width = 1 if measured.diameter < 12 else 2
    return [
        "  kind: border  # background, interior and border, from which the single objects are found; or foreground",
        f"  border_width: {width}  # pixels, for a median diameter of {measured.diameter:.0f}",
    ]


def _object_lines(entry: Model, measured: Survey) -> list[str]:
    about = {"stars": "object probability and star distances", "flows": "flows and cell probability"}
    lines = [f"  kind: {entry.targets}  # {about.get(str(entry.targets), 'distance field, its flows and boundaries')}"]
    if entry.targets == "flows":
        found = "" if measured.diameter is None else f", on these images {measured.diameter:.0f}"
        lines.append(
            f"  diameter: {CELLPOSE_DIAMETER}  # pixels; the objects are brought to it{found}; null: images as they are"
        )
    return lines


def _star_grid(measured: Survey) -> list[int]:
    """Objects should not be larger than the receptive field, which grows with the grid."""
    large = 0.0 if measured.areas is None else 2 * math.sqrt(measured.areas[2] / math.pi)
    grid = 1 if large < 20 else 2 if large < 80 else 4
    return [grid, grid]


def _patch_size(entry: Model, measured: Survey) -> int:
    model = entry.name
    smallest, step, lost = _PATCHES.get(model, (32, 32, 0))
    side, about = min(measured.smallest), f"{measured.smallest[1]} x {measured.smallest[0]} pixels"
    if entry.targets == "flows" and measured.room:
        side = round(measured.room * CELLPOSE_DIAMETER)
        about = f"{side} pixels high or wide when its objects are brought to {CELLPOSE_DIAMETER} pixels"
    if side + lost < smallest:
        raise UserError(
            f"The smallest image is {about}, but {model} needs at least {smallest - lost}: remove such images."
        )
    room = min(side, _LARGEST_PATCH) + lost - smallest
    return smallest + room // step * step


def _minimum_size(measured: Survey) -> int:
    return 0 if measured.areas is None or measured.annotation != "labels" else int(measured.areas[0] / 2)


def _minimum_reason(measured: Survey) -> str:
    if not _minimum_size(measured):
        return ""
    assert measured.areas is not None
    return f"  # pixels: half of what 99 % of the objects exceed ({measured.areas[0]:.0f})"


def counted(measured: Survey | ClassSurvey) -> str:
    if measured.measured == measured.images:
        return f"{measured.images} images"
    return f"{measured.measured} of {measured.images} images"


def sizes_of(measured: Survey | ClassSurvey) -> str:
    (height, width), (most_height, most_width) = measured.smallest, measured.largest
    if measured.smallest == measured.largest:
        return f"{width} x {height} pixels"
    return f"{width} x {height} to {most_width} x {most_height} pixels"


def place_lines(data: DataConfig, folder: Path) -> list[str]:
    """Where images and annotations are, relative to the configuration where they lie below it."""
    given = {name: getattr(data, name) for name in ("images", "masks", "folder", "table")}
    return [f"  {name}: {as_yaml(_path(path, folder))}" for name, path in given.items() if path is not None]


def publication_lines(example: str, pixel_size: float | None) -> list[str]:
    """What the bundle says, to be filled in."""
    return [
        "publication:",
        f"  name: null  # a title for the bundle, such as: {example}",
        "  description: null",
        "  authors: []  # - {name: Ada Lovelace, affiliation: University of London, github_user: ada}",
        "  licence: CC-BY-4.0",
        f"  pixel_size: {as_yaml(pixel_size)}  # micrometres"
        + (", as the image files state" if pixel_size else ", if known"),
    ]


def _path(path: Path, folder: Path) -> str:
    """Relative to the configuration where it lies below it, so that both can be moved together."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def as_yaml(value: Any) -> str:
    """A value on one line; JSON is YAML."""
    return json.dumps(value, ensure_ascii=False)
