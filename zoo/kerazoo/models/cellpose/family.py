"""Cellpose as a family: flows that lead every pixel to the centre of its cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kerazoo.models.cellpose.about import MODELS, OUTPUT, USE
from kerazoo.models.family import Converted, Family, LabelsInGraph, LabelsOperation, Outputs
from kerazoo.models.shared.packed import without_last
from kerazoo.models.shared.tuning import THRESHOLDS, minimum_sizes

if TYPE_CHECKING:
    from pathlib import Path

    import keras

    from kerazoo.config import Config
    from kerazoo.data.target import Target
    from kerazoo.models.entry import Model
    from kerazoo.models.recipe import Recipe

FLOW_ERRORS = (0.4, 0.6, 0.8, 0.3, 0.2, 0.0)


class Cellpose(Family):
    """Networks for cells of many shapes (Stringer et al. 2021); images are brought to one diameter of the objects."""

    name = "cellpose"
    models = MODELS
    kinds = ("flows",)
    learns_objects = True
    converts = True
    rescales = True

    def check(self, config: Config, model: Model) -> None:
        """See `Family`."""
        if config.augmentation.elastic and config.data.annotation != "classes":
            raise ValueError("augmentation.elastic would bend the objects away from their flows: set it to 0")
        super().check(config, model)

    def channel_names(self, config: Config) -> list[str]:
        """See `Family`."""
        return ["flow_y", "flow_x", "cell"]

    def target(self, config: Config) -> Target:
        """See `Family`."""
        from kerazoo.models.cellpose.targets import FlowTarget

        return FlowTarget(config.data.ignore)

    def loss(self, config: Config, counts: np.ndarray) -> keras.losses.Loss:
        """See `Family`."""
        from kerazoo.models.cellpose.loss import FlowLoss

        return FlowLoss()

    def loss_terms(self, config: Config) -> dict[str, float]:
        """See `Family`."""
        return {"mean squared error of the flows": 0.5, "binary cross entropy of the cells": 1.0}

    def decode(self, outputs: Outputs, recipe: Recipe, shape: tuple[int, ...] | None = None) -> np.ndarray:
        """See `Family`."""
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
        """See `Family`."""
        grid: dict[str, Sequence[float]] = {"threshold": THRESHOLDS, "flow_error": FLOW_ERRORS}
        return "ap_50_95", grid | minimum_sizes(median_area)

    def convert(self, checkpoint: Path, channels: int | None) -> Converted:
        """See `Family`: a file of Cellpose 1 to 3."""
        from kerazoo.data.rescale import Scale
        from kerazoo.models.cellpose.checkpoint import convert
        from kerazoo.models.cellpose.network import cellpose

        network, content, diameters = convert("cellpose", checkpoint, channels, cellpose)
        seen = diameters.get("diam_mean", 30.0)
        content["normalisation"] |= {"low": 1, "high": 99}  # what the official package scales images to
        content["targets"] = {"diameter": seen}
        return Converted(network, content, Scale(network=seen, images=diameters.get("diam_labels") or seen))

    def unpacked(self, network: keras.Model) -> keras.Model:
        """See `Family`."""
        from kerazoo.models.shared.packed import CHANNELS_FIRST

        return without_last(network, CHANNELS_FIRST)

    def operation(self, recipe: Recipe) -> LabelsOperation:
        """See `Family`."""
        from kerazoo.models.cellpose.bundle import operation

        return operation(recipe)

    def labels_in_graph(self, recipe: Recipe) -> LabelsInGraph:
        """See `Family`."""
        from kerazoo.models.cellpose.bundle import labels_in_graph

        return labels_in_graph(recipe)

    def use(self, recipe: Recipe) -> str:
        """See `Family`."""
        return USE

    def output_description(self, recipe: Recipe, model: Model) -> str:
        """See `Family`."""
        return OUTPUT

    def decoding_in_words(self, recipe: Recipe) -> str:
        """See `Family`."""
        decoding = recipe.decoding
        return (
            f"cell probability above {decoding.threshold:g}, flow error up to {decoding.flow_error:g}, at least "
            f"{decoding.minimum_size} pixels"
        )
