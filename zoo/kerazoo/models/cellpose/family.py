"""Cellpose as a family: flows that lead every pixel to the centre of its cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kerazoo.models.cellpose.about import MODELS, OUTPUT, USE
from kerazoo.models.exchange import Converted, LabelsEnding, Outputs
from kerazoo.models.family import Family
from kerazoo.models.shared.packed import without_last
from kerazoo.models.shared.tuning import THRESHOLDS, minimum_sizes

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

DIAMETER = 30
"""Median diameter in pixels to which official Cellpose networks have images brought."""
FLOW_ERRORS = (0.4, 0.6, 0.8, 0.3, 0.2, 0.0)


class Cellpose(Family):
    """Networks for cells of many shapes (Stringer et al. 2021); images are brought to one diameter of the objects."""

    name = "cellpose"
    models = MODELS
    use_text, output_text = USE, OUTPUT
    kinds = ("flows",)
    learns_objects = True
    converts = True
    rescales = True

    def propose(self, start: ModelConfig, model: Model, survey: Survey, source: Recipe | None) -> Proposal:
        from kerazoo.models.shared.proposal import largest_patch, objects_of, propose_pixels

        objects, reason = objects_of(model, survey), "pixels; the objects are brought to it, on these images"
        side = round(objects.room * DIAMETER)
        smallest = f"{side} pixels high or wide when its objects are brought to {DIAMETER} pixels"
        targets = {
            "kind": ("flows", "flows and cell probability"),
            "diameter": (DIAMETER, f"{reason} {objects.diameter:.0f}; null: images as they are"),
        }
        patch = largest_patch(model, side, smallest)
        return propose_pixels(start, model, survey, targets=targets, batch=4, steps=450, patch=patch, objects=objects)

    def check(self, config: Config, model: Model) -> None:
        if config.augmentation.elastic and config.data.annotation != "classes":
            raise ValueError("augmentation.elastic would bend the objects away from their flows: set it to 0")
        super().check(config, model)

    def channel_names(self, config: Config) -> list[str]:
        return ["flow_y", "flow_x", "cell"]

    def target(self, config: Config) -> Target:
        from kerazoo.models.cellpose.targets import FlowTarget

        return FlowTarget(config.data.ignored)

    def loss(self, config: Config, counts: np.ndarray) -> keras.losses.Loss:
        from kerazoo.models.cellpose.loss import FlowLoss

        return FlowLoss()

    def loss_terms(self, config: Config) -> dict[str, float]:
        return {"mean squared error of the flows": 0.5, "binary cross entropy of the cells": 1.0}

    def decode(self, outputs: Outputs, recipe: Recipe, shape: tuple[int, ...] | None = None) -> np.ndarray:
        from kerazoo.models.cellpose.decoding import FLOW_ITERATIONS, find_flow_objects, logit

        (output,), decoding = outputs.values(), recipe.decoding
        # Where the output was enlarged to the size of the image, the way to the centre is longer.
        enlarged = 1.0 if recipe.scale is None else max(1.0, recipe.scale.images / recipe.scale.network)
        return find_flow_objects(
            output,
            logit(decoding.threshold),
            decoding.flow_error,
            max(decoding.minimum_size, 1),
            iterations=round(FLOW_ITERATIONS * enlarged),
        )

    def tuning(self, recipe: Recipe, median_area: float | None) -> tuple[str, dict[str, Sequence[float]]]:
        grid: dict[str, Sequence[float]] = {"threshold": THRESHOLDS, "flow_error": FLOW_ERRORS}
        return "ap_50_95", grid | minimum_sizes(median_area)

    def convert(self, checkpoint: Path, channels: int | None) -> Converted:
        """See `Family`: a file of Cellpose 1 to 3."""
        from kerazoo.data.rescale import Scale
        from kerazoo.models.cellpose.checkpoint import convert
        from kerazoo.models.cellpose.network import cellpose

        network, content, diameters = convert(
            checkpoint, channels, cellpose, name=self.name, outputs=3, other="omnipose"
        )
        seen = diameters.get("diam_mean", 30.0)
        content["normalisation"] |= {"low": 1, "high": 99}  # what the official package scales images to
        content["targets"] = {"diameter": seen}
        return Converted(network, content, Scale(network=seen, images=diameters.get("diam_labels") or seen))

    def unpacked(self, network: keras.Model) -> keras.Model:
        from kerazoo.models.shared.packed import CHANNELS_FIRST

        return without_last(network, CHANNELS_FIRST)

    def operation(self, recipe: Recipe) -> LabelsEnding:
        from kerazoo.models.cellpose.bundle import operation

        return operation(recipe)

    def labels_in_graph(self, recipe: Recipe) -> LabelsEnding:
        from kerazoo.models.cellpose.bundle import labels_in_graph

        return labels_in_graph(recipe)

    def decoding_in_words(self, recipe: Recipe) -> str:
        decoding = recipe.decoding
        return (
            f"cell probability above {decoding.threshold:g}, flow error up to {decoding.flow_error:g}, at least "
            f"{decoding.minimum_size} pixels"
        )
