"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what exists.")]
Images = Annotated[Path | None, typer.Option("--images", help="Folder of images (TIFF, PNG, JPEG).")]
Masks = Annotated[
    Path | None,
    typer.Option(
        "--masks",
        help="Folder of masks, or of annotations of ImageJ, QuPath, LabelMe or Cellpose, named like the images; or one "
        "COCO file.",
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option("--folder", help="For classifiers, instead of images and masks: one folder of images per class."),
]
Table = Annotated[
    Path | None,
    typer.Option("--table", help="Instead of folders: a CSV file with the columns image, mask, or file, class."),
]
Axes = Annotated[
    str | None,
    typer.Option("--axes", help="Axes of the image files, such as YX, YXC, CYX, ZYX, where they are ambiguous."),
]
Channel = Annotated[
    list[int] | None,
    typer.Option("--channel", help="A channel to be used, counted from 1; may be repeated. By default all are."),
]
Series = Annotated[
    int | None, typer.Option("--series", help="Which image of files that hold several of different size, from 1 on.")
]
Fill = Annotated[float | None, typer.Option("--fill", help="The value that NaN and infinite pixels get.")]
RefineWith = Annotated[
    Path | None,
    typer.Option("--refine-with", help="A run of Segment Anything: its masks take the place of the objects."),
]
