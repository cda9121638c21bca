"""Omnipose as a family: a distance field, its gradient and boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kerazoo.models.exchange import Converted, LabelsEnding, Outputs
from kerazoo.models.family import Family
from kerazoo.models.omnipose.about import MODELS, OUTPUT, USE
from kerazoo.models.shared.tuning import minimum_sizes

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    import numpy as np

    from kerazoo.config import Config, ModelConfig
    from kerazoo.data.survey import Survey
    from kerazoo.data.target import Target
    from kerazoo.models.entry import Model
    from kerazoo.models.proposal import Proposal
    from kerazoo.models.recipe import Recipe

DISTANCES = (0.0, 0.5, -0.5, 1.0, -1.0, 1.5, 2.0)
"""Values that are tried, the default first."""


class Omnipose(Family):
    """Networks for objects of any shape (Cutler et al. 2022)."""

    name = "omnipose"
    models = MODELS
    use_text, output_text = USE, OUTPUT
    kinds = ("fields",)
    learns_objects = True
    converts = True
    rescales = True

    def propose(self, start: ModelConfig, model: Model, survey: Survey, source: Recipe | None) -> Proposal:
        from kerazoo.models.shared.proposal import objects_of, propose_pixels

        objects, targets = objects_of(model, survey), {"kind": ("fields", "distance field, its flows and boundaries")}
        return propose_pixels(start, model, survey, targets=targets, batch=4, steps=450, objects=objects)

    def channel_names(self, config: Config) -> list[str]:
        return ["flow_y", "flow_x", "distance", "boundary"]

    def target(self, config: Config) -> Target:
        from kerazoo.models.omnipose.targets import FieldTarget

        return FieldTarget(config.data.ignored)

    def loss(self, config: Config, counts: np.ndarray) -> keras.losses.Loss:
        from kerazoo.models.omnipose.loss import FieldLoss

        return FieldLoss()

    def loss_terms(self, config: Config) -> dict[str, float]:
        return {"weighted errors of flows, distance and boundary": 1.0}

    def decode(self, outputs: Outputs, recipe: Recipe, shape: tuple[int, ...] | None = None) -> np.ndarray:
        from kerazoo.models.omnipose.decoding import find_field_objects

        (output,), decoding = outputs.values(), recipe.decoding
        return find_field_objects(output, decoding.distance, decoding.flow_error, max(decoding.minimum_size, 1))

    def labels_in_graph(self, recipe: Recipe) -> LabelsEnding:
        from kerazoo.models.shared.packed import at_network_size, decoded_batch

        recipe = at_network_size(recipe)
        decoding = recipe.decoding
        return LabelsEnding(
            lambda output: decoded_batch(output, recipe, "float32"),
            function="kerazoo.models.omnipose.graph:find_field_objects",
            torch_function="kerazoo.models.omnipose.torch_graph:find_field_objects",
            arguments={
                "threshold": decoding.distance,
                "flow_error": decoding.flow_error,
                "minimum_size": max(decoding.minimum_size, 1),
            },
        )

    def tuning(self, recipe: Recipe, median_area: float | None) -> tuple[str, dict[str, Sequence[float]]]:
        grid: dict[str, Sequence[float]] = {"distance": DISTANCES}
        return "ap_50_95", grid | minimum_sizes(median_area)

    def convert(self, checkpoint: Path, channels: int | None) -> Converted:
        """See `Family`: a file of Omnipose with boundaries."""
        from kerazoo.models.cellpose.checkpoint import convert
        from kerazoo.models.omnipose.network import omnipose

        network, content, _ = convert(checkpoint, channels, omnipose, name=self.name, outputs=4, other="cellpose")
        content["normalisation"] |= {"low": 0.01, "high": 99.99}  # what the official package scales images to
        return Converted(network, content)

    def decoding_in_words(self, recipe: Recipe) -> str:
        return f"distance above {recipe.decoding.distance:g} pixels, at least {recipe.decoding.minimum_size} pixels"
