"""How runs of each task are shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerazoo.models.family import Task
from kerazoo.reports.image_figures import draw_images
from kerazoo.reports.image_sections import image_sections, image_tiles
from kerazoo.reports.page import Markup
from kerazoo.reports.patch_figures import draw_classified
from kerazoo.reports.patch_sections import patch_sections, patch_tiles
from kerazoo.runs.run import Run


@dataclasses.dataclass(frozen=True)
class Presentation:
    """What is shown of a run of a task."""

    tiles: Callable[[Run], Markup]
    """The scores that are seen first."""
    sections: Callable[[Run], dict[str, list[Markup]]]
    """Sections of the report by their headings."""
    draw: Callable[[Any, Path], None]
    """From what `kerazoo.evaluation.validate` returns, and a folder, to figures in it."""
    compared: tuple[str, ...]
    """Scores by which runs are compared, where more is better for the first."""


IMAGES = (image_tiles, image_sections, draw_images)
PRESENTATIONS: dict[Task, Presentation] = {
    "instances": Presentation(*IMAGES, ("ap_50", "ap_50_95", "dice", "panoptic_quality")),
    "semantic": Presentation(*IMAGES, ("iou", "dice", "balanced_accuracy", "boundary_f")),
    "classification": Presentation(
        patch_tiles, patch_sections, draw_classified, ("balanced_accuracy", "accuracy", "macro_f1", "log_loss")
    ),
}
