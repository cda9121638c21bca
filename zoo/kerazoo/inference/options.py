"""What a user asks of a prediction beside the label image, and which of it a source can give."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from bmzpack.errors import UserError
from kerazoo.inference.load import Applicable


@dataclasses.dataclass(frozen=True)
class ResultOptions:
    """Options of `kerazoo.predict` that not every source has, or that exclude each other."""

    probabilities: bool
    stride: int | None
    mode: str | None
    refine_with: Any
    points: str | os.PathLike[str] | None
    boxes: str | os.PathLike[str] | None
    rois: bool
    geojson: bool
    overlay: bool

    @property
    def has_prompts(self) -> bool:
        """Whether points or boxes say which objects are found."""
        return self.points is not None or self.boxes is not None

    @property
    def files_of_objects(self) -> list[str]:
        """Further files that are asked for: `rois`, `geojson`, `overlay`."""
        return [name for name in ("rois", "geojson", "overlay") if getattr(self, name)]

    def check(self) -> None:
        """Refuse options that exclude each other.

        Raises
        ------
        UserError
            Points or boxes are there, and what is for all objects.
        """
        if not self.has_prompts:
            return
        if self.mode is not None or self.refine_with is not None:
            raise UserError("Points and boxes name the objects that are found: leave --mode and --refine-with out.")
        for name in self.files_of_objects:
            raise UserError(f"Points and boxes give a label image and a table of scores: leave --{name} out.")

    def check_for(self, predictor: Applicable, source: Any) -> None:
        """Refuse options of another task.

        Parameters
        ----------
        predictor
            What is applied.
        source
            What it was loaded from, for messages.

        Raises
        ------
        UserError
            It does not give what is asked for.
        """
        classifies = predictor.recipe.task == "classification"
        if self.stride is not None and not (classifies and self.stride > 0):
            raise UserError("The stride is a distance in pixels of the patches of a classifier: leave --stride out.")
        if self.probabilities and not predictor.family.shows_probabilities:
            raise UserError(f"{source} gives no probabilities: leave --probabilities out.")
        for name in self.files_of_objects if classifies else ():
            raise UserError(f"{source} classifies patches, and gives a map and a table: leave --{name} out.")
